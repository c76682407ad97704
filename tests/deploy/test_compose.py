"""What docker-compose.yml names exists, and what one service expects of another is so."""

import re
import subprocess
from pathlib import Path

import pytest
from support.programs import BIN, ROOT

from embedsvc.config import load
from embedsvc.engine.catalog import CATALOG

SECRETS = "./.run/secrets/"


def folder_of_role(service: dict) -> str:
    """The folder that is mounted where a service looks for certificates and keys."""
    (mount,) = (
        each for each in service["volumes"] if isinstance(each, dict) and each["target"] == "/run/secrets"
    )
    return mount["source"].removeprefix(SECRETS)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """What `embedsvc init` makes."""
    folder = tmp_path_factory.mktemp("init")
    subprocess.run([BIN / "embedsvc", "init"], cwd=folder, check=True)
    return folder


def test_every_config_is_a_file_of_the_repository(compose):
    missing = [
        config["file"] for config in compose["configs"].values() if not (ROOT / config["file"]).is_file()
    ]
    assert not missing


def test_every_folder_of_the_repository_that_is_mounted_or_built_exists(compose):
    mounted = [
        volume.partition(":")[0]
        for service in compose["services"].values()
        for volume in service.get("volumes", [])
        if isinstance(volume, str) and volume.startswith("./")
    ]
    built = [service["build"]["context"] for service in compose["services"].values() if "build" in service]
    assert len(mounted) == 3
    assert [name for name in (*mounted, *built) if not (ROOT / name).is_dir()] == []


def test_init_makes_every_secret_and_every_folder_of_a_role(compose, made):
    files = [secret["file"] for secret in compose["secrets"].values()]
    folders = [SECRETS + folder_of_role(compose["services"][name]) for name in ("embedsvc", "envoy")]
    assert [name for name in files if not (made / name).is_file()] == []
    assert [name for name in folders if not (made / name).is_dir()] == []


def settings_of(compose, name: str, monkeypatch):
    """The settings that a container has: those of the file, and of its own variables."""
    for variable, value in compose["services"][name].get("environment", {}).items():
        monkeypatch.setenv(variable, str(value))
    return load(ROOT / "deploy/embedsvc.toml")


SERVER = ["tls.ca", "tls.certificate", "tls.key", "auth.keys"]
HEALTH_CHECK = ["edge.ca", "edge.certificate", "edge.key"]
PUBLIC = ["edge.public_certificate", "edge.public_key", "edge.grpc_certificate", "edge.grpc_key"]


@pytest.mark.parametrize(
    ("name", "used"), [("embedsvc", SERVER + HEALTH_CHECK), ("envoy", HEALTH_CHECK + PUBLIC)]
)
def test_what_the_settings_name_is_in_the_folder_that_is_mounted_and_nothing_else_is(
    compose, made, name, used, monkeypatch
):
    settings = settings_of(compose, name, monkeypatch)
    named = {getattr(getattr(settings, section), key) for section, key in (each.split(".") for each in used)}
    paths = [Path(str(path).removeprefix("file:")) for path in named]
    assert {path.parent for path in paths} == {Path("/run/secrets")}
    folder = made / SECRETS / folder_of_role(compose["services"][name])
    assert {path.name for path in paths} == {path.name for path in folder.iterdir()}


def test_envoy_and_its_configuration_have_the_certificates_at_the_same_paths(compose, settings):
    writer = compose["services"]["edge-config"]
    assert not [name for name in writer["environment"] if "CERTIFICATE" in name or "KEY" in name]


def test_what_services_use_is_declared_and_what_is_declared_is_used(compose):
    used = {"secrets": set(), "configs": set(), "networks": set(), "volumes": set()}
    for service in compose["services"].values():
        used["secrets"].update(secret["source"] for secret in service.get("secrets", []))
        used["configs"].update(config["source"] for config in service.get("configs", []))
        used["networks"].update(service.get("networks", []))
        for volume in service.get("volumes", []):
            if isinstance(volume, str) and not volume.startswith("."):
                used["volumes"].add(volume.partition(":")[0])
            elif isinstance(volume, dict) and volume["type"] == "volume":
                used["volumes"].add(volume["source"])
    assert used == {kind: set(compose[kind]) for kind in used}


def test_every_variable_of_the_services_is_a_setting(compose, monkeypatch):
    for name in ("embedsvc", "edge-config"):
        settings_of(compose, name, monkeypatch)  # refuses what it does not know


def test_the_servers_get_the_settings_of_the_repository_where_the_image_looks_for_them(compose):
    (mount,) = compose["services"]["embedsvc"]["configs"]
    assert compose["configs"][mount["source"]]["file"] == "deploy/embedsvc.toml"
    assert f"EMBEDSVC_CONFIG={mount['target']}" in (ROOT / "Dockerfile").read_text()


def test_the_settings_are_those_of_the_design(settings):
    assert settings.models.served == ("all-mpnet-base-v2", "all-MiniLM-L6-v2")
    assert CATALOG[settings.models.fallback].package, "the fallback comes with the image"
    assert settings.engine.encoder == "auto"
    assert settings.edge.profile == "production"


def test_the_listeners_can_be_reached_from_other_containers_but_not_the_admin_page(settings):
    assert (settings.server.host, settings.metrics.host, settings.edge.host) == ("0.0.0.0",) * 3
    assert settings.edge.admin_host == "127.0.0.1"


def test_servers_may_drain_before_they_are_killed(compose, settings):
    grace = compose["services"]["embedsvc"]["stop_grace_period"]
    assert int(grace.removesuffix("s")) >= settings.server.drain_seconds + 10


IMAGES = [
    r"envoyproxy/envoy:v\d+\.\d+\.\d+",
    r"grafana/grafana:\d+\.\d+\.\d+",
    r"prom/prometheus:v\d+\.\d+\.\d+",
    r"redis:\d+\.\d+\.\d+-alpine\d+\.\d+",
    r"ghcr\.io/get-convex/convex-(backend|dashboard):[0-9a-f]{40}",
    r"embedsvc(-convex)?",  # built here
]


def test_every_image_is_of_one_version(compose):
    for service in compose["services"].values():
        assert any(re.fullmatch(pattern, service["image"]) for pattern in IMAGES), service["image"]


def test_the_guide_fetches_the_revision_of_the_primary_model_that_the_catalog_pins(settings):
    entry = CATALOG[settings.models.primary]
    command = f"hf download {entry.repository} --revision {entry.revision}"
    assert command in (ROOT / "docs/deploy/compose.md").read_text()


def test_the_guide_names_every_variable_and_no_other():
    variables = set(re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text()))
    guides = "".join((ROOT / f"docs/deploy/{name}.md").read_text() for name in ("compose", "convex"))
    table = {
        name
        for line in guides.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`([A-Z_]{6,})`", line)
    }
    assert variables == {name for name in table if not name.startswith(("EMBEDDINGS_", "EMBEDSVC_"))}

"""`embedsvc doctor`, run as a person runs it, beside a real server and a real Envoy."""

import json
import os
from collections.abc import Iterator

import pytest
from support import pki
from support.doctor import ask
from support.programs import (
    EDGE_PORTS,
    Edge,
    Server,
    free_port,
    run_edge,
    run_server,
    settings_for,
)


@pytest.fixture(scope="module")
def own_state(tmp_path_factory) -> pki.State:
    """Certificates whose keys nobody else can read, and that tests here may harm."""
    made = pki.make(tmp_path_factory.mktemp("doctor"))
    for key in made.folder.glob("*.key"):
        key.chmod(0o600)
    return made


@pytest.fixture(scope="module")
def own_server(own_state, tmp_path_factory) -> Iterator[Server]:
    with run_server(own_state, tmp_path_factory.mktemp("server"), encoder="packed") as running:
        yield running


@pytest.fixture(scope="module")
def own_edge(own_server, own_state, tmp_path_factory) -> Iterator[Edge]:
    with run_edge(own_server, own_state, tmp_path_factory.mktemp("edge")) as running:
        yield running


def environment_of(edge: Edge, **values: object) -> dict[str, str]:
    """What Envoy's files were made with."""
    ports = {f"EMBEDSVC_EDGE__{name}": str(edge.ports[name]) for name in EDGE_PORTS}
    upstreams = json.dumps([server.address for server in edge.servers])
    chosen = {"EDGE__PROFILE": "development", "EDGE__UPSTREAMS": upstreams, **values}
    return edge.server.environment | ports | {f"EMBEDSVC_{name}": str(each) for name, each in chosen.items()}


@pytest.fixture
def environment(own_edge) -> dict[str, str]:
    """The settings of a service that runs and is well."""
    return environment_of(own_edge)


def test_a_service_that_is_well_gets_no_advice_to_change_anything(environment, own_edge):
    told = ask(environment, "--json")
    assert told.of("warning", "error") == []
    assert told.status == 0
    seen = "\n".join(finding["seen"] for finding in told.of("ok"))
    assert f"edge.admin_port 127.0.0.1:{own_edge.admin_port} by Envoy" in seen
    assert f"server.port {own_edge.server.address} by the server" in seen
    assert "free: " not in seen
    assert f"{own_edge.server.address} is SERVING, by gRPC with mTLS" in seen
    assert "ready: all-MiniLM-L6-v2" in seen
    assert f"the server {own_edge.server.address} is healthy" in seen
    assert "envoy.yaml is what the settings say" in seen


def test_people_read_the_same_with_a_sum_at_the_end(environment):
    told = ask(environment)
    assert told.status == 0
    assert told.out.startswith("configuration\n  ok       it loads, in ")
    assert "\nEnvoy\n  ok       1.40.0 is ready, for " in told.out
    assert " ok, " in told.out.splitlines()[-1]
    assert "error" not in told.out.splitlines()[-1]


def test_nothing_is_shown_of_a_secret(environment, own_state):
    told = ask(environment)
    assert own_state.api_key not in told.out
    assert "PRIVATE" not in told.out


def test_a_server_that_envoy_cannot_reach_is_an_error(own_server, own_state, tmp_path):
    dead = f"127.0.0.1:{free_port()}"
    upstreams = json.dumps([own_server.address, dead])
    with run_edge(own_server, own_state, tmp_path, EDGE__UPSTREAMS=upstreams) as edge:
        told = ask(environment_of(edge, EDGE__UPSTREAMS=upstreams), "--json")
    assert told.status == 1
    error = told.only("error")
    assert error["subject"] == "Envoy"
    assert error["seen"] == f"the server {dead} gets no calls: failed active health check"
    assert "Run the doctor there" in error["advice"]


def test_settings_that_have_changed_since_envoy_was_started_are_a_warning(environment):
    told = ask(environment, "--json", EDGE__TRUSTED_HOPS=2)
    assert told.status == 0
    warning = told.only("warning")
    assert warning["seen"].startswith("envoy.yaml in ")
    assert "embedsvc render-edge --out " in warning["advice"]
    assert "with the variables that the service runs with" in warning["advice"]


def test_a_certificate_that_was_not_moved_into_its_place_is_a_warning(environment, own_state):
    before = own_state.read("envoy.crt"), own_state.read("envoy.key")
    pki.write(own_state.folder, "envoy", pki.pki.make_client(own_state.ca, "envoy"))
    try:
        warnings = ask(environment, "--json").of("warning")
    finally:
        for name, content in zip(("envoy.crt", "envoy.key"), before, strict=True):
            own_state.path(name).write_bytes(content)
    path = own_state.path("envoy.crt")
    assert [each["seen"] for each in warnings] == [f"it does not show the certificate that is in {path} now"]
    assert "move it there" in warnings[0]["advice"]


def test_envoy_that_is_older_than_its_file_is_a_warning(own_server, own_state, tmp_path):
    with run_edge(own_server, own_state, tmp_path) as edge:
        written = (tmp_path / "envoy.yaml").stat()
        os.utime(tmp_path / "envoy.yaml", (written.st_atime, written.st_mtime + 3600))
        warning = ask(environment_of(edge), "--json").only("warning")
    assert warning["seen"].endswith("envoy.yaml is newer than this Envoy")


def test_before_the_first_start_there_are_notes_of_what_does_not_run_yet(own_state, tmp_path):
    ports = {f"EDGE__{name}": free_port() for name in EDGE_PORTS}
    told = ask(settings_for(own_state, STORE__PATH=tmp_path / "embedsvc.db", **ports), "--json")
    assert told.status == 0
    assert {note["subject"] for note in told.of("note")} >= {"store", "server", "Envoy"}
    assert not (tmp_path / "embedsvc.db").exists()


def test_a_container_of_the_server_has_no_envoy_and_misses_none_of_its_files(own_server, own_state):
    # As in docker-compose.yml: the settings name what only Envoy's container has.
    told = ask(
        own_server.environment,
        "--json",
        EDGE__UPSTREAMS='["embedsvc:50051"]',
        EDGE__ADMIN_PORT=free_port(),
        EDGE__CERTIFICATE=own_state.path("health.crt"),
        EDGE__KEY=own_state.path("health.key"),
        EDGE__PUBLIC_CERTIFICATE="/run/secrets/edge.crt",
        EDGE__PUBLIC_KEY="/run/secrets/edge.key",
        EDGE__GRPC_CERTIFICATE="/run/secrets/edge.crt",
        EDGE__GRPC_KEY="/run/secrets/edge.key",
    )
    assert told.of("warning", "error") == []
    assert told.status == 0
    assert any("no admin page" in note["seen"] for note in told.of("note"))


def test_a_configuration_that_does_not_load_is_a_finding_and_what_does_not_need_it_is_looked_at(own_server):
    told = ask(own_server.environment, "--json", SERVER__PROT=1)
    assert told.status == 2
    error = told.only("error")
    assert error["seen"].endswith("server.prot: no such setting")
    assert {finding["subject"] for finding in json.loads(told.out)} == {"configuration", "machine", "GPU"}

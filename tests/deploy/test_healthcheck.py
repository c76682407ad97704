"""`python -m embedsvc.healthcheck`, run as a container runs it."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from grpc_health.v1 import health, health_pb2_grpc
from support.programs import ROOT, free_port


@pytest.fixture
def check(fake_server):
    """Runs it with the settings of a server that serves, or with others."""

    def run(**values: object) -> subprocess.CompletedProcess[str]:
        changed = {f"EMBEDSVC_{name}": str(value) for name, value in values.items()}
        return subprocess.run(
            [sys.executable, "-m", "embedsvc.healthcheck"],
            cwd=ROOT,
            env=os.environ | fake_server.environment | changed,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    return run


@pytest.fixture
def starting_server(state):
    """The port of a server that knows the service and does not serve it yet."""
    servicer = health.HealthServicer()
    servicer.set("embedsvc.v1.OpenAIService", 2)  # NOT_SERVING
    with ThreadPoolExecutor(1) as threads:
        server = grpc.server(threads)
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
        pair = state.read("server.key"), state.read("server.crt")
        credentials = grpc.ssl_server_credentials([pair], state.read("ca.crt"), require_client_auth=True)
        port = server.add_secure_port("127.0.0.1:0", credentials)
        server.start()
        yield port
        server.stop(None).wait()


def test_a_server_that_serves_is_healthy(check):
    done = check()
    assert (done.returncode, done.stderr) == (0, "")


def test_a_server_that_listens_on_every_address_is_found(check):
    assert check(SERVER__HOST="0.0.0.0").returncode == 0


def test_a_server_that_does_not_serve_yet_is_not_healthy(check, starting_server):
    done = check(SERVER__PORT=starting_server)
    assert (done.returncode, done.stderr) == (1, "embedsvc: NOT_SERVING\n")


def test_where_nothing_listens_nothing_is_healthy(check):
    done = check(SERVER__PORT=free_port())
    assert done.returncode == 1
    assert done.stderr.startswith("embedsvc: UNAVAILABLE: ")


def test_metrics_alone_are_not_health(check, fake_server):
    assert check(SERVER__PORT=fake_server.metrics_port).returncode == 1


def test_a_certificate_of_another_ca_is_refused_as_it_would_be_for_envoy(check, state):
    done = check(EDGE__CERTIFICATE=state.path("stranger.crt"), EDGE__KEY=state.path("stranger.key"))
    assert done.returncode == 1
    assert done.stderr.startswith("embedsvc: UNAVAILABLE: ")


def test_a_certificate_that_is_not_there_is_named(check, state):
    missing = state.path("none.crt")
    done = check(EDGE__CERTIFICATE=missing)
    assert done.returncode == 1
    assert str(missing) in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_setting_is_named(check):
    done = check(SERVER__PORT="none")
    assert done.returncode == 1
    assert "server.port" in done.stderr

"""`embedsvc doctor` in a pod of the servers: its settings, its environment and the files that it mounts."""

import re

import pytest
from support.convex import run_standin
from support.doctor import ask
from support.kustomize import FOLDER, OVERLAYS, overlay
from support.programs import free_port, run_server

from embedsvc.dev import pki


@pytest.fixture(scope="module", params=OVERLAYS)
def pods(request):
    return overlay(request.param).servers


@pytest.fixture(scope="module")
def convex(tmp_path_factory):
    with run_standin(tmp_path_factory.mktemp("convex")) as standin:
        yield standin


@pytest.fixture(scope="module")
def secrets(state, convex):
    """What is in each Secret."""
    return {
        "embedsvc-server": of_cert_manager(pki.make_server(state.ca), state.ca),
        "embedsvc-health": of_cert_manager(pki.make_client(state.ca, "health"), state.ca),
        "embedsvc-api-keys": {"api_keys": state.read("api_keys")},
        "embedsvc-convex": {"admin_key": convex.admin_key.encode()},
    }


def of_cert_manager(identity, ca):
    return {"tls.crt": identity.certificate_pem, "tls.key": identity.key_pem, "ca.crt": ca.certificate_pem}


@pytest.fixture(scope="module")
def places(pods, secrets, tmp_path_factory):
    """The folders that a pod mounts, each in one of our own, and where that is."""
    root = tmp_path_factory.mktemp("pod")
    found = {}
    for path in (mount["mountPath"] for mount in pods.container["volumeMounts"]):
        volume, folder = pods.volume_at(path), root / path.removeprefix("/")
        if path == "/tmp" or "configMap" in volume:
            continue
        folder.mkdir(parents=True)
        for name, content in secrets[volume["secret"]["secretName"]].items() if "secret" in volume else ():
            (folder / name).write_bytes(content)
            (folder / name).chmod(volume["secret"]["defaultMode"])
        found[path] = str(folder)
    return found


def move(text, places):
    """Have it name our own folders; what a pod does not mount stays where it is, which is nowhere."""
    return re.sub("|".join(map(re.escape, places)), lambda found: places[found[0]], text)


@pytest.fixture(scope="module")
def environment(pods, places, tmp_path_factory):
    """The pod's."""
    path = tmp_path_factory.mktemp("config") / "embedsvc.toml"
    path.write_text(move((FOLDER / "base/embedsvc.toml").read_text(), places))
    own = {name: move(value, places) for name, value in pods.environment.items()}
    return {"EMBEDSVC_CONFIG": str(path), **own}


@pytest.fixture(scope="module")
def values(convex):
    """What cannot be here as it is there: addresses, ports and the model."""
    return {
        "SERVER__HOST": "127.0.0.1",
        "SERVER__PORT": free_port(),
        "SERVER__HEALTH_PORT": free_port(),
        "METRICS__HOST": "127.0.0.1",
        "METRICS__PORT": free_port(),
        "STORE__URL": convex.url,
        "MODELS__PRIMARY": "all-MiniLM-L6-v2",
        "MODELS__FALLBACK": "",
    }


@pytest.fixture(scope="module")
def server(state, places, environment, values, tmp_path_factory):
    """One with the certificate that the pod mounts."""
    files = {"CA": "ca.crt", "CERTIFICATE": "tls.crt", "KEY": "tls.key"}
    tls = {f"TLS__{name}": f"{places['/run/secrets/tls']}/{file}" for name, file in files.items()}
    folder = tmp_path_factory.mktemp("server")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMBEDSVC_CONFIG", environment["EMBEDSVC_CONFIG"])
        with run_server(state, folder, encoder="fake", **tls, **values) as running:
            yield running


def test_a_healthy_pod_is_found_healthy(server, environment, values):
    told = ask(environment, "--json", ENGINE__ENCODER="fake", **values)
    assert told.of("error") == []
    assert told.status == 0
    seen = "\n".join(finding["seen"] for finding in told.of("ok"))
    assert f"{server.address} is SERVING, by gRPC with mTLS" in seen
    assert "spiffe://embedsvc.internal/health" in seen

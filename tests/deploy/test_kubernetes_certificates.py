"""cert-manager's certificates are those that the code, the policy and Envoy expect."""

import os
import re
import subprocess

import pytest
from support.kustomize import FOLDER
from support.programs import BIN, ROOT

from embedsvc.access.peer import read_peer
from embedsvc.access.policy import find_identity
from embedsvc.config import load


@pytest.fixture
def certificates(cluster):
    return {name: certificate["spec"] for name, certificate in cluster.of("Certificate").items()}


@pytest.fixture(scope="module")
def settings():
    return load(FOLDER / "base/embedsvc.toml")


def hours(text):
    return int(text.removesuffix("h"))


CLIENTS = ["embedsvc-health", "embedsvc-edge-client"]
SERVERS = ["embedsvc-server", "embedsvc-edge-grpc", "embedsvc-edge-public"]
LEAVES = [*CLIENTS, *SERVERS]


def test_these_are_all_certificates(certificates):
    assert set(certificates) == {"embedsvc-ca", *LEAVES}


@pytest.mark.parametrize("name", LEAVES)
def test_all_but_the_ca_itself_are_of_one_ca(cluster, certificates, name):
    issuer = cluster.of("Issuer")[certificates[name]["issuerRef"]["name"]]
    assert issuer["spec"] == {"ca": {"secretName": certificates["embedsvc-ca"]["secretName"]}}


def test_the_ca_signs_itself_and_keeps_its_key(cluster, certificates):
    ca = certificates["embedsvc-ca"]
    assert ca["isCA"] is True
    assert cluster.of("Issuer")[ca["issuerRef"]["name"]]["spec"] == {"selfSigned": {}}
    assert ca["privateKey"]["rotationPolicy"] == "Never", "another key would be another CA"


def test_secrets_have_the_names_of_their_certificates(certificates):
    assert all(spec["secretName"] == name for name, spec in certificates.items())


@pytest.mark.parametrize("name", LEAVES)
def test_certificates_are_new_long_before_they_expire(certificates, name):
    spec, ca = certificates[name], certificates["embedsvc-ca"]
    assert hours(spec["renewBefore"]) * 3 == hours(spec["duration"])
    assert spec["privateKey"]["rotationPolicy"] == "Always"
    assert hours(spec["duration"]) < hours(ca["renewBefore"]), "none outlives the CA that it is of"


def test_the_servers_have_the_name_that_envoy_insists_on(certificates):
    (name,) = re.findall(r"san_type: DNS, matcher: \{ exact: (\S+) \}", (ROOT / "envoy.yaml").read_text())
    assert certificates["embedsvc-server"]["dnsNames"] == [name]


def test_envoy_is_the_identity_that_may_speak_for_others(certificates, settings):
    (envoy,) = (identity for identity in settings.auth.identities if identity.forwards)
    assert certificates["embedsvc-edge-client"]["uris"] == list(envoy.match)


def test_who_asks_for_health_has_the_name_of_the_development_pki_and_speaks_for_nobody(
    certificates, settings, state
):
    names = certificates["embedsvc-health"]["uris"]
    assert names == list(read_peer(state.read("health.crt")).names)
    identity = find_identity(settings.auth.identities, names)
    assert identity is not None
    assert not identity.forwards


@pytest.mark.parametrize(("names", "usage"), [(CLIENTS, "client auth"), (SERVERS, "server auth")])
def test_each_is_good_for_its_own_side_only(certificates, names, usage):
    sides = {"server auth", "client auth"}
    assert [set(certificates[name]["usages"]) & sides for name in names] == [{usage}] * len(names)


def test_services_of_the_cluster_find_the_name_that_they_call(cluster, certificates):
    service = cluster.of("Service")["embedsvc-grpc"]["metadata"]
    short = f"{service['name']}.{service['namespace']}"
    names = [service["name"], short, f"{short}.svc", f"{short}.svc.cluster.local"]
    assert certificates["embedsvc-edge-grpc"]["dnsNames"] == names


def test_the_real_envoy_accepts_what_is_rendered_from_the_settings(state, tmp_path):
    held = {"": "envoy", "PUBLIC_": "edge", "GRPC_": "edge"}
    paths = {f"EMBEDSVC_EDGE__{of}CERTIFICATE": state.path(f"{name}.crt") for of, name in held.items()}
    paths |= {f"EMBEDSVC_EDGE__{of}KEY": state.path(f"{name}.key") for of, name in held.items()}
    paths |= {"EMBEDSVC_EDGE__CA": state.path("ca.crt"), "EMBEDSVC_CONFIG": FOLDER / "base/embedsvc.toml"}
    environment = os.environ | {name: str(path) for name, path in paths.items()}
    subprocess.run(
        [BIN / "embedsvc", "render-edge", "--out", tmp_path], cwd=ROOT, env=environment, check=True
    )
    command = [BIN / "envoy", "--mode", "validate", "-c", tmp_path / "envoy.yaml", "--disable-hot-restart"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

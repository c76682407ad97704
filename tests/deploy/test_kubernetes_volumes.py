"""What pods mount is there, and where the settings and the image look for it."""

import re

import pytest
from support.kustomize import FOLDER, SECRETS_MADE_BY_HAND, build
from support.programs import ROOT

from embedsvc.config import load
from embedsvc.engine.catalog import CATALOG

CERT_MANAGER_KEYS = {"ca.crt", "tls.crt", "tls.key"}


@pytest.fixture(scope="module")
def settings():
    return load(FOLDER / "base/embedsvc.toml")


def test_what_volumes_refer_to_exists(cluster):
    made = {c["spec"]["secretName"] for c in cluster.of("Certificate").values()} | set(SECRETS_MADE_BY_HAND)
    for pods in (cluster.servers, cluster.edges):
        for volume in pods.spec["volumes"]:
            if "secret" in volume:
                assert volume["secret"]["secretName"] in made
            elif "configMap" in volume:
                assert volume["configMap"]["name"] in cluster.of("ConfigMap")
            elif "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"]["claimName"] in cluster.of("PersistentVolumeClaim")
            else:
                assert "emptyDir" in volume


def test_every_volume_is_mounted_and_every_mount_has_one(cluster):
    for pods in (cluster.servers, cluster.edges):
        mounted = {mount["name"] for c in pods.containers for mount in c["volumeMounts"]}
        assert mounted == set(pods.volumes)


def keys_of(cluster, secret):
    if secret in SECRETS_MADE_BY_HAND:
        return SECRETS_MADE_BY_HAND[secret]
    assert secret in {c["spec"]["secretName"] for c in cluster.of("Certificate").values()}
    return CERT_MANAGER_KEYS


def assert_is_a_key_of_a_mounted_secret(cluster, pods, path):
    folder, _, name = str(path).removeprefix("file:").rpartition("/")
    assert name in keys_of(cluster, pods.volume_at(folder)["secret"]["secretName"])


def test_servers_find_their_secrets_where_the_settings_look_for_them(cluster, settings):
    tls = settings.tls
    for path in (tls.ca, tls.certificate, tls.key, *settings.references.values()):
        assert_is_a_key_of_a_mounted_secret(cluster, cluster.servers, path)


def test_envoy_finds_its_certificates_where_render_edge_says_they_are(cluster, settings):
    edge = settings.edge
    pairs = {
        "embedsvc-edge-client": (edge.ca, edge.certificate, edge.key),
        "embedsvc-edge-public": (edge.public_certificate, edge.public_key),
        "embedsvc-edge-grpc": (edge.grpc_certificate, edge.grpc_key),
    }
    for secret, paths in pairs.items():
        for path in paths:
            assert_is_a_key_of_a_mounted_secret(cluster, cluster.edges, path)
            assert cluster.edges.volume_at(str(path.parent))["secret"]["secretName"] == secret


def test_no_secret_is_mounted_file_by_file_since_it_would_never_be_replaced(cluster):
    for pods in (cluster.servers, cluster.edges):
        for container in pods.containers:
            parts = [m for m in container["volumeMounts"] if "subPath" in m]
            assert all("configMap" in pods.volumes[mount["name"]] for mount in parts)


def test_servers_find_what_the_doctor_asks_with_where_their_environment_says(cluster):
    environment = cluster.servers.environment
    assert set(environment) == {f"EMBEDSVC_EDGE__{name}" for name in ("CA", "CERTIFICATE", "KEY")}
    for path in environment.values():
        assert_is_a_key_of_a_mounted_secret(cluster, cluster.servers, path)
        folder = path.rpartition("/")[0]
        assert cluster.servers.volume_at(folder)["secret"]["secretName"] == "embedsvc-health"


def test_no_secret_is_in_the_environment(cluster):
    assert all(value.startswith("/run/secrets/") for value in cluster.servers.environment.values())
    others = [*cluster.edges.containers, *cluster.servers.spec.get("initContainers", [])]
    assert not any("env" in container for container in others)
    everybody = [*cluster.edges.containers, *cluster.servers.containers]
    assert not any("envFrom" in container for container in everybody)


def test_services_put_nothing_into_the_environment_either(cluster):
    assert all(pods.spec["enableServiceLinks"] is False for pods in (cluster.servers, cluster.edges))


def test_the_settings_are_where_the_image_looks_for_them(cluster):
    (path,) = re.findall(r"EMBEDSVC_CONFIG=(\S+)", (ROOT / "Dockerfile").read_text())
    render = cluster.edges.spec["initContainers"][0]
    for pods, container in ((cluster.servers, cluster.servers.container), (cluster.edges, render)):
        name = pods.volume_at(path, container)["configMap"]["name"]
        assert name.startswith("embedsvc-config-"), "with a hash, so that a change makes new pods"
        assert (
            cluster.of("ConfigMap")[name]["data"]["embedsvc.toml"]
            == (FOLDER / "base/embedsvc.toml").read_text()
        )


def test_envoy_reads_what_the_init_container_writes(cluster):
    render, envoy = cluster.edges.containers
    assert render["args"] == ["render-edge", "--out", "/edge"]
    assert "/edge/envoy.yaml" in envoy["command"]
    volumes = {cluster.edges.volume_at("/edge", container)["name"] for container in (render, envoy)}
    assert len(volumes) == 1


def test_models_are_read_only_and_where_the_settings_look_for_them(cluster, settings):
    volume = cluster.servers.volume_at(str(settings.models.folder))
    assert volume["persistentVolumeClaim"] == {"claimName": "embedsvc-models", "readOnly": True}
    claim = cluster.of("PersistentVolumeClaim")["embedsvc-models"]["spec"]
    assert claim["accessModes"] == ["ReadWriteMany"], "pods on several nodes"
    assert settings.models.hub is False
    assert CATALOG[settings.models.fallback].package, "the fallback comes with the image"


def test_the_models_are_written_into_the_same_volume_at_the_same_path(settings):
    (pod,) = build(FOLDER / "models")
    (container,) = pod["spec"]["containers"]
    assert container["volumeMounts"] == [{"name": "models", "mountPath": str(settings.models.folder)}]
    assert pod["spec"]["volumes"] == [
        {"name": "models", "persistentVolumeClaim": {"claimName": "embedsvc-models"}}
    ]


def test_what_the_server_writes_is_in_a_folder_that_it_may_write_to(cluster, settings):
    assert settings.store.kind == "convex", "pods share no disk"
    assert "emptyDir" in cluster.servers.volume_at(str(settings.auth.nonces.parent))
    tmp = cluster.servers.volume_at("/tmp")
    assert tmp["emptyDir"] == {"medium": "Memory", "sizeLimit": "1Gi"}

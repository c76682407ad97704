"""Who may talk to whom: what is needed, and nothing else."""

from urllib.parse import urlsplit

import pytest
from support.kustomize import EDGE, FOLDER, OVERLAYS, SERVER, overlay

from embedsvc.config import load

PROMETHEUS = ("monitoring", {"app.kubernetes.io/name": "prometheus"})
DNS = ("kube-system", {"k8s-app": "kube-dns"})
NAMESPACE_NAME = "kubernetes.io/metadata.name"
HERE, ANY_NAMESPACE, ANYBODY = "the same", "any", ("anywhere", {})


@pytest.fixture(params=OVERLAYS)
def policies(request):
    return overlay(request.param).of("NetworkPolicy")


@pytest.fixture(scope="module")
def settings():
    return load(FOLDER / "base/embedsvc.toml")


def peer_of(rule):
    """A namespace and labels; whatever else a peer could be makes the test fail."""
    if "namespaceSelector" not in rule:
        namespace = HERE
    elif rule["namespaceSelector"]:
        assert set(rule["namespaceSelector"]["matchLabels"]) == {NAMESPACE_NAME}
        namespace = rule["namespaceSelector"]["matchLabels"][NAMESPACE_NAME]
    else:
        namespace = ANY_NAMESPACE
    assert set(rule) <= {"namespaceSelector", "podSelector"}
    return namespace, rule.get("podSelector", {"matchLabels": {}})["matchLabels"]


def allowed(policy, direction, side):
    """Every peer with every port that it is reached at, or reaches."""
    pairs = []
    for rule in policy["spec"][direction]:
        assert rule["ports"], "a rule without ports is for all of them"
        peers = [peer_of(peer) for peer in rule[side]] if side in rule else [ANYBODY]
        pairs += [(peer, (p["port"], p.get("protocol", "TCP"))) for peer in peers for p in rule["ports"]]
    return pairs


def same(found, expected):
    def in_order(pairs):
        return sorted((namespace, sorted(labels.items()), port) for (namespace, labels), port in pairs)

    assert in_order(found) == in_order(expected)


def test_both_directions_are_closed_but_for_what_is_listed(policies):
    assert set(policies) == {"embedsvc", "embedsvc-edge"}
    for policy in policies.values():
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]


def test_servers_are_reached_by_envoy_and_prometheus(policies, settings):
    expected = [
        ((HERE, EDGE), (settings.server.port, "TCP")),
        (PROMETHEUS, (settings.metrics.port, "TCP")),
    ]
    same(allowed(policies["embedsvc"], "ingress", "from"), expected)


def test_nobody_reaches_the_port_without_tls_but_kubelet_whom_no_policy_stops(policies, settings):
    ports = [port for _, (port, _) in allowed(policies["embedsvc"], "ingress", "from")]
    assert settings.server.health_port not in ports


def test_servers_reach_dns_convex_and_redis(policies, settings):
    convex = urlsplit(settings.store.url)
    expected = [
        (DNS, (53, "UDP")),
        (DNS, (53, "TCP")),
        ((HERE, {"app.kubernetes.io/name": convex.hostname}), (convex.port, "TCP")),
        ((HERE, {"app.kubernetes.io/name": "redis"}), (6379, "TCP")),
    ]
    same(allowed(policies["embedsvc"], "egress", "to"), expected)


def test_envoy_is_reached_by_the_world_the_clusters_pods_and_prometheus(policies, settings):
    edge = settings.edge
    expected = [
        (ANYBODY, (edge.port, "TCP")),
        (ANYBODY, (edge.tls_port, "TCP")),
        ((ANY_NAMESPACE, {}), (edge.grpc_port, "TCP")),
        (PROMETHEUS, (edge.stats_port, "TCP")),
    ]
    same(allowed(policies["embedsvc-edge"], "ingress", "from"), expected)


def test_envoy_reaches_dns_and_the_servers(policies, settings):
    expected = [
        (DNS, (53, "UDP")),
        (DNS, (53, "TCP")),
        ((HERE, SERVER), (settings.server.port, "TCP")),
    ]
    same(allowed(policies["embedsvc-edge"], "egress", "to"), expected)

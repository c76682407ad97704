"""Probes, stopping, rollouts, scaling, scraping: the numbers agree with settings, design and each other."""

import re

import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from support.kustomize import EDGE, FOLDER, SERVER
from support.programs import ROOT

from embedsvc.config import load
from embedsvc.engine.devices import Devices
from embedsvc.engine.sharing import Sharing
from embedsvc.health import LIVENESS, SERVICES
from embedsvc.supervisor import Front
from embedsvc.v1 import embedding_pb2, model_pb2, openai_pb2


@pytest.fixture(scope="module")
def settings():
    return load(FOLDER / "base/embedsvc.toml")


@pytest.fixture(scope="module")
def envoy_cluster():
    """Of the servers, as envoy.yaml has it: what comes after its transport socket is left out."""
    text = (ROOT / "envoy.yaml").read_text()
    return yaml.safe_load(re.sub(r"\$\{\w+\}", "0", text))["static_resources"]["clusters"][0]


@pytest.fixture(scope="module")
def adapter():
    (rule,) = yaml.safe_load((FOLDER / "prometheus-adapter.yaml").read_text())["rules"]["custom"]
    return rule


@pytest.mark.parametrize("probe", ["startupProbe", "readinessProbe", "livenessProbe"])
def test_kubelet_asks_for_services_that_health_knows_where_it_needs_no_certificate(cluster, settings, probe):
    grpc = cluster.servers.container[probe]["grpc"]
    assert grpc["port"] == settings.server.health_port
    assert grpc["service"] in {*SERVICES, LIVENESS}


def test_readiness_is_about_answering_and_the_others_about_being_alive(cluster):
    container = cluster.servers.container
    assert container["readinessProbe"]["grpc"]["service"] == "embedsvc.v1.OpenAIService"
    assert container["livenessProbe"]["grpc"]["service"] == LIVENESS
    assert container["startupProbe"]["grpc"]["service"] == LIVENESS


def test_readiness_is_asked_every_10_seconds_and_liveness_every_30(cluster):
    container = cluster.servers.container
    assert container["readinessProbe"]["periodSeconds"] == 10
    assert container["livenessProbe"]["periodSeconds"] == 30


def test_models_may_take_as_long_to_load_as_the_settings_allow(cluster, settings):
    probe = cluster.servers.container["startupProbe"]
    patience = probe["periodSeconds"] * probe["failureThreshold"]
    assert patience >= settings.engine.start_seconds * len(settings.models.served)
    assert cluster.servers.deployment["spec"]["progressDeadlineSeconds"] > patience


def test_a_server_is_not_killed_before_it_has_drained(cluster, settings, tmp_path):
    spec = cluster.servers.spec
    before = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    drain = Front(1, settings, Sharing(tmp_path, Devices(), owner=False)).grace
    assert spec["terminationGracePeriodSeconds"] >= before + drain


def test_envoy_has_taken_a_server_out_before_that_one_stops_taking_calls(settings, envoy_cluster):
    (check,) = envoy_cluster["health_checks"]
    interval = float(check["interval"].removesuffix("s"))
    assert settings.server.drain_notice_seconds > interval * check["unhealthy_threshold"]


def test_envoy_is_not_killed_before_it_has_drained(cluster):
    (name,) = (name for name in cluster.of("ConfigMap") if "drain" in name)
    script = cluster.of("ConfigMap")[name]["data"]["drain.sh"]
    notice, longest = (int(re.search(rf"{n}_SECONDS:-(\d+)", script)[1]) for n in ("NOTICE", "LONGEST"))
    assert cluster.edges.spec["terminationGracePeriodSeconds"] >= notice + longest + 10
    assert longest == 60, "the longest that a request may take: envoy.yaml"


def test_envoys_drain_is_where_its_prestop_looks_for_it(cluster):
    program, path = cluster.edges.container["lifecycle"]["preStop"]["exec"]["command"]
    folder, _, name = path.rpartition("/")
    config = cluster.of("ConfigMap")[cluster.edges.volume_at(folder)["configMap"]["name"]]
    assert program == "bash"
    assert config["data"] == {name: (FOLDER / "base" / name).read_text()}


def test_envoy_is_asked_on_the_page_that_it_has_for_it(cluster):
    for probe in ("readinessProbe", "livenessProbe"):
        assert cluster.edges.container[probe]["httpGet"] == {"path": "/ready", "port": "stats"}
    assert "match: { path: /ready," in (ROOT / "envoy.yaml").read_text()


def test_rollouts_take_nothing_away_before_something_new_is_there(cluster):
    for pods in (cluster.servers, cluster.edges):
        spec = pods.deployment["spec"]
        assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
        assert spec["minReadySeconds"] == 10


def test_nodes_are_emptied_one_pod_at_a_time(cluster):
    for name, labels in (("embedsvc", SERVER), ("embedsvc-edge", EDGE)):
        spec = cluster.of("PodDisruptionBudget")[name]["spec"]
        assert (spec["maxUnavailable"], spec["selector"]) == (1, {"matchLabels": labels})


def test_there_are_2_to_10_servers_by_100_requests_a_second_and_pod(cluster):
    spec = cluster.of("HorizontalPodAutoscaler")["embedsvc"]["spec"]
    (metric,) = spec["metrics"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 10)
    assert (metric["type"], metric["pods"]["target"]) == (
        "Pods",
        {"type": "AverageValue", "averageValue": "100"},
    )
    assert spec["scaleTargetRef"]["name"] in cluster.of("Deployment")


def test_only_the_autoscaler_says_how_many_servers_there_are(cluster):
    assert "replicas" not in cluster.servers.deployment["spec"]
    assert cluster.edges.deployment["spec"]["replicas"] == 2


def test_the_adapter_makes_the_metric_that_the_autoscaler_asks_for(cluster, adapter):
    (metric,) = cluster.of("HorizontalPodAutoscaler")["embedsvc"]["spec"]["metrics"]
    assert adapter["name"]["as"] == metric["pods"]["metric"]["name"]


def test_the_adapter_reads_a_series_that_servers_have(adapter, fake_server):
    series = adapter["seriesQuery"].partition("{")[0]
    families = {family.name for family in text_string_to_metric_families(fake_server.metrics())}
    assert series.removesuffix("_total") in families
    assert re.fullmatch(adapter["name"]["matches"], series)


def test_the_adapters_query_is_one_for_prometheus(adapter):
    query = adapter["metricsQuery"]
    for name, value in {"Series": "x", "LabelMatchers": 'pod="a"', "GroupBy": "pod"}.items():
        query = query.replace(f"<<.{name}>>", value)
    assert "<<" not in query
    assert isinstance(promql_parser.parse(query), promql_parser.AggregateExpr)


def test_the_adapter_counts_calls_that_embed_and_no_others(adapter):
    files = (embedding_pb2, model_pb2, openai_pb2)
    services = [service for file in files for service in file.DESCRIPTOR.services_by_name.values()]
    rpcs = {method.name for service in services for method in service.methods}
    (pattern,) = re.findall(r'rpc=~"([^"]+)"', adapter["metricsQuery"])
    counted = {rpc for rpc in rpcs if re.fullmatch(pattern, rpc)}
    assert counted == set(pattern.split("|")) == {rpc for rpc in rpcs if "Embed" in rpc}


def test_prometheus_scrapes_every_replica_each_5_seconds(cluster):
    (servers,) = cluster.of("ServiceMonitor").values()
    (edges,) = cluster.of("PodMonitor").values()
    (server,), (edge,) = servers["spec"]["endpoints"], edges["spec"]["podMetricsEndpoints"]
    assert {server["interval"], edge["interval"]} == {"5s"}
    found = [s for s in cluster.of("Service").values() if SERVER.items() <= s["metadata"]["labels"].items()]
    assert servers["spec"]["selector"] == {"matchLabels": SERVER}
    assert [server["port"] in {p["name"] for p in s["spec"]["ports"]} for s in found] == [True]
    assert edges["spec"]["selector"] == {"matchLabels": EDGE}
    assert edge["port"] in cluster.edges.ports
    assert f"path: {edge['path']}," in (ROOT / "envoy.yaml").read_text()

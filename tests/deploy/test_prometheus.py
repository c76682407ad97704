"""Prometheus and Grafana ask for series that servers and Envoy have; the real ones are asked here."""

import json
import re
import urllib.request

import pytest
import yaml
from support.programs import ROOT, run_edge, run_server
from support.promql import exposed, grouped_by, selectors

DASHBOARD = json.loads((ROOT / "deploy/grafana/dashboards/embedsvc.json").read_text())
RULES = yaml.safe_load((ROOT / "deploy/prometheus/rules/embedsvc.yml").read_text())
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]
KUBERNETES = ROOT / "deploy/kubernetes/base"
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]
EXPRESSIONS = [rule["expr"] for rule in ALERTS]
TARGET = {"job", "instance"}
"""Labels that Prometheus adds to all that it scrapes."""


@pytest.fixture(scope="module")
def prometheus():
    return yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())


@pytest.fixture(scope="module")
def priced_server(state, tmp_path_factory):
    """A server that knows what its machine costs."""
    folder = tmp_path_factory.mktemp("priced")
    with run_server(state, folder, encoder="fake", COST__USD_PER_HOUR=0.5) as running:
        yield running


@pytest.fixture(scope="module")
def series(priced_server, state, tmp_path_factory) -> dict[str, set[str]]:
    """All series of a server, and of Envoy on the page that Prometheus scrapes, after some calls."""
    with run_edge(priced_server, state, tmp_path_factory.mktemp("edge")) as edge:
        body = json.dumps({"model": "all-MiniLM-L6-v2", "input": "Hello"}).encode()
        headers = {"Authorization": f"Bearer {state.api_key}", "Content-Type": "application/json"}
        urllib.request.urlopen(urllib.request.Request(f"{edge.url}/v1/embeddings", body, headers)).close()
        with urllib.request.urlopen(f"http://127.0.0.1:{edge.ports['STATS_PORT']}/stats/prometheus") as page:
            of_envoy = exposed(page.read().decode(), suffixed=False)
    of_server = exposed(priced_server.metrics(), suffixed=True)
    return {"up": set()} | of_envoy | of_server


def test_servers_and_envoy_are_scraped_each_5_seconds(prometheus, compose, settings):
    assert prometheus["global"]["scrape_interval"] == "5s"
    servers, envoy = prometheus["scrape_configs"]
    (discovery,) = servers["dns_sd_configs"]
    assert (discovery["names"], discovery["type"], discovery["port"]) == (
        ["embedsvc"],
        "A",
        settings.metrics.port,
    )
    assert envoy["static_configs"] == [{"targets": [f"envoy:{settings.edge.stats_port}"]}]
    assert envoy["metrics_path"] == "/stats/prometheus"
    assert {"embedsvc", "envoy"} <= set(compose["services"])
    assert "backend" in compose["services"]["prometheus"]["networks"]


def test_prometheus_reads_the_files_of_the_repository(compose, prometheus):
    service = compose["services"]["prometheus"]
    source, target, mode = service["volumes"][0].split(":")
    assert mode == "ro"
    assert (ROOT / source / "prometheus.yml").is_file()
    assert f"--config.file={target}/prometheus.yml" in service["command"]
    (pattern,) = prometheus["rule_files"]
    assert list((ROOT / source).glob(pattern.removeprefix(f"{target}/")))


@pytest.mark.parametrize("query", sorted({*QUERIES, *EXPRESSIONS}))
def test_a_query_parses_and_asks_for_what_there_is(query, series):
    found = selectors(query)
    assert found
    for selector in found:
        assert selector.name in series
        labels = series[selector.name]
        assert selector.labels <= (labels | TARGET if labels else selector.labels)


@pytest.mark.parametrize("query", sorted(query for query in {*QUERIES, *EXPRESSIONS} if " by (" in query))
def test_a_query_sums_by_labels_that_there_are(query, series):
    known = [series[selector.name] for selector in selectors(query)]
    assert not all(known) or grouped_by(query) <= set.union(*known) | TARGET


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_legend_names_labels_that_its_query_leaves(panel):
    for target in panel["targets"]:
        labels = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        assert labels <= grouped_by(target["expr"])


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_says_how_bad_it_is_and_what_to_do(rule):
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert all(rule["annotations"][name].endswith((".", "`.")) for name in ("summary", "action"))
    for page, title in re.findall(r'(docs/[\w/]+\.md), "([^"]+)"', rule["annotations"]["action"]):
        assert re.search(rf"^#+ {re.escape(title)}$", (ROOT / page).read_text(), re.MULTILINE)


def expression(alert: str) -> str:
    (found,) = (rule["expr"] for rule in ALERTS if rule["alert"] == alert)
    return found


def test_fewer_servers_than_are_always_there_are_too_few(compose):
    replicas = compose["services"]["embedsvc"]["deploy"]["replicas"]
    scaling = yaml.safe_load((KUBERNETES / "scaling.yaml").read_text())
    assert scaling["spec"]["minReplicas"] == replicas
    for alert in ("EmbedsvcFewServers", "EnvoyHostsOut"):
        assert expression(alert).endswith(f" < {replicas}")


def test_alerts_name_the_jobs_that_compose_and_kubernetes_give_to_what_they_scrape(prometheus):
    servers, edge = yaml.safe_load_all((KUBERNETES / "monitoring.yaml").read_text())
    assert (servers["kind"], edge["kind"]) == ("ServiceMonitor", "PodMonitor")
    (job,) = re.findall(r'job=~"([^"]+)"', expression("EnvoyDown"))
    of_compose = [each["job_name"] for each in prometheus["scrape_configs"]]
    # The operator calls a ServiceMonitor's job like the Service, a PodMonitor's NAMESPACE/NAME.
    for names in (of_compose, [servers["metadata"]["name"], f"some/{edge['metadata']['name']}"]):
        assert names[0] == "embedsvc"
        assert [name for name in names if re.fullmatch(job, name)] == names[1:]


def test_what_the_design_asks_to_see_is_on_the_dashboard():
    asked = "".join(QUERIES)
    for name in (
        "requests_total",
        "duration_seconds_bucket",
        "batch_size_bucket",
        "queue_tokens",
        "errors_total",
    ):
        assert f"embeddings_{name}" in asked
    for name in (
        "embeddings_cache_lookups_total",
        "embeddings_gpu_memory_bytes",
        "embeddings_machine_usd_total",
        "embeddings_openai_usd_total",
        "membership_healthy",
        "rate_limited",
    ):
        assert name in asked


def test_panels_do_not_overlap_and_have_ids_of_their_own():
    cells = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for place in [panel["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_grafana_finds_prometheus_and_the_dashboard(compose):
    provisioning = ROOT / "deploy/grafana/provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((provisioning / "dashboards/embedsvc.yml").read_text())["providers"]
    mounts = dict(volume.split(":")[1::-1] for volume in compose["services"]["grafana"]["volumes"])
    assert mounts["/etc/grafana/provisioning"] == "./deploy/grafana/provisioning"
    assert mounts[provider["options"]["path"]] == "./deploy/grafana/dashboards"
    assert source["url"] == "http://prometheus:9090"
    asked = {json.dumps(panel["datasource"]) for panel in PANELS}
    assert asked == {json.dumps({"type": source["type"], "uid": source["uid"]})}
    assert set(compose["services"]["grafana"]["networks"]) <= set(
        compose["services"]["prometheus"]["networks"]
    )


def test_grafana_shows_the_dashboard_first(compose):
    path = compose["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert path == "/etc/grafana/dashboards/embedsvc.json"

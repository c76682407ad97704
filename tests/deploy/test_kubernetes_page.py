"""docs/deploy/kubernetes.md says what is so, and its overlay can be built."""

import json
import re
import shutil
import subprocess

import kubernetes_validate
import pytest
import yaml
from cloudcoil.models.prometheus_operator.v1 import PrometheusRule
from support.kustomize import FOLDER, SECRETS_MADE_BY_HAND, build, overlay
from support.programs import ROOT

from embedsvc.config import load
from embedsvc.engine.catalog import CATALOG
from embedsvc.health import LIVENESS
from embedsvc.keys.finder import parse
from embedsvc.keys.token import digest


@pytest.fixture(scope="module")
def page():
    return (ROOT / "docs/deploy/kubernetes.md").read_text()


@pytest.fixture(scope="module")
def settings():
    return load(FOLDER / "base/embedsvc.toml")


@pytest.fixture(scope="module")
def blocks(page):
    return re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)


@pytest.fixture(scope="module")
def folder(page, tmp_path_factory):
    """Where the commands that need no cluster were given."""
    path = tmp_path_factory.mktemp("own")
    shutil.copytree(ROOT / "deploy", path / "embedsvc/deploy")
    for commands in re.findall(r"```bash\n(.*?)```", page, re.DOTALL):
        subprocess.run(["bash", "-euc", commands], cwd=path, check=True, timeout=60)
    return path


@pytest.fixture(scope="module")
def own(blocks, folder):
    """What the overlay of step 2 makes, with the CronJob of docs/keys.md."""
    (cron,) = re.findall(r"```yaml\n(# rotate.yaml.*?)```", (ROOT / "docs/keys.md").read_text(), re.DOTALL)
    (folder / "rotate.yaml").write_text(cron)
    named = blocks[0].replace("resources:\n", "resources:\n  - rotate.yaml\n")
    (folder / "kustomization.yaml").write_text(named)
    resources = build(folder)
    return {(resource["kind"], resource["metadata"]["name"]): resource for resource in resources}


def test_an_overlay_of_ones_own_has_its_own_images(own):
    spec = own["Deployment", "embedsvc"]["spec"]["template"]["spec"]
    render = own["Deployment", "embedsvc-edge"]["spec"]["template"]["spec"]["initContainers"][0]
    assert spec["containers"][0]["image"] == "registry.example.com/embedsvc:0.1.0"
    assert render["image"] == "registry.example.com/embedsvc:0.1.0-cpu"


def test_an_overlay_of_ones_own_has_its_own_name_issuer_storage_and_label(own):
    public = own["Certificate", "embedsvc-edge-public"]["spec"]
    assert (public["dnsNames"], public["issuerRef"]["kind"]) == (["embeddings.example.org"], "ClusterIssuer")
    assert own["PersistentVolumeClaim", "embedsvc-models"]["spec"]["storageClassName"] == "nfs"
    monitors = (
        ("ServiceMonitor", "embedsvc"),
        ("PodMonitor", "embedsvc-edge"),
        ("PrometheusRule", "embedsvc"),
    )
    for monitor in monitors:
        assert own[monitor]["metadata"]["labels"]["release"] == "kube-prometheus-stack"


def test_an_overlay_of_ones_own_has_its_own_settings_in_both_kinds_of_pods(own):
    (name,) = (name for kind, name in own if kind == "ConfigMap" and name.startswith("embedsvc-config"))
    assert 'url = "http://convex-backend.convex:3210"' in own["ConfigMap", name]["data"]["embedsvc.toml"]
    for deployment in ("embedsvc", "embedsvc-edge"):
        volumes = own["Deployment", deployment]["spec"]["template"]["spec"]["volumes"]
        assert {"name": "config", "configMap": {"name": name}} in volumes


def test_servers_get_to_convex_in_a_namespace_of_its_own(own):
    egress = own["NetworkPolicy", "embedsvc"]["spec"]["egress"]
    there = {"matchLabels": {"kubernetes.io/metadata.name": "convex"}}
    (rule,) = (each for each in egress if each["to"][0].get("namespaceSelector") == there)
    assert rule["to"][0]["podSelector"] == {"matchLabels": {"app.kubernetes.io/name": "convex-backend"}}


def unfolded(rules):
    """The same; kubectl adds empty lines to text that it finds folded."""
    return re.sub(r"(\\n)+", r"\\n", json.dumps(rules, sort_keys=True))


def test_alerts_and_dashboard_are_those_of_compose(own):
    rule = own["PrometheusRule", "embedsvc"]
    source = yaml.safe_load((ROOT / "deploy/prometheus/rules/embedsvc.yml").read_text())
    assert unfolded(rule["spec"]) == unfolded(source)
    understood = PrometheusRule.model_validate(rule)
    assert understood.model_dump(by_alias=True, exclude_unset=True, mode="json") == rule
    (board,) = (own[key] for key in own if key[0] == "ConfigMap" and "dashboard" in key[1])
    assert board["data"]["embedsvc.json"] == (ROOT / "deploy/grafana/dashboards/embedsvc.json").read_text()
    assert board["metadata"]["labels"] == {"grafana_dashboard": "1"}


def test_keys_are_rotated_with_the_settings_and_the_secret_of_the_servers(own):
    spec = own["CronJob", "embedsvc-rotate"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    served = own["Deployment", "embedsvc"]["spec"]["template"]["spec"]
    assert spec["containers"][0]["image"] == "registry.example.com/embedsvc:0.1.0-cpu"
    for name in ("config", "convex"):
        (ours,), (theirs,) = ([v for v in each["volumes"] if v["name"] == name] for each in (spec, served))
        assert ours == theirs
        mounts = [
            m for each in (spec, served) for m in each["containers"][0]["volumeMounts"] if m["name"] == name
        ]
        assert mounts[0] == mounts[1]


@pytest.mark.parametrize("release", ["1.30", "1.37"])
def test_the_job_that_rotates_follows_the_schemas_and_is_let_into_the_namespace(own, release):
    for key in (("CronJob", "embedsvc-rotate"), ("PersistentVolumeClaim", "embedsvc-keys")):
        kubernetes_validate.validate(own[key], release, strict=True)
        assert own[key]["metadata"]["namespace"] == "embedsvc"
    rotates = own["CronJob", "embedsvc-rotate"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    serves = own["Deployment", "embedsvc"]["spec"]["template"]["spec"]
    assert rotates["securityContext"].items() <= serves["securityContext"].items()
    assert rotates["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert rotates["containers"][0]["securityContext"] == serves["containers"][0]["securityContext"]


def test_the_key_that_it_asks_with_is_one_of_those_that_servers_are_given(folder):
    key = (folder / "api_key").read_text().strip()
    (record,) = parse((folder / "api_keys").read_bytes()).values()
    assert (record.digest, record.name) == (digest(key), "first")
    assert (folder / "api_key").stat().st_mode & 0o077 == 0


def test_secrets_are_made_with_the_keys_that_are_looked_for(page):
    made = dict(re.findall(r"create secret generic (\S+) --from-file=(\S+)", page))
    assert {name: {key} for name, key in made.items()} == SECRETS_MADE_BY_HAND


def test_the_files_and_folders_that_it_names_are_there(page):
    named = set(
        re.findall(r"`((?:base|components|overlays|models)/[\w./-]*|prometheus-adapter\.yaml)`", page)
    )
    named |= set(re.findall(r"embedsvc/deploy/kubernetes/(\S+)", page))
    assert len(named) > 12
    assert [name for name in named if not (FOLDER / name).exists()] == []


def test_the_primary_model_is_of_the_revision_that_the_catalog_pins(page, settings):
    entry = CATALOG[settings.models.primary]
    assert f"hf download {entry.repository} --revision {entry.revision}" in page
    assert f"cp models/{settings.models.primary} embedsvc-models:/models/{settings.models.primary}" in page


def test_numbers_of_probes_are_those_of_the_servers(page):
    container = overlay("gpu").servers.container
    startup, liveness = container["startupProbe"], container["livenessProbe"]
    minutes = startup["periodSeconds"] * startup["failureThreshold"] // 60
    assert f"| startup | `{LIVENESS}` | {startup['periodSeconds']} s, for {minutes} min |" in page
    assert (
        f"| readiness | `embedsvc.v1.OpenAIService` | {container['readinessProbe']['periodSeconds']} s |"
        in page
    )
    asked = f"{liveness['periodSeconds']} s, {liveness['failureThreshold']} times"
    assert f"| liveness | `{LIVENESS}` | {asked} |" in page


def test_numbers_of_stopping_are_those_of_the_settings(page, settings):
    servers, edges = overlay("gpu").servers, overlay("gpu").edges
    before = servers.container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert f"| 1 | `preStop`: {before} s |" in page
    assert f"NOT_SERVING, and {settings.server.drain_notice_seconds:.0f} s for Envoy" in page
    assert f"finishes what it has, {settings.server.drain_seconds:.0f} s at most" in page
    assert f"ledger, {settings.ledger.drain_seconds:.0f} s at most" in page
    graces = [pods.spec["terminationGracePeriodSeconds"] for pods in (servers, edges)]
    assert "| killed after | {} s | {} s |".format(*graces) in page


def test_what_it_says_of_limits_is_so(page, settings):
    rate, edges = settings.edge.rate("uri").per_second, overlay("gpu").edges.deployment["spec"]["replicas"]
    assert f"Each Envoy lets {rate} requests a second through to a path" in page
    assert f"that is {rate * edges} a second of REST" in page


def test_the_example_of_a_patch_fits_the_policy(blocks):
    (patch,) = yaml.safe_load(blocks[1])
    assert patch["path"] == "/spec/egress/-"
    assert isinstance(overlay("gpu").of("NetworkPolicy")["embedsvc"]["spec"]["egress"], list)


def test_a_caller_gets_its_certificate_of_the_ca_that_servers_trust(blocks):
    certificate = yaml.safe_load(blocks[2])
    cluster = overlay("gpu")
    assert certificate["spec"]["issuerRef"]["name"] in cluster.of("Issuer")
    assert certificate["metadata"]["namespace"] in cluster.of("Namespace")

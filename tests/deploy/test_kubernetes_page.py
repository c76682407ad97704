"""docs/deploy/kubernetes.md says what is so, and its overlay can be built."""

import re
import shutil

import pytest
import yaml
from support.kustomize import FOLDER, SECRETS_MADE_BY_HAND, build, overlay
from support.programs import ROOT

from embedsvc.config import load
from embedsvc.engine.catalog import CATALOG
from embedsvc.health import LIVENESS


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
def own(blocks, tmp_path_factory):
    """What the overlay of step 2 makes."""
    folder = tmp_path_factory.mktemp("own")
    shutil.copytree(FOLDER, folder / "embedsvc/deploy/kubernetes")
    (folder / "kustomization.yaml").write_text(blocks[0])
    (folder / "embedsvc.toml").write_text("# my own\n")
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
    for monitor in (("ServiceMonitor", "embedsvc"), ("PodMonitor", "embedsvc-edge")):
        assert own[monitor]["metadata"]["labels"]["release"] == "kube-prometheus-stack"


def test_an_overlay_of_ones_own_has_its_own_settings_in_both_kinds_of_pods(own):
    (name,) = (name for kind, name in own if kind == "ConfigMap" and name.startswith("embedsvc-config"))
    assert own["ConfigMap", name]["data"] == {"embedsvc.toml": "# my own\n"}
    for deployment in ("embedsvc", "embedsvc-edge"):
        volumes = own["Deployment", deployment]["spec"]["template"]["spec"]["volumes"]
        assert {"name": "config", "configMap": {"name": name}} in volumes


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

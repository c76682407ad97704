"""docs/secrets.md: what it adds to Kubernetes' pods for Vault fits them, and the settings that it shows."""

import re
import shutil
import textwrap
import tomllib

import kubernetes_validate
import pytest
from support.kustomize import FOLDER, Cluster, build
from support.programs import ROOT

from embedsvc.config import load


@pytest.fixture(scope="module")
def page():
    return (ROOT / "docs/secrets.md").read_text()


@pytest.fixture(scope="module")
def cluster(page, tmp_path_factory):
    """The overlay for GPUs with the patches of the page."""
    (patches,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    folder = tmp_path_factory.mktemp("vault")
    shutil.copytree(FOLDER, folder / "kubernetes")
    text = f"resources: [kubernetes/overlays/gpu]\npatches:\n{textwrap.indent(patches, '  ')}"
    (folder / "kustomization.yaml").write_text(text)
    return Cluster(build(folder))


def test_servers_find_the_token_and_the_ca_where_the_settings_say(cluster, page, tmp_path):
    (shown,) = re.findall(r"```toml\n(\[vault\].*?)```", page, re.DOTALL)
    path = tmp_path / "embedsvc.toml"
    path.write_text(shown)
    sources = cluster.servers.volume_at("/run/secrets/vault")["projected"]["sources"]
    files = {sources[0]["serviceAccountToken"]["path"], sources[1]["configMap"]["items"][0]["path"]}
    vault = load(path).vault
    assert {str(vault.service_account_file), str(vault.ca)} == {
        f"/run/secrets/vault/{file}" for file in files
    }
    assert tomllib.loads(shown)["vault"]["auth"] == "kubernetes"


@pytest.mark.parametrize("release", ["1.30", "1.37"])
def test_what_is_patched_follows_the_schemas(cluster, release):
    for resource in (cluster.servers.deployment, cluster.of("NetworkPolicy")["embedsvc"]):
        kubernetes_validate.validate(resource, release, strict=True)


def test_servers_are_let_to_the_port_of_vault(cluster):
    egress = cluster.of("NetworkPolicy")["embedsvc"]["spec"]["egress"]
    assert egress[-1]["ports"] == [{"port": 8200}]

"""docs/identities.md: the CA that its commands make is one that servers, Envoy and health checks can use."""

import re
import shutil
import subprocess

import pytest
from support.programs import ROOT, free_port, run_server

from embedsvc.config import load
from embedsvc.dev.handout import ROLES
from embedsvc.doctor.certificates import look
from embedsvc.healthcheck import find_fault

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the commands of "A CA of your own" have made."""
    page = (ROOT / "docs/identities.md").read_text()
    (commands,) = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    made = tmp_path_factory.mktemp("own")
    subprocess.run(["bash", "-euc", commands], cwd=made, check=True, capture_output=True, timeout=60)
    return made


def settings_in(folder, role, **edge):
    """Those of a role's container, whose /run/secrets is the role's folder."""
    text = (ROOT / "deploy/embedsvc.toml").read_text().replace("/run/secrets", str(folder / "secrets" / role))
    path = folder / f"{role}.toml"
    path.write_text(text)
    settings = load(path)
    return settings.model_copy(update={"edge": settings.edge.model_copy(update=edge)})


@pytest.fixture(scope="module")
def servers(folder):
    own = folder / "secrets/server"
    return settings_in(
        folder, "server", ca=own / "ca.crt", certificate=own / "health.crt", key=own / "health.key"
    )


def test_each_role_has_the_files_that_init_gives_it_and_never_the_cas_key(folder):
    for role, names in ROLES.items():
        found = {path.name for path in (folder / "secrets" / role).iterdir()}
        assert found - {"api_keys"} == set(names)


def test_nobody_else_may_read_any_of_it(folder):
    assert [path for path in folder.glob("*/**/*") if path.stat().st_mode & 0o077] == []


def test_the_doctor_finds_nothing_wrong_in_a_servers_container(servers):
    assert {finding.level for finding in look(servers)} == {"ok", "note"}


def test_the_doctor_finds_nothing_wrong_with_envoys(folder):
    envoy = settings_in(folder, "envoy")
    server = {
        name: folder / "secrets/server" / f"server.{end}"
        for name, end in (("certificate", "crt"), ("key", "key"))
    }
    both = envoy.model_copy(update={"tls": envoy.tls.model_copy(update=server)})
    assert {finding.level for finding in look(both)} == {"ok"}


def test_a_server_answers_its_health_check_with_them(state, servers, tmp_path):
    tls = {f"TLS__{name.upper()}": getattr(servers.tls, name) for name in ("ca", "certificate", "key")}
    port = free_port()
    with run_server(state, tmp_path, encoder="fake", SERVER__PORT=port, **tls):
        at = servers.server.model_copy(update={"host": "127.0.0.1", "port": port})
        assert find_fault(servers.model_copy(update={"server": at})) is None

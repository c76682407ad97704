"""Convex in docker-compose.yml: one revision, a key that nobody types, functions that deploy themselves."""

import os
import re
import shutil
import subprocess
import tomllib

import pytest
from support.programs import BIN, ROOT

from embedsvc.config import load


@pytest.fixture
def services(compose):
    return {name: each for name, each in compose["services"].items() if name.startswith("convex-")}


def test_backend_key_and_dashboard_are_of_one_revision(services):
    tags = {services[f"convex-{name}"]["image"].partition(":")[2] for name in ("backend", "key", "dashboard")}
    assert len(tags) == 1


def test_the_backend_can_be_reached_from_the_servers_and_this_machine_alone(compose, services):
    assert set(services["convex-backend"]["networks"]) == {"store", "frontend"}
    on_the_store = {name for name, each in compose["services"].items() if "store" in each.get("networks", [])}
    assert on_the_store == {"embedsvc", "convex-backend", "convex-deploy"}
    assert services["convex-backend"]["ports"] == ["127.0.0.1:3210:3210"]


def test_the_key_is_where_the_servers_and_the_deployment_look_for_it(compose, services):
    (line,) = services["convex-key"]["command"]
    assert line.endswith("/run/convex/admin_key")
    assert "convex-key:/run/convex" in services["convex-key"]["volumes"]
    assert services["convex-deploy"]["volumes"] == ["convex-key:/run/convex:ro"]
    (mount,) = (each for each in compose["services"]["embedsvc"]["volumes"] if "convex-key" in str(each))
    assert (mount["target"], mount["read_only"]) == ("/run/convex", True)


def test_the_lines_that_switch_the_servers_over_are_right(compose, tmp_path):
    text = (ROOT / "deploy/embedsvc.toml").read_text()
    switched = re.sub(
        r"^path = .*\n",
        "",
        re.sub(r"^# (kind|url|admin_key) = ", r"\1 = ", text, flags=re.MULTILINE),
        flags=re.MULTILINE,
    )
    (tmp_path / "embedsvc.toml").write_text(switched)
    store = load(tmp_path / "embedsvc.toml").store
    assert tomllib.loads(switched)["store"].keys() == {"kind", "url", "admin_key"}
    assert store.kind == "convex"
    assert (
        str(store.url).rstrip("/")
        == compose["services"]["convex-deploy"]["environment"]["CONVEX_SELF_HOSTED_URL"]
    )
    assert str(store.admin_key) == "file:/run/convex/admin_key"


def test_the_key_is_whole_from_the_first_moment_and_is_the_last_line_that_the_backend_says(
    services, tmp_path
):
    (line,) = services["convex-key"]["command"]
    script = tmp_path / "generate_admin_key.sh"
    script.write_text("#!/bin/sh\necho 'Admin key:'\necho 'convex-self-hosted|01ab'\n")
    script.chmod(0o755)
    command = [*services["convex-key"]["entrypoint"], line.replace("/run/convex", str(tmp_path))]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert (tmp_path / "admin_key").read_text() == "convex-self-hosted|01ab\n"
    assert not (tmp_path / "admin_key.new").exists()


@pytest.fixture
def image(tmp_path):
    """What the image of convex-deploy has: what its Dockerfile copies, and the packages of production."""
    text = (ROOT / "deploy/convex/Dockerfile").read_text()
    for line in re.findall(r"^COPY (.*)$", text, flags=re.MULTILINE):
        *sources, destination = line.split()
        for name in sources:
            source = ROOT / "convex" / name
            if source.is_dir():
                shutil.copytree(source, tmp_path / destination)
            else:
                shutil.copy(source, tmp_path)
    (tmp_path / "node_modules").symlink_to(ROOT / "convex/node_modules")
    return tmp_path


def test_what_the_image_has_is_enough_for_convexs_own_bundler(image):
    text = (ROOT / "deploy/convex/Dockerfile").read_text()
    (script,) = re.findall(r'ENTRYPOINT \["sh", "-ec", "(.*)"\]', text)
    key = image / "admin_key"
    key.write_text("convex-self-hosted|01ab\n")
    script = script.replace("/run/convex/admin_key", str(key)) + " --dry-run --debug-bundle-path out"
    environment = {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "CI": "1",
        "HOME": str(image),
        "CONVEX_SELF_HOSTED_URL": "http://127.0.0.1:1",
    }
    done = subprocess.run(
        ["sh", "-ec", script],
        cwd=image,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list((image / "out").rglob("embeddings*"))


def test_the_packages_of_production_are_all_that_functions_import():
    sources = "".join(path.read_text() for path in (ROOT / "convex/functions").rglob("*.ts"))
    imported = set(re.findall(r'from "((?:@[\w-]+/)?[\w-]+)', sources))
    lock = (ROOT / "convex/package.json").read_text()
    production = lock[lock.index('"dependencies"') : lock.index('"devDependencies"')]
    assert imported
    assert all(f'"{name}"' in production for name in imported)

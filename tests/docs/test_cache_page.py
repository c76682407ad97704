"""docs/cache.md: what it gives Redis is enough, and what it names is there."""

import re
import shutil
import textwrap
import tomllib

import kubernetes_validate
import pytest
from prometheus_client import CollectorRegistry
from redis.exceptions import NoPermissionError
from support.kustomize import FOLDER, Cluster, build
from support.programs import ROOT
from support.redis import run_redis

from embedsvc.cache.second import open_level
from embedsvc.config import load
from embedsvc.config.cache import CacheSettings
from embedsvc.metrics.cache import cache_metrics

PAGE = (ROOT / "docs/cache.md").read_text()


@pytest.fixture
def redis(tmp_path):
    """A Redis with the configuration of the page."""
    (written,) = re.findall(r"```\n(maxmemory .*?)```", PAGE, re.DOTALL)
    options = dict(line.split(" ", 1) for line in written.splitlines())
    assert options.pop("save") == '""'
    with run_redis(tmp_path, **options) as running:
        yield running


async def test_a_user_with_the_rights_of_the_page_can_do_all_that_is_needed_and_not_more(redis):
    (command,) = re.findall(r"`ACL (SETUSER embedsvc on .*?)`", PAGE)
    with redis.client() as client:
        client.execute_command("ACL", *command.replace(">PASSWORD", ">secret").split())
    settings = CacheSettings(second="redis", url=redis.url.replace("/0", "/3"), user="embedsvc")
    async with open_level(settings, lambda: "secret") as level:
        await level.set_many({"key": b"row"}, 60)
        assert await level.get_many(["key"]) == {"key": b"row"}
        measured = await level.measure()
        assert (measured.rows, measured.bound) == (1, 4 * 2**30)
        assert await level.clear() == 1
        assert await level.generation()
    with redis.client(username="embedsvc", password="secret") as client:
        for forbidden in (["FLUSHALL"], ["KEYS", "*"], ["GET", "others"]):
            with pytest.raises(NoPermissionError):
                client.execute_command(*forbidden)


def test_the_settings_of_the_page_are_settings():
    (written,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    settings = CacheSettings(**tomllib.loads(written)["cache"])
    assert settings.second == "redis"
    assert settings.password.scheme == "file"


def test_every_series_is_on_the_page_and_no_other():
    registry = CollectorRegistry()
    cache_metrics(registry)
    made = {family.name + ("_total" if family.type == "counter" else "") for family in registry.collect()}
    table = PAGE.split("## Metrics")[1].split("The hit rate")[0]
    assert set(re.findall(r"`(embeddings_\w+)`", table)) == made


def test_its_numbers_are_those_of_the_settings():
    settings = CacheSettings()
    assert f"{settings.memory_bytes // 2**20} MiB" in PAGE
    assert f"{settings.disk_bytes // 2**30} GiB" in PAGE
    assert f"`cache.ttl_days`, {settings.ttl_days:g} unless set" in PAGE
    assert f"`cache.wait_seconds` ({settings.wait_seconds:g} s)" in PAGE


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The overlay for GPUs with the patches of the page."""
    (patches,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    folder = tmp_path_factory.mktemp("redis")
    shutil.copytree(FOLDER, folder / "kubernetes")
    text = f"resources: [kubernetes/overlays/gpu]\npatches:\n{textwrap.indent(patches, '  ')}"
    (folder / "kustomization.yaml").write_text(text)
    return Cluster(build(folder))


def test_pods_with_the_patches_of_the_page_have_redis_and_its_password(cluster, monkeypatch):
    for name, value in cluster.servers.environment.items():
        monkeypatch.setenv(name, value)
    cache = load(FOLDER / "base/embedsvc.toml").cache
    assert (cache.second, cache.url) == ("redis", "redis://redis:6379/0")
    folder, _, key = cache.password.name.rpartition("/")
    ((name, file),) = re.findall(r"create secret generic (\S+) --from-file=(\w+)=", PAGE)
    assert cluster.servers.volume_at(folder)["secret"]["secretName"] == name
    assert key == file


@pytest.mark.parametrize("release", ["1.30", "1.37"])
def test_what_is_patched_follows_the_schemas(cluster, release):
    kubernetes_validate.validate(cluster.servers.deployment, release, strict=True)


def test_pods_are_let_to_redis_by_the_label_of_the_page(cluster):
    (label,) = re.findall(r"label `([\w./]+: redis)`", PAGE)
    egress = cluster.of("NetworkPolicy")["embedsvc"]["spec"]["egress"]
    name, _, value = label.partition(": ")
    rule = {"to": [{"podSelector": {"matchLabels": {name: value}}}], "ports": [{"port": 6379}]}
    assert rule in egress

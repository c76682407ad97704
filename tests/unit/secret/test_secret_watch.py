"""secret.keeper, while it watches: what goes wrong keeps the secret, is told of, and holds up nothing."""

import asyncio
import threading
import time
from itertools import chain, repeat

import pytest

from embedsvc import background
from embedsvc.background import running
from embedsvc.secret.files import FileSource
from embedsvc.secret.keeper import Keeper, open_secrets
from embedsvc.secret.reference import SecretRef
from embedsvc.secret.vault import VaultSource

SECONDS = 10
FROM_VAULT = SecretRef.parse("vault:secret/embedsvc#key")


@pytest.fixture
async def keeper(ref):
    """A keeper of one file, which is looked at when a test says so."""
    keeper = Keeper(FileSource(), SECONDS)
    await keeper.add("convex.admin_key", ref)
    return keeper


def events(logs):
    return [(entry["log_level"], entry["event"]) for entry in logs]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.unlink(), "No such file or directory"),
        (lambda path: path.write_text("\n"), "it is empty"),
        (lambda path: (path.unlink(), path.mkdir()), "it is not a regular file"),
    ],
)
async def test_a_change_that_cannot_be_read_keeps_the_secret_and_is_told_of_once(
    keeper, path, logs, damage, reason
):
    damage(path)
    for _ in range(3):
        await keeper.look()
    assert keeper.secrets["convex.admin_key"].value == b"s3cret"
    [entry] = logs
    assert entry["log_level"] == "warning"
    assert (entry["setting"], entry["secret"], entry["error"]) == ("convex.admin_key", f"file:{path}", reason)


async def test_another_reason_is_told_of_again_and_so_is_that_it_is_well(keeper, path, rewrite, logs):
    for content in ("", None, "s3cret", ""):
        path.unlink() if content is None else rewrite(content)
        for _ in range(2):
            await keeper.look()
    assert [entry.get("error", entry["event"]) for entry in logs] == [
        "it is empty",
        "No such file or directory",
        "secret read again",
        "it is empty",
    ]


async def test_a_vault_that_is_sealed_keeps_the_secret_and_is_told_of_once(vault, vault_settings, logs):
    keeper = Keeper(VaultSource(vault_settings), SECONDS)
    await keeper.add("signing.secret", FROM_VAULT)
    vault.sealed = True
    for _ in range(3):
        await keeper.look()
    assert keeper.secrets["signing.secret"].value == b"s3cret"
    vault.sealed = False
    vault.put("embedsvc", key="s3cret-2")
    await keeper.look()
    assert keeper.secrets["signing.secret"].value == b"s3cret-2"
    keeper.close()
    assert events(logs) == [
        ("warning", "secret not read again; that of before holds"),
        ("info", "secret read again"),
        ("info", "secret changed"),
    ]


async def test_a_place_that_hangs_holds_up_neither_the_secret_nor_the_loop_nor_the_end(vault, vault_settings):
    loop = asyncio.get_running_loop()
    async with open_secrets({"signing.secret": FROM_VAULT}, vault_settings) as secrets:
        vault.open.clear()
        assert await asyncio.to_thread(vault.waiting.wait, SECONDS)
        began = loop.time()
        assert secrets["signing.secret"].value == b"s3cret"
        await asyncio.sleep(0)
    assert loop.time() - began < vault_settings.timeout_seconds / 2
    assert not vault.open.is_set()


async def test_a_place_is_asked_in_a_thread_and_never_twice_at_once(ref):
    class Witness:
        threads, alone, lock = set(), [], threading.Lock()

        def fetch(self, _ref):
            self.threads.add(threading.current_thread())
            self.alone.append(self.lock.acquire(blocking=False))
            time.sleep(0.01)  # so that another would come while this one is here
            self.lock.release()
            return b"s3cret"

    witness = Witness()
    keeper = Keeper(witness, SECONDS)
    for setting in "abc":
        await keeper.add(setting, ref)
    await keeper.look()
    assert witness.alone == [True] * 6
    assert threading.current_thread() not in witness.threads


async def test_a_change_that_means_nothing_keeps_what_was_before_and_is_told_of_once(ref, rewrite, logs):
    def parse(content):
        if not content.startswith(b"s3cret"):
            raise ValueError("it does not begin as it must")
        return len(content)

    keeper = Keeper(FileSource(), SECONDS)
    await keeper.add("a.b", ref, parse)
    rewrite("another")
    for _ in range(3):
        await keeper.look()
    assert (keeper.secrets["a.b"].value, keeper.secrets["a.b"].meaning) == (b"s3cret", 6)
    rewrite("s3cret-2")
    await keeper.look()
    assert keeper.secrets["a.b"].meaning == 8
    assert events(logs) == [
        ("warning", "secret not read again; that of before holds"),
        ("info", "secret read again"),
        ("info", "secret changed"),
    ]
    assert logs[0]["error"] == "it does not begin as it must"


async def test_a_fault_of_our_own_is_logged_and_does_not_end_the_watch(monkeypatch, ref, becomes, logs):
    class Faulty:
        answers = chain([b"s3cret", KeyError("fault")], repeat(b"s3cret-2"))

        def fetch(self, _ref):
            answer = next(self.answers)
            if isinstance(answer, Exception):
                raise answer
            return answer

    monkeypatch.setattr(background, "PAUSE_SECONDS", 0.0)
    keeper = Keeper(Faulty(), 0.01)
    await keeper.add("a", ref)
    async with running(keeper.watch):
        await becomes(keeper.secrets["a"], b"s3cret-2")
    assert events(logs) == [
        ("error", "background work failed; it begins anew"),
        ("info", "secret changed"),
    ]

"""Keys made, limited, expired, rotated, guessed and revoked while a server runs.

What only a server's next look at its store shows is begun first, and comes last.
"""

import asyncio
import json
import re
import time
from collections import Counter
from types import SimpleNamespace

import pytest
from support import pki as files
from support.programs import run_server
from support.trust import (
    ABROAD,
    FORWARDED,
    KINDS,
    OF_ITS_OWN,
    WRONG,
    Siege,
    bearer,
    make_key,
    next_of,
    open_stream,
    operate,
    outcome,
    rows,
    until,
)

from embedsvc.keys import finder, token
from embedsvc.ledger.failures import MOST_PREFIXES
from embedsvc.store.records import Limits

STOPS_WITHIN = 60


@pytest.fixture(scope="module")
def own_state(tmp_path_factory):
    return files.make(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def service(own_state, tmp_path_factory):
    with run_server(own_state, tmp_path_factory.mktemp("server"), encoder="fake") as running:
        yield running


@pytest.fixture(scope="module")
async def channel(service):
    async with service.channel() as opened:
        yield opened


async def made(service, *arguments):
    """What a command of `embedsvc keys` says on standard output."""
    ended = await operate(service, "keys", *arguments)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


@pytest.fixture(scope="module", autouse=True)
async def revoked(service, own_state, channel):
    """A key that was revoked and one that was not; `stopped` ends when calls with the first are refused.

    It is done first, so that other tests pass the time until the server looks at the store again.
    """
    key, kept = [await make_key(own_state, name) for name in ("revoked", "kept")]
    for one in (key, kept):
        assert await outcome(channel, "embed", bearer(one)) == "OK"
    streams = {one: await open_stream(channel, bearer(one)) for one in (key, kept)}
    await made(service, "revoke", "revoked")
    started = time.monotonic()

    async def stopped():
        while await outcome(channel, "embed", bearer(key)) == "OK":
            assert await outcome(channel, "embed", bearer(kept)) == "OK"
            await asyncio.sleep(0.1)
        return time.monotonic() - started

    return SimpleNamespace(key=key, kept=kept, streams=streams, stopped=asyncio.create_task(stopped()))


async def test_a_key_works_as_soon_as_it_is_made_and_for_the_calls_that_it_was_made_for(service, channel):
    key = await made(service, "create", "reports", "--call", "embed", "--call", "models")
    assert token.is_key(key)
    results = [await outcome(channel, kind, bearer(key)) for kind in KINDS]
    assert results == ["OK", "PERMISSION_DENIED", "OK"]


async def test_an_expired_key_is_refused(own_state, channel):
    key = await make_key(own_state, expires_at=time.time() - 0.001)
    assert [await outcome(channel, kind, bearer(key)) for kind in KINDS] == ["INVALID_API_KEY"] * 3


async def test_a_key_that_expires_ends_at_that_moment_in_open_streams_too(own_state, channel):
    ends = time.time() + 1.5
    key = await make_key(own_state, expires_at=ends)
    assert await outcome(channel, "embed", bearer(key)) == "OK"
    stream = await open_stream(channel, bearer(key))

    async def refused():
        return await outcome(channel, "embed", bearer(key)) == "INVALID_API_KEY"

    await until(refused)
    assert ends <= time.time() < ends + 10
    assert await next_of(stream) == "INVALID_API_KEY"


async def test_a_limit_of_a_key_holds_for_its_batches_and_its_calls_alike(own_state, channel):
    key = await make_key(own_state, limits=Limits(requests_per_minute=3))
    assert await outcome(channel, "stream", bearer(key)) == "OK", "to open one takes nothing"
    stream = await open_stream(channel, bearer(key))
    assert await next_of(stream) == "OK"
    assert await outcome(channel, "embed", bearer(key)) == "OK"
    assert await outcome(channel, "embed", bearer(key)) == "RATE_LIMIT_EXCEEDED"
    assert await next_of(stream) == "RATE_LIMIT_EXCEEDED"


async def test_both_keys_of_a_rotation_work_and_the_new_one_may_what_the_old_one_may(
    service, own_state, channel
):
    old = await make_key(own_state, "rotating", calls=("embed",))
    assert await outcome(channel, "embed", bearer(old)) == "OK"
    new = await made(service, "rotate", "rotating")
    assert new != old
    for key in (old, new):
        results = [await outcome(channel, kind, bearer(key)) for kind in KINDS]
        assert results == ["OK", "PERMISSION_DENIED", "PERMISSION_DENIED"]


NAMES = {
    "an escape sequence": "\x1b[31mred",
    "an escape sequence of one character": "\x9b31m",
    "text that runs backwards": "\u202edeR",
    "a line of Unicode's": "a\u2028b",
    "NUL": "a\x00",
    "nothing": "",
}


async def test_operators_cannot_name_keys_so_that_they_shape_a_log(service, tmp_path):
    path = tmp_path / "keys"
    path.write_text(f"{token.digest('a')} \x1b[31mred\n")
    for ended in await asyncio.gather(
        operate(service, "keys", "create", 'a"}\x1b[31m\n{"event":"forged'),
        operate(service, "serve", EMBEDSVC_AUTH__KEYS=f"file:{path}"),
    ):
        assert (ended.returncode, ended.stdout) == (2, "")
        [line] = ended.stderr.splitlines()
        assert line.isprintable()
        assert line.startswith("embedsvc: ")


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_file_of_keys_has_printable_names(name):
    with pytest.raises(ValueError, match="line"):
        finder.parse(f"{token.digest('a')} {name}\n".encode())


OTHERS = {"OPENAI_API_KEY": "sk-proj-" + "A" * 40, "VAULT_TOKEN": "hvs.x", "AWS_SECRET_ACCESS_KEY": "x"}


async def test_a_key_in_the_environment_stops_the_start_and_others_do_not(service, own_state):
    key = own_state.api_key
    setting, others, good = await asyncio.gather(
        operate(service, "serve", EMBEDSVC_AUTH__KEYS=key),
        operate(service, "serve", OPENAI_API_KEY=key, HTTP_AUTHORIZATION=f"Bearer {key}"),
        operate(service, "keys", "list", "--format", "csv", **OTHERS),
    )
    for ended in (setting, others):
        assert ended.returncode == 2
        [line] = ended.stderr.splitlines()
        assert line.startswith("embedsvc: ")
        assert key[len("emb_") :] not in line
    assert "auth.keys: " in setting.stderr
    for name in ("OPENAI_API_KEY", "HTTP_AUTHORIZATION"):
        assert f"environment variable {name} holds one of this service's API keys" in others.stderr
    assert (good.returncode, good.stderr) == (0, "")


ELSE = "198.51.100.7"
GUESSES, AT_ONCE = 5_000, 50


@pytest.fixture(scope="module")
async def siege(tmp_path_factory):
    """Guesses from an ordinary certificate, a good and a new caller beside them; then the server stops."""
    folder = tmp_path_factory.mktemp("siege")
    state = files.make(folder)
    with run_server(state, folder, encoder="fake") as server:
        found = Siege(server)
        async with server.channel("envoy") as proxy:
            for sent in ((f"{ABROAD}, {ELSE}",), (ABROAD, ELSE), ("forged",)):
                metadata = (*bearer(WRONG), *((FORWARDED, value) for value in sent))
                assert await outcome(proxy, "models", metadata) == "INVALID_API_KEY"
        async with server.channel() as good, server.channel(**dict([OF_ITS_OWN])) as bad:
            calling = asyncio.create_task(found.call_on(good, state.authorization))
            guessing = [asyncio.create_task(found.guess(bad, GUESSES // AT_ONCE)) for _ in range(AT_ONCE)]
            metadata = bearer(await make_key(state, "newcomer"))
            assert await outcome(good, "embed", metadata) == "OK"
            assert not all(task.done() for task in guessing)
            await asyncio.gather(*guessing)
            calling.cancel()
            await asyncio.wait([calling])
    return found


async def test_five_thousand_guesses_get_nothing_and_slow_nobody_out(siege):
    assert len(siege.guessed) == GUESSES
    assert set(siege.guessed) == {"INVALID_API_KEY"}
    assert len(siege.answered) > GUESSES / AT_ONCE / 2, "its turn comes as often as any guesser's, or nearly"
    assert set(siege.answered) == {"OK"}


async def test_guesses_are_counted_and_make_the_store_write_a_few_rows(siege):
    failures = rows(siege.server.state, "failures")
    assert sum(row["count"] for row in failures) == GUESSES + 3
    assert len(failures) <= 4 * (MOST_PREFIXES + 1)  # of two minutes, with two reasons
    assert len(rows(siege.server.state, "batches")) < 200
    assert len({row["key"] for row in rows(siege.server.state, "requests")}) == 2
    assert {row["reason"] for row in failures} == {"unknown_key", "malformed_key"}


async def test_no_guess_is_kept_or_logged(siege):
    state = siege.server.state
    kept = state.read("embedsvc.db") + siege.server.log.read_bytes()
    assert re.findall(rb"emb_[A-Za-z0-9_-]{43}", kept) == []
    assert {len(row["prefix"]) for row in rows(state, "failures")} == {0, len(token.prefix(WRONG))}


async def test_only_a_proxy_says_whence_a_guess_came(siege):
    whence = Counter()
    for row in rows(siege.server.state, "failures"):
        whence[row["address"]] += row["count"]
    assert set(whence) == {"127.0.0.1", ELSE}
    assert whence[ELSE] == 2


async def test_operators_see_who_tried_and_failed(siege):
    ended = await operate(siege.server, "usage", "--failures", "--format", "json")
    assert ended.returncode == 0, ended.stderr
    [row] = [row for row in json.loads(ended.stdout) if row["address"] == ELSE]
    assert (row["key_prefix"], row["reason"], row["count"]) == (token.prefix(WRONG), "unknown_key", 2)
    assert WRONG not in ended.stdout


async def test_a_revoked_key_stops_within_a_minute_in_calls_and_in_open_streams_and_others_go_on(
    revoked, channel
):
    assert await asyncio.wait_for(revoked.stopped, STOPS_WITHIN) < STOPS_WITHIN
    assert [await outcome(channel, kind, bearer(revoked.key)) for kind in KINDS] == ["INVALID_API_KEY"] * 3
    assert await next_of(revoked.streams[revoked.key]) == "INVALID_API_KEY"
    assert [await outcome(channel, kind, bearer(revoked.kept)) for kind in KINDS] == ["OK"] * 3
    assert await next_of(revoked.streams[revoked.kept]) == "OK"


async def test_the_last_use_of_a_key_is_shown(service):
    shown = json.loads(await made(service, "show", "kept"))
    assert abs(shown["used_at"] - time.time()) < STOPS_WITHIN
    assert shown["state"] == "active"
    assert "key" not in shown

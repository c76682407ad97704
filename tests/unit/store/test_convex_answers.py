"""store.convex: what answers in the place of a backend, or as no function of this release does.

A socket here says what it is told to.
"""

import asyncio
import gzip
from contextlib import asynccontextmanager

import orjson
import pytest

from embedsvc.store.convex import client as module
from embedsvc.store.convex.store import PAGE, open_convex
from embedsvc.store.convex.wire import encode
from embedsvc.store.protocols import StoreAwayError
from embedsvc.store.records import KeyRecord, RequestRow, RouteRecord, UnreadRoute, Want

DIGEST = "a" * 64
ROW = RequestRow("r-1", DIGEST, "any", "Embed", "m", 1, 1, 3, 0, 1.5, "OK", 1_764_072_000.0)
WANT = Want("key:x:requests", 10, 100, 60.0)


async def failure_of(call):
    with pytest.raises(StoreAwayError) as caught:
        await call
    return str(caught.value)


@asynccontextmanager
async def socket_that_says(*parts):
    """Serve bytes to whoever connects and asks, part after part; yield the address."""

    async def say(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
        except ConnectionError:
            pass  # the caller has heard enough
        finally:
            writer.close()

    async with await asyncio.start_server(say, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def http(body, *headers, status="200 OK"):
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


NO_BACKEND = {
    "a web page": http(b"<html>please log in</html>", "Content-Type: text/html; charset=nonsense"),
    "nothing": http(b""),
    "no object": http(b'["success"]'),
    "a number": http(b"1"),
    "another object": http(b'{"ok": true}'),
    "another status": http(b'{"status": "teapot", "errorMessage": "no"}'),
    "JSON that is cut off": http(b'{"status": "succ'),
    "no UTF-8": http(b'{"status": "\xff\xfe"}'),
    "a redirect": http(b"", "Location: http://127.0.0.1:1/", status="302 Found"),
    "no such page": http(b"\xff\xfe not here", status="404 Not Found"),
    "fewer bytes than it said": http(b'{"status": "success"}').replace(b"Length: 21", b"Length: 22"),
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
    "an answer to something else": b"HTTP/1.1 204 No Content\r\n\r\n",
    "bad gzip": http(b"not gzip", "Content-Encoding: gzip"),
    "silence": b"",
}


@pytest.mark.parametrize("said", NO_BACKEND.values(), ids=NO_BACKEND)
async def test_what_is_no_backend_is_a_store_that_is_away_so_that_no_row_is_dropped(said):
    async with socket_that_says(said) as url, open_convex(url, lambda: "key") as store:
        assert await failure_of(store.log_requests("1", [ROW]))


GRANT = '{"units": 1, "remaining": 1, "resetsInMs": 1}'
VALUES = {
    "nothing": "null",
    "a number": "1",
    "no list": '{"units": 1}',
    "too few": "[]",
    "too many": f"[{GRANT}, {GRANT}]",
    "other fields": '[{"granted": 1}]',
    "other types": '[{"units": "many", "remaining": 1, "resetsInMs": 1}]',
    "a part of a unit": '[{"units": 1.5, "remaining": 1, "resetsInMs": 1}]',
    "no time": '[{"units": 1, "remaining": 1, "resetsInMs": null}]',
    "no objects": '["a"]',
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
async def test_an_answer_of_functions_of_another_release_is_a_store_that_is_away(value):
    answer = http(f'{{"status": "success", "value": {value}}}'.encode())
    async with socket_that_says(answer) as url, open_convex(url, lambda: "key") as store:
        assert len(await failure_of(store.lease([WANT]))) < 300


async def test_every_answer_is_read_with_care():
    answer = http(b'{"status": "success", "value": {"cursor": null}}')
    async with socket_that_says(answer) as url, open_convex(url, lambda: "key") as store:
        calls = (
            store.find_keys([DIGEST]),
            store.list_keys(),
            store.usage("2000-01-01", "2100-01-01"),
            store.failures(0.0),
            store.purge(0.0, "2000-01-01", 10),
            store.list_routes(),
        )
        for call in calls:
            assert await failure_of(call)


UNREAD = {
    "sticky": ('"sticky": "region"', "sticky: Input should be 'key' or 'index'"),
    "changedAt": ('"changedAt": null', "TypeError("),
}


@pytest.mark.parametrize(("field", "reason"), UNREAD.values(), ids=UNREAD)
async def test_a_route_that_cannot_be_read_hides_no_other(field, reason):
    routes = f'[{{"alias": "a", "model": "m", {field}}}, {{"alias": "b", "model": "m"}}]'
    answer = http(f'{{"status": "success", "value": {routes}}}'.encode())
    async with socket_that_says(answer) as url, open_convex(url, lambda: "key") as store:
        unread, whole = await store.list_routes()
    assert whole == RouteRecord("b", "m")
    assert isinstance(unread, UnreadRoute)
    assert unread.alias == "a"
    assert unread.reason.startswith(f"it cannot be read: {reason}")


@pytest.mark.parametrize("route", ['"a"', '{"model": "m", "sticky": "region"}'])
async def test_what_has_no_alias_is_no_route_but_an_answer_of_another_release(route):
    answer = http(f'{{"status": "success", "value": [{route}]}}'.encode())
    async with socket_that_says(answer) as url, open_convex(url, lambda: "key") as store:
        assert await failure_of(store.list_routes())


ENDLESS = (b" " * 65_536,) * 10_000
HUGE = {
    "of a length": (b"HTTP/1.1 200 OK\r\nContent-Length: 655360000\r\n\r\n", *ENDLESS),
    "without an end": (b"HTTP/1.1 200 OK\r\n\r\n", *ENDLESS),
    "and an error": (b"HTTP/1.1 503 Busy\r\n\r\n", *ENDLESS),
    "small on the wire": (http(gzip.compress(b" " * 2 * module.MOST_BYTES), "Content-Encoding: gzip"),),
}


@pytest.mark.parametrize("parts", HUGE.values(), ids=HUGE)
async def test_an_answer_that_is_huge_is_not_read_to_its_end(parts):
    async with socket_that_says(*parts) as url, open_convex(url, lambda: "key") as store:
        assert f"more than {module.MOST_BYTES} bytes" in await failure_of(store.lease([WANT]))


def test_an_answer_may_be_as_large_as_all_that_is_asked_for_at_once():
    models = tuple(f"a-model-with-quite-a-long-name-{number}" for number in range(20))
    large = KeyRecord("d" * 64, "emb_aaaaaaaa", "n" * 64, owner="o" * 64, models=models)
    assert PAGE * len(orjson.dumps(encode(large))) < module.MOST_BYTES / 4

"""envoy: where no admin page is, or something else in its place. The real one: tests/rpc/test_doctor.py."""

import asyncio
import json
import socket
from contextlib import closing

from patient import only

from embedsvc.doctor.envoy import look


async def test_where_there_is_none_that_is_a_note_with_where_to_look(patient):
    (told,) = await patient.examine_waiting(look)
    assert told.level == "note"
    assert f"no admin page at 127.0.0.1:{patient.settings.edge.admin_port}" in told.seen
    assert "docker compose ps envoy" in told.advice


async def test_another_program_in_its_place_is_an_error(patient):
    body = json.dumps({"detail": "Not Found"}).encode()

    async def say(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(say, "127.0.0.1", patient.settings.edge.admin_port):
        told = only(await patient.examine_waiting(look), "error")
    assert "does not answer as Envoy's admin page" in told.seen


async def test_one_that_hangs_is_an_error(patient):
    with closing(socket.create_server(("127.0.0.1", patient.settings.edge.admin_port))):
        told = only(await patient.examine_waiting(look), "error")
    assert "ReadTimeout" in told.seen

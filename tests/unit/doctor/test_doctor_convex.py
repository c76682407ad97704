"""convex: whether it is reached, takes the admin key, and has the functions."""

import asyncio
import json

import pytest
from patient import levels, only
from support.convex import run_standin
from support.programs import free_port

from embedsvc.doctor.convex import look
from embedsvc.secret.reference import SecretRef


@pytest.fixture(scope="module")
def backend(tmp_path_factory):
    with run_standin(tmp_path_factory.mktemp("convex")) as running:
        yield running


@pytest.fixture
def deployed(patient, backend):
    """A patient whose store is the stand-in for Convex."""
    backend.clear()
    path = patient.path("admin_key")
    path.write_text(backend.admin_key)
    return patient.having("store", kind="convex", url=backend.url, admin_key=SecretRef("file", str(path)))


async def test_a_deployment_that_answers_is_well_and_left_as_it_was(deployed, backend):
    backend.reset()
    found = await deployed.examine_waiting(look)
    assert levels(found[:2]) == {"ok"}
    assert found[0].seen == f"Convex at {backend.url} answers: version stand-in"
    assert found[1].seen == "it takes store.admin_key, and has the functions"
    assert set(backend.calls()) == {"/version", "embeddings:listKeys", "embeddings:failures"}  # queries


async def test_where_nobody_has_a_key_it_is_told(deployed):
    found = await deployed.having("auth", keys=None).examine_waiting(look)
    assert "every caller gets 401" in only(found, "warning").seen


async def test_a_backend_that_does_not_run_is_an_error(deployed):
    url = f"http://127.0.0.1:{free_port()}"
    (told,) = await deployed.having("store", url=url).examine_waiting(look)
    assert told.level == "error"
    assert f"Convex at {url} does not answer: ConnectError" in told.seen
    assert "known keys go on" in told.advice


async def test_one_that_was_killed_is_an_error_until_it_is_back(deployed, backend):
    backend.kill()
    assert "does not answer" in only(await deployed.examine_waiting(look), "error").seen
    backend.start()
    assert "error" not in levels(await deployed.examine_waiting(look))


@pytest.mark.parametrize(
    ("fault", "said"), [({"kind": "status", "status": 503}, "503"), ({"kind": "hang"}, "")]
)
async def test_one_that_is_overloaded_or_hangs_is_an_error(deployed, backend, fault, said):
    backend.fault(**fault)
    told = only(await deployed.examine_waiting(look), "error")
    assert "does not answer" in told.seen
    assert said in told.seen
    backend.clear()


async def test_the_key_of_another_deployment_is_told_and_not_shown(deployed):
    deployed.path("admin_key").write_text("other|0123456789")
    told = only(await deployed.examine_waiting(look), "error")
    assert "401" in told.seen
    assert "Put this deployment's own admin key" in told.advice
    assert "0123456789" not in repr(told)


async def test_a_key_that_cannot_be_read_is_told_among_the_secrets_alone(deployed):
    deployed.path("admin_key").unlink()
    found = await deployed.examine_waiting(look)
    assert levels(found) == {"ok", "note"}
    assert "store.admin_key among the secrets" in only(found, "note").seen


async def test_another_program_on_its_port_is_told(deployed, backend):
    deployed = deployed.having("store", url=f"http://127.0.0.1:{backend.control_port}")
    assert "does not answer" in only(await deployed.examine_waiting(look), "error").seen


async def test_functions_that_are_not_deployed_are_told_with_what_deploys_them(deployed):
    missing = {"status": "error", "errorMessage": "Could not find public function for 'embeddings:listKeys'."}
    body = json.dumps(missing).encode()  # as of a page, too: any answer to /version will do
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"

    async def say(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(say, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        told = only(await deployed.having("store", url=url).examine_waiting(look), "error")
    assert "has no function embeddings:listKeys" in told.seen
    assert "npx convex deploy" in told.advice

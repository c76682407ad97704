"""providers: whether each is reached, takes its key, and has the models."""

import asyncio

import pytest
from patient import Patient, levels, only
from support.openai_server import run_openai
from support.programs import free_port

from embedsvc.config import ProviderSettings
from embedsvc.doctor.providers import look

KEY = "sk-of-this-service"


@pytest.fixture
def openai():
    with run_openai(keys=[KEY]) as running:
        yield running


@pytest.fixture
def having(patient, openai):
    """Makes a patient with a provider."""
    path = patient.path("openai_key")
    path.write_text(f"{KEY}\n")

    def make(**values: object) -> Patient:
        own = {
            "url": openai.url,
            "key": f"file:{path}",
            "models": {"text-embedding-3-small": {"dimensions": 8}},
        }
        provider = ProviderSettings(**{**own, **values})
        settings = patient.settings.model_copy(update={"providers": {"openai": provider}})
        return Patient(patient.state, settings)

    return make


async def test_one_that_has_the_models_and_takes_the_key_is_well(having, openai):
    (told,) = await having().examine_waiting(look)
    assert told.level == "ok"
    assert told.seen == f"openai at {openai.url} answers, and has text-embedding-3-small"


async def test_it_is_asked_for_its_models_and_gets_no_text(having, openai):
    await having().examine_waiting(look)
    assert [(request.method, request.path, request.body) for request in openai.requests] == [
        ("GET", "/v1/models", {})
    ]


async def test_without_providers_nothing_is_told(patient):
    assert await patient.examine_waiting(look) == []


async def test_a_key_that_it_does_not_take_is_told_and_not_shown(having, openai):
    openai.keys = ["sk-another"]
    (told,) = await having().examine_waiting(look)
    assert told.level == "error"
    assert "does not take its key: 401" in told.seen
    assert "docs/providers.md" in told.advice
    assert KEY not in repr(told)


async def test_a_key_that_cannot_be_read_is_told_and_nothing_is_asked(having, openai):
    (told,) = await having(key="file:/nowhere/key").examine_waiting(look)
    assert told.level == "error"
    assert "was not asked: providers.openai.key" in told.seen
    assert openai.requests == []


async def test_a_server_that_needs_no_key_gets_none(having, openai):
    openai.keys = []
    (told,) = await having(key=None).examine_waiting(look)
    assert told.level == "ok"
    assert openai.requests[0].key == ""


async def test_one_that_does_not_run_is_an_error(having):
    url = f"http://127.0.0.1:{free_port()}/v1"
    (told,) = await having(url=url).examine_waiting(look)
    assert told.level == "error"
    assert f"openai at {url} does not answer: ConnectError" in told.seen
    assert "503" in told.advice


async def test_a_model_that_it_does_not_list_is_a_warning(having):
    models = {name: {"dimensions": 8} for name in ("text-embedding-3-small", "text-embedding-9")}
    (told,) = await having(models=models).examine_waiting(look)
    assert told.level == "warning"
    assert told.seen.endswith("does not list text-embedding-9")


@pytest.mark.parametrize(
    ("status", "level", "said"),
    [
        (404, "note", "has no list of models"),
        (405, "note", "has no list of models"),
        (429, "warning", "answers 429"),
        (503, "warning", "answers 503"),
        (302, "error", "answers 302"),
        (400, "error", "answers 400"),
    ],
)
async def test_what_else_it_answers_is_told_by_what_it_means(having, openai, status, level, said):
    openai.models_status = status
    (told,) = await having().examine_waiting(look)
    assert told.level == level
    assert said in told.seen


async def test_another_program_in_its_place_is_told(having):
    async def say(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\nwelcome")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(say, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        (told,) = await having(url=url).examine_waiting(look)
    assert told.level == "error"
    assert "something else than a list of models" in told.seen


async def test_texts_in_clear_are_a_warning(having):
    found = await having(url=f"http://0.0.0.0:{free_port()}/v1").examine_waiting(look)
    assert levels(found) == {"warning", "error"}
    assert "travel in clear" in only(found, "warning").seen


async def test_who_signed_its_certificate_must_be_trusted(having, patient):
    pair = (patient.path("edge.crt"), patient.path("edge.key"))
    with run_openai(keys=[KEY], pair=pair) as openai:
        (told,) = await having(url=openai.url).examine_waiting(look)
        assert told.level == "error"
        assert "CERTIFICATE_VERIFY_FAILED" in told.seen
        (told,) = await having(url=openai.url, ca=patient.path("ca.crt")).examine_waiting(look)
        assert told.level == "ok"


async def test_a_ca_that_is_not_there_is_told(having, tmp_path):
    (told,) = await having(ca=tmp_path / "none.crt").examine_waiting(look)
    assert told.level == "error"
    assert "was not asked: providers.openai.ca" in told.seen

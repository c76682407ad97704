"""operator.client: what a command shows a server and gets from it, and what it says when it gets nothing."""

import argparse
import random

import numpy as np
import pytest
from embedding_server import serving

from embedsvc.config import Settings
from embedsvc.errors import ConfigurationError, ModelNotFoundError, OverloadedError, RateLimitedError
from embedsvc.operator.client import BYTES, TEXTS, add_connection_arguments, batches, dial
from embedsvc.types import InputType
from embedsvc.v1 import embedding_pb2 as pb


@pytest.fixture
async def served(state):
    async with serving(state) as running:
        yield running


@pytest.fixture
def arguments(state, tmp_path):
    """What is given on the command line, with whatever else."""

    def make(server, **more):
        key = tmp_path / "key"
        key.write_text(f"{state.api_key}\n")
        flags = {
            "server": server,
            "ca": state.path("ca.crt"),
            "certificate": state.path("client.crt"),
            "key-file": state.path("client.key"),
            "api-key-file": key,
            **more,
        }
        parser = argparse.ArgumentParser()
        add_connection_arguments(parser)
        return parser.parse_args([f"--{flag}={value}" for flag, value in flags.items()])

    return make


@pytest.fixture
async def client(served, arguments):
    async with dial(Settings(), arguments(served.address)) as opened:
        yield opened


async def test_texts_come_back_as_vectors_in_their_order_some_at_a_time(client, served):
    texts = [f"{'x' * (at % 7)}{at}" for at in range(2 * TEXTS + 3)]
    answers = await client.embed("model-a", texts, InputType.QUERY)
    vectors = np.concatenate([answer.vectors for answer in answers])
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [[len(text), ord(text[0])] for text in texts]
    assert sum(answer.tokens for answer in answers) == sum(map(len, texts))
    assert [len(request.inputs) for request in served.requests] == [TEXTS, TEXTS, 3]
    assert {(request.model, request.input_type) for request in served.requests} == {
        ("model-a", pb.INPUT_TYPE_QUERY)
    }
    assert all(0 < answer.seconds < 30 for answer in answers)


async def test_the_key_of_the_file_is_shown(client, served, state):
    await client.embed("", ["text"])
    assert served.metadata["authorization"] == f"Bearer {state.api_key}"


async def test_what_must_be_computed_asks_no_cache_and_the_bad_texts_alone_are_refused(client, served):
    served.bad = "bad"
    answer = await client.compute("model-a", ["good", "bad", "b"], InputType.DOCUMENT)
    assert served.metadata["cache-control"] == "no-store"
    assert (answer.model, answer.refused) == ("model-a", {1: "this one cannot be"})
    assert answer.vectors.tolist() == [[4, ord("g")], [1, ord("b")]]
    await client.embed("model-a", ["good"])
    assert "cache-control" not in served.metadata


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ModelNotFoundError("there is no such model"), "MODEL_NOT_FOUND: there is no such model"),
        (RateLimitedError("too many requests", retry_after=3), "RATE_LIMIT_EXCEEDED: too many requests"),
    ],
)
async def test_what_a_server_refuses_is_told_with_its_reason(client, served, error, reason):
    served.failures.append(error)
    with pytest.raises(ConfigurationError) as told:
        await client.embed("", ["text"])
    assert str(told.value) == f"{served.address}: {reason}"


async def test_a_server_that_is_busy_for_a_moment_is_asked_again(client, served):
    served.failures += [OverloadedError("the queue is full", retry_after=1)] * 2
    (answer,) = await client.embed("model-a", ["text"])
    assert answer.vectors.tolist() == [[4, ord("t")]]
    assert served.texts == ["text"] * 3


async def test_a_server_that_is_not_there_is_told(arguments):
    async with dial(Settings(), arguments("127.0.0.1:1")) as client:
        with pytest.raises(ConfigurationError, match=r"^127\.0\.0\.1:1: UNAVAILABLE: "):
            await client.embed("", ["text"])


async def test_a_certificate_of_another_ca_is_told(served, arguments, state):
    strange = {"certificate": state.path("stranger.crt"), "key-file": state.path("stranger.key")}
    async with dial(Settings(), arguments(served.address, **strange)) as client:
        with pytest.raises(ConfigurationError, match="UNAVAILABLE"):
            await client.embed("", ["text"])


@pytest.mark.parametrize("flag", ["ca", "certificate", "key-file", "api-key-file"])
async def test_a_file_that_is_not_there_is_named(arguments, flag, tmp_path):
    missing = tmp_path / "missing"
    with pytest.raises(ConfigurationError, match=f"^{missing}: No such file"):
        async with dial(Settings(), arguments("127.0.0.1:1", **{flag: missing})):
            pass


async def test_without_an_address_it_is_the_server_of_this_machine(arguments, served):
    host, port = served.address.split(":")
    settings = Settings(server={"host": "0.0.0.0", "port": int(port)})
    options = arguments("")
    options.server = None
    assert host == "127.0.0.1"
    async with dial(settings, options) as client:
        assert len(await client.embed("", ["text"])) == 1


def test_no_batch_is_larger_than_a_server_takes_and_none_of_the_texts_is_lost():
    chance = random.Random(6)
    texts = [chance.choice("aé東🦊") * chance.randint(1, 8192) for _ in range(500)]
    texts.append("🦊" * 300_000)
    cut = list(batches(iter(texts)))
    assert [text for batch in cut for text in batch] == texts
    assert all(len(batch) <= TEXTS for batch in cut)
    assert all(len(batch) == 1 or len("".join(batch).encode()) <= BYTES for batch in cut)


def test_of_no_text_there_is_no_batch():
    assert list(batches([])) == []

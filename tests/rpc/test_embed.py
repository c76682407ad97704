"""EmbeddingService.Embed over mTLS, with the real model."""

import numpy as np
import pytest

from embedsvc.v1 import embedding_pb2 as pb
from embedsvc.v1.embedding_pb2_grpc import EmbeddingServiceStub

TEXTS = ["Hello, world", "The quick brown fox jumps over the lazy dog.", "Füße, 東京 and 🦊", "x " * 700]
MODEL = "all-MiniLM-L6-v2"


@pytest.fixture
def stub(channel):
    return EmbeddingServiceStub(channel)


@pytest.fixture
def embed(stub, state):
    async def call(*texts, **fields):
        inputs = [pb.Input(text=text) for text in texts]
        return await stub.Embed(pb.EmbedRequest(inputs=inputs, **fields), metadata=state.authorization)

    return call


def vectors_of(response):
    return np.array([item.values for item in response.embeddings], dtype=np.float32)


async def test_vectors_are_those_of_sentence_transformers(embed, reference):
    response = await embed(*TEXTS)
    assert (vectors_of(response) * reference.encode(TEXTS)).sum(axis=1) == pytest.approx(1, abs=1e-4)


async def test_the_answer_describes_itself(embed):
    response = await embed(*TEXTS)
    assert [item.index for item in response.embeddings] == [0, 1, 2, 3]
    assert [item.truncated for item in response.embeddings] == [False, False, False, True]
    assert response.embeddings[3].tokens == 256
    assert response.usage.total_tokens == sum(item.tokens for item in response.embeddings)
    assert (response.model, response.dimensions) == (MODEL, 384)
    assert response.output_type == pb.OUTPUT_TYPE_FLOAT32
    assert response.timings.inference.ToNanoseconds() > 0


async def test_token_ids_are_the_text_that_they_stand_for(stub, state, embed, reference):
    ids = reference.tokenizer("Hello, world")["input_ids"]
    inputs = [pb.Input(token_ids=pb.TokenIds(ids=part)) for part in (ids, ids[1:-1])]
    response = await stub.Embed(pb.EmbedRequest(inputs=inputs), metadata=state.authorization)
    with_specials, without = vectors_of(response)
    (text,) = vectors_of(await embed("Hello, world"))
    assert with_specials @ text == pytest.approx(1, abs=1e-5)
    assert without @ text == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", ["", MODEL, f"sentence-transformers/{MODEL}", "text-embedding-3-large"])
async def test_a_model_answers_to_every_name_it_has_and_says_its_own(embed, name):
    assert (await embed("x", model=name)).model == MODEL


@pytest.mark.parametrize(
    ("output_type", "size", "read"),
    [
        (pb.OUTPUT_TYPE_FLOAT16, 768, lambda item: np.frombuffer(item.packed, "<f2")),
        (pb.OUTPUT_TYPE_INT8, 384, lambda item: np.frombuffer(item.packed, "i1") * item.scale),
        (pb.OUTPUT_TYPE_UINT8, 384, lambda item: (np.frombuffer(item.packed, "u1") - 128.0) * item.scale),
        (
            pb.OUTPUT_TYPE_BINARY,
            48,
            lambda item: np.unpackbits(np.frombuffer(item.packed, "u1")) * 2.0 - 1,
        ),
    ],
)
async def test_smaller_number_formats_stay_close_to_float32(embed, output_type, size, read):
    (exact,) = vectors_of(await embed("Hello, world"))
    (item,) = (await embed("Hello, world", output_type=output_type)).embeddings
    assert len(item.packed) == size
    assert not item.values
    vector = read(item).astype(np.float32)
    expected = np.sign(exact) if output_type == pb.OUTPUT_TYPE_BINARY else exact
    assert vector @ expected / np.linalg.norm(vector) / np.linalg.norm(expected) > 0.9999


async def test_a_bad_input_leaves_the_others_their_vectors_where_that_is_wanted(embed):
    response = await embed("good", "", "x" * 8193, "good", allow_partial=True)
    first, empty, long, last = response.embeddings
    assert np.dot(first.values, last.values) == pytest.approx(1, abs=1e-5)
    assert "inputs[1] must not be an empty string" in empty.error.message
    assert "inputs[2] must be 8192 characters at most; got 8193" in long.error.message
    assert not empty.values
    assert response.usage.total_tokens == first.tokens + last.tokens


async def test_vectors_are_of_length_one_unless_that_is_not_wanted(embed):
    (unit,) = vectors_of(await embed("Hello, world"))
    (raw,) = vectors_of(await embed("Hello, world", normalize=False))
    assert np.linalg.norm(unit) == pytest.approx(1, abs=1e-5)
    assert np.linalg.norm(raw) > 1.5
    assert raw / np.linalg.norm(raw) == pytest.approx(unit, abs=1e-6)


async def test_what_is_dropped_of_a_long_text_is_as_asked(embed, reference):
    text = " ".join(str(number) for number in range(1000))
    ids = reference.tokenizer(text, truncation=False, verbose=False)["input_ids"][1:-1]
    head, tail = vectors_of(
        await embed(reference.tokenizer.decode(ids[:254]), reference.tokenizer.decode(ids[-254:]))
    )
    (end,) = vectors_of(await embed(text, truncation=pb.TRUNCATION_END))
    (start,) = vectors_of(await embed(text, truncation=pb.TRUNCATION_START))
    assert end @ head == pytest.approx(1, abs=1e-4)
    assert start @ tail == pytest.approx(1, abs=1e-4)


async def test_a_request_may_hold_2048_inputs(fake_channel, state):
    stub = EmbeddingServiceStub(fake_channel)
    inputs = [pb.Input(text=f"text {number}") for number in range(2048)]
    response = await stub.Embed(pb.EmbedRequest(inputs=inputs), metadata=state.authorization)
    assert [item.index for item in response.embeddings] == list(range(2048))
    (alone,) = (
        await stub.Embed(pb.EmbedRequest(inputs=inputs[-1:]), metadata=state.authorization)
    ).embeddings
    assert list(response.embeddings[-1].values) == list(alone.values)

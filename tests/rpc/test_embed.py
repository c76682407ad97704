"""EmbeddingService.Embed over mTLS, with the real model."""

from uuid import uuid4

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from sentence_transformers.util.quantization import quantize_embeddings

from embedsvc import calibration as calibration_file
from embedsvc.v1 import embedding_pb2 as pb
from embedsvc.v1.embedding_pb2_grpc import EmbeddingServiceStub
from embedsvc.v1.model_pb2 import GetModelRequest
from embedsvc.v1.model_pb2_grpc import ModelServiceStub

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
    new = uuid4().hex  # whatever was asked before, this is computed
    response = await embed(*TEXTS, new)
    assert [item.index for item in response.embeddings] == [0, 1, 2, 3, 4]
    assert [item.truncated for item in response.embeddings] == [False, False, False, True, False]
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


@pytest.fixture
async def calibration(channel, state):
    """How the server says that bytes are to be read."""
    request = GetModelRequest(name=MODEL)
    return (await ModelServiceStub(channel).GetModel(request, metadata=state.authorization)).model.calibration


def as_bytes(kind, half):
    """Reads bytes by a calibration."""

    def read(packed, calibration):
        places = np.frombuffer(packed, kind).astype(np.float32) + half
        return np.array(calibration.starts) + places * np.array(calibration.steps)

    return read


def as_bits(packed, _calibration):
    return np.unpackbits(np.frombuffer(packed, "u1")) * 2.0 - 1


@pytest.mark.parametrize(
    ("output_type", "size", "read"),
    [
        (pb.OUTPUT_TYPE_FLOAT16, 768, lambda packed, _: np.frombuffer(packed, "<f2")),
        (pb.OUTPUT_TYPE_INT8, 384, as_bytes("i1", 128.5)),
        (pb.OUTPUT_TYPE_UINT8, 384, as_bytes("u1", 0.5)),
        (pb.OUTPUT_TYPE_UBINARY, 48, as_bits),
        (pb.OUTPUT_TYPE_BINARY, 48, lambda packed, _: as_bits(bytes(byte ^ 128 for byte in packed), _)),
    ],
)
async def test_smaller_number_formats_stay_close_to_float32(embed, calibration, output_type, size, read):
    (exact,) = vectors_of(await embed("Hello, world"))
    response = await embed("Hello, world", output_type=output_type)
    (item,) = response.embeddings
    assert (len(item.packed), len(item.values), response.dimensions) == (size, 0, 384)
    assert response.output_type == output_type
    vector = read(item.packed, calibration).astype(np.float32)
    expected = np.sign(exact) if size == 48 else exact
    assert vector @ expected / np.linalg.norm(vector) / np.linalg.norm(expected) > 0.9998


@pytest.mark.parametrize("precision", ["int8", "uint8", "binary", "ubinary"])
async def test_bytes_are_those_of_sentence_transformers_with_the_shipped_ranges(embed, precision):
    ranges = calibration_file.read(calibration_file.DATA / "calibrations" / f"{MODEL}.json").ranges
    exact = vectors_of(await embed(*TEXTS))
    answer = await embed(*TEXTS, output_type=pb.OutputType.Value(f"OUTPUT_TYPE_{precision.upper()}"))
    expected = quantize_embeddings(exact, precision, ranges=ranges)
    assert [item.packed for item in answer.embeddings] == [row.tobytes() for row in expected]


async def test_bytes_of_vectors_that_are_not_normalized_are_refused(embed):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await embed("a", output_type=pb.OUTPUT_TYPE_INT8, normalize=False)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "output_type must not be int8 for vectors that are not normalized" in caught.value.details()


async def test_bytes_of_a_model_without_a_calibration_are_refused_by_name(fake_channel, state):
    request = pb.EmbedRequest(inputs=[pb.Input(text="a")], output_type=pb.OUTPUT_TYPE_UINT8)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await EmbeddingServiceStub(fake_channel).Embed(request, metadata=state.authorization)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert (
        "which has no calibration; the operator can make one with `embedsvc calibrate"
        in caught.value.details()
    )
    (named,) = rpc_status.from_call(caught.value).details[1:]
    bad = error_details_pb2.BadRequest.FromString(named.value)
    assert [violation.field for violation in bad.field_violations] == ["output_type"]


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

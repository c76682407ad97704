"""codec: bytes framed by hand are the message that protobuf would build."""

import numpy as np
import pytest

from embedsvc import codec
from embedsvc.calibration import calibration_of
from embedsvc.errors import InvalidRequestError, OverloadedError
from embedsvc.quantize import quantizer
from embedsvc.status import to_status
from embedsvc.types import Embeddings, EmbedRequest, InputType, OutputType, Timings, Truncation
from embedsvc.v1 import embedding_pb2 as pb

NUMBERS = {
    OutputType.FLOAT32: pb.OUTPUT_TYPE_FLOAT32,
    OutputType.FLOAT16: pb.OUTPUT_TYPE_FLOAT16,
    OutputType.INT8: pb.OUTPUT_TYPE_INT8,
    OutputType.UINT8: pb.OUTPUT_TYPE_UINT8,
    OutputType.BINARY: pb.OUTPUT_TYPE_BINARY,
    OutputType.UBINARY: pb.OUTPUT_TYPE_UBINARY,
}


def embeddings(rows=3, dimensions=384, **fields):
    random = np.random.default_rng(rows * dimensions)
    chosen = {
        "model": "all-MiniLM-L6-v2",
        "vectors": random.standard_normal((rows, dimensions), dtype=np.float32),
        "tokens": [at * 100 for at in range(rows)],
        "truncated": [at % 2 == 1 for at in range(rows)],
        "timings": Timings(0.25, 1.5, 61.125),
        "calibration": calibration_of("all-MiniLM-L6-v2", "r", np.float32([[-2] * 4096, [2] * 4096])),
        **fields,
    }
    return Embeddings(**chosen)


def built(answer, output_type):
    """The same answer, made by protobuf itself."""
    message = pb.EmbedResponse(
        model=answer.model,
        fallback_from=answer.fallback_from,
        dimensions=answer.vectors.shape[1],
        output_type=NUMBERS[output_type],
        usage=pb.Usage(total_tokens=sum(answer.tokens)),
    )
    message.timings.tokenize.FromNanoseconds(int(answer.timings.tokenize * 1e9))
    message.timings.queue.FromNanoseconds(int(answer.timings.queue * 1e9))
    message.timings.inference.FromNanoseconds(int(answer.timings.inference * 1e9))
    for index, row in enumerate(quantizer(answer, output_type)(answer.vectors)):
        if index in answer.errors:
            message.embeddings.add(index=index, error=to_status(answer.errors[index]))
            continue
        item = message.embeddings.add(index=index)
        item.tokens, item.truncated = answer.tokens[index], answer.truncated[index]
        item.cached, item.flagged = index in answer.cached, index in answer.flagged
        if output_type is OutputType.FLOAT32:
            item.values.extend(row.tolist())
        else:
            item.packed = row.tobytes()
    return message


@pytest.mark.parametrize("output_type", OutputType)
@pytest.mark.parametrize("dimensions", [8, 32, 384, 1024, 4096])  # lengths of one, two and three varint bytes
def test_an_answer_is_what_protobuf_would_build(output_type, dimensions):
    answer = embeddings(dimensions=dimensions)
    parsed = pb.EmbedResponse.FromString(codec.encode_response(answer, output_type))
    assert parsed == built(answer, output_type)


@pytest.mark.parametrize("output_type", OutputType)
def test_an_answer_has_as_many_bytes_as_protobuf_s_own(output_type):
    answer = embeddings()
    assert len(codec.encode_response(answer, output_type)) == built(answer, output_type).ByteSize()


@pytest.mark.parametrize("output_type", OutputType)
def test_failed_inputs_have_their_error_and_no_vector(output_type):
    errors = {0: InvalidRequestError("inputs[0] is bad", param="inputs[0]"), 2: OverloadedError("full")}
    answer = embeddings(4, tokens=[0, 5, 0, 300], errors=errors)
    parsed = pb.EmbedResponse.FromString(codec.encode_response(answer, output_type))
    assert parsed == built(answer, output_type)
    assert [item.HasField("error") for item in parsed.embeddings] == [True, False, True, False]
    assert [len(item.values) + len(item.packed) > 0 for item in parsed.embeddings] == [
        False,
        True,
        False,
        True,
    ]


@pytest.mark.parametrize("output_type", [OutputType.FLOAT32, OutputType.UBINARY])
def test_inputs_from_a_cache_and_those_that_are_flagged_are_marked(output_type):
    answer = embeddings(4, cached=frozenset({0, 2}), flagged=frozenset({2, 3}))
    parsed = pb.EmbedResponse.FromString(codec.encode_response(answer, output_type))
    assert parsed == built(answer, output_type)
    assert [item.cached for item in parsed.embeddings] == [True, False, True, False]
    assert [item.flagged for item in parsed.embeddings] == [False, False, True, True]


def test_the_model_that_could_not_answer_is_named():
    answer = embeddings(fallback_from="all-mpnet-base-v2")
    parsed = pb.EmbedResponse.FromString(codec.encode_response(answer, OutputType.FLOAT32))
    assert (parsed.model, parsed.fallback_from) == ("all-MiniLM-L6-v2", "all-mpnet-base-v2")
    assert parsed == built(answer, OutputType.FLOAT32)


def test_an_answer_of_errors_only_is_still_an_answer():
    answer = embeddings(1, tokens=[0], truncated=[False], errors={0: InvalidRequestError("bad")})
    parsed = pb.EmbedResponse.FromString(codec.encode_response(answer, OutputType.FLOAT32))
    assert parsed == built(answer, OutputType.FLOAT32)


def test_indexes_tokens_and_usage_may_be_large():
    answer = embeddings(2048, 8, tokens=[2**21 + at for at in range(2048)])
    parsed = pb.EmbedResponse.FromString(codec.encode_response(answer, OutputType.INT8))
    assert parsed == built(answer, OutputType.INT8)
    assert parsed.usage.total_tokens > 2**32


def test_special_numbers_survive():
    vectors = np.array([[0.0, -0.0, np.inf, -np.inf, 1e-45, 3.4e38, -1.0, 1.0]], dtype=np.float32)
    answer = embeddings(1, vectors=vectors, tokens=[1], truncated=[False])
    parsed = pb.EmbedResponse.FromString(codec.encode_response(answer, OutputType.FLOAT32))
    assert np.array(parsed.embeddings[0].values, dtype=np.float32).tobytes() == vectors.tobytes()


def test_columns_that_were_cut_off_do_not_travel():
    answer = embeddings(vectors=embeddings().vectors[:, :24])
    parsed = pb.EmbedResponse.FromString(codec.encode_response(answer, OutputType.FLOAT32))
    assert parsed == built(answer, OutputType.FLOAT32)


def test_binary_of_other_dimensions_is_refused():
    with pytest.raises(InvalidRequestError, match="multiple of 8"):
        codec.encode_response(embeddings(dimensions=12), OutputType.BINARY)


def test_bytes_of_a_model_without_a_calibration_are_refused():
    with pytest.raises(InvalidRequestError, match="embedsvc calibrate all-MiniLM-L6-v2"):
        codec.encode_response(embeddings(calibration=None), OutputType.INT8)


@pytest.mark.parametrize("dimensions", [8, 384, 8192])
def test_a_stream_answer_is_what_protobuf_would_build(dimensions):
    response = codec.encode_response(embeddings(dimensions=dimensions), OutputType.FLOAT32)
    framed = codec.encode_stream_response("batch-é-7", response)
    expected = pb.EmbedStreamResponse(id="batch-é-7", response=pb.EmbedResponse.FromString(response))
    assert pb.EmbedStreamResponse.FromString(framed) == expected


def test_a_stream_answer_may_be_empty():
    parsed = pb.EmbedStreamResponse.FromString(codec.encode_stream_response("a", b""))
    assert parsed == pb.EmbedStreamResponse(id="a", response=pb.EmbedResponse())
    assert parsed.WhichOneof("result") == "response"


def test_a_stream_error_is_its_status():
    error = OverloadedError("full")
    parsed = pb.EmbedStreamResponse.FromString(codec.encode_stream_error("a", error))
    assert parsed == pb.EmbedStreamResponse(id="a", error=to_status(error))


def test_an_empty_request_means_every_default():
    assert codec.decode_request(pb.EmbedRequest()) == EmbedRequest(inputs=[])
    assert codec.decode_request(pb.EmbedRequest()).output_type is OutputType.FLOAT32


def test_every_field_of_a_request_is_read():
    message = pb.EmbedRequest(
        model="gte-large",
        inputs=[pb.Input(text="a"), pb.Input(token_ids=pb.TokenIds(ids=[1, 2**32 - 1])), pb.Input(text="")],
        input_type=pb.INPUT_TYPE_QUERY,
        truncation=pb.TRUNCATION_START,
        dimensions=64,
        normalize=False,
        output_type=pb.OUTPUT_TYPE_INT8,
        allow_partial=True,
    )
    request = codec.decode_request(message)
    assert [item if isinstance(item, str) else list(item) for item in request.inputs] == [
        "a",
        [1, 2**32 - 1],
        "",
    ]
    assert (request.model, request.dimensions, request.normalize) == ("gte-large", 64, False)
    assert (request.input_type, request.truncation) == (InputType.QUERY, Truncation.START)
    assert (request.allow_partial, request.field, request.single) == (True, "inputs", False)
    assert request.output_type is OutputType.INT8


@pytest.mark.parametrize(
    ("field", "prefix", "read"),
    [
        ("input_type", "INPUT_TYPE_", lambda request: request.input_type),
        ("truncation", "TRUNCATION_", lambda request: request.truncation),
        ("output_type", "OUTPUT_TYPE_", lambda request: request.output_type),
    ],
)
def test_every_value_of_every_enum_has_its_meaning(field, prefix, read):
    values = pb.EmbedRequest.DESCRIPTOR.fields_by_name[field].enum_type.values
    for value in values[1:]:
        message = pb.EmbedRequest(**{field: value.number})
        assert read(codec.decode_request(message)) == value.name.removeprefix(prefix).lower()
    with pytest.raises(InvalidRequestError, match=f"{field} has no value {len(values)}") as caught:
        codec.decode_request(pb.EmbedRequest(**{field: len(values)}))
    assert caught.value.param == field


def test_an_input_that_is_not_set_is_named():
    with pytest.raises(InvalidRequestError, match=r"inputs\[1\] must have text or token_ids") as caught:
        codec.decode_request(pb.EmbedRequest(inputs=[pb.Input(text="a"), pb.Input()]))
    assert caught.value.param == "inputs[1]"

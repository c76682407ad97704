"""responses: OpenAI's JSON, exact to the byte where clients look."""

import base64
import json

import numpy as np
import pytest
from openai.types import CreateEmbeddingResponse, Model

from embedsvc.calibration import calibration_of
from embedsvc.errors import InvalidRequestError
from embedsvc.quantize import quantizer
from embedsvc.types import Embeddings, OutputType
from rest_shim import responses
from rest_shim.requests import EncodingFormat


def embeddings(rows, dimensions=4):
    vectors = np.random.default_rng(rows).standard_normal((rows, dimensions), dtype=np.float32)
    calibration = calibration_of("m", "r", np.float32([[-3] * dimensions, [3] * dimensions]))
    return Embeddings("m", vectors, tokens=[3] * rows, truncated=[False] * rows, calibration=calibration)


def body(answer, form, output_type=OutputType.FLOAT32):
    return b"".join(responses.encode_embeddings(answer, form, output_type))


def test_an_answer_is_exact_to_the_byte():
    vectors = np.array([[0.5, -1.0], [0.0, 0.25]], dtype=np.float32)
    answer = Embeddings("m", vectors, tokens=[2, 3], truncated=[False, True])
    assert body(answer, EncodingFormat.FLOAT) == (
        b'{"object":"list","data":['
        b'{"object":"embedding","index":0,"embedding":[0.5,-1.0]},'
        b'{"object":"embedding","index":1,"embedding":[0.0,0.25]}'
        b'],"model":"m","usage":{"prompt_tokens":5,"total_tokens":5}}'
    )
    assert body(answer, EncodingFormat.BASE64) == (
        b'{"object":"list","data":['
        b'{"object":"embedding","index":0,"embedding":"AAAAPwAAgL8="},'
        b'{"object":"embedding","index":1,"embedding":"AAAAAAAAgD4="}'
        b'],"model":"m","usage":{"prompt_tokens":5,"total_tokens":5}}'
    )


@pytest.mark.parametrize("rows", [1, 63, 64, 65, 128, 2048])
@pytest.mark.parametrize("form", EncodingFormat)
def test_the_chunks_of_any_answer_are_one_json_object(rows, form):
    answer = embeddings(rows)
    chunks = list(responses.encode_embeddings(answer, form))
    assert len(chunks) == -(-rows // responses.CHUNK) + 1
    parsed = json.loads(b"".join(chunks))
    assert [item["index"] for item in parsed["data"]] == list(range(rows))
    assert {item["object"] for item in parsed["data"]} == {"embedding"}
    assert parsed["usage"] == {"prompt_tokens": 3 * rows, "total_tokens": 3 * rows}


def test_arrays_and_base64_carry_the_same_float32_to_the_last_bit():
    answer = embeddings(70, 384)
    arrays = json.loads(body(answer, EncodingFormat.FLOAT))["data"]
    packed = json.loads(body(answer, EncodingFormat.BASE64))["data"]
    for row, array, text in zip(answer.vectors, arrays, packed, strict=True):
        assert np.array(array["embedding"], dtype=np.float32).tobytes() == row.tobytes()
        assert base64.b64decode(text["embedding"], validate=True) == row.astype("<f4").tobytes()


@pytest.mark.parametrize(
    ("output_type", "numbers", "packed"),
    [
        ("float32", b"[0.5,-1.0,-0.1,5.0,-9.0,0.0,0.25,1.0]", "AAAAPwAAgL/NzMy9AACgQAAAEMEAAAAAAACAPgAAgD8="),
        ("float16", b"[0.5,-1.0,-0.099975586,5.0,-9.0,0.0,0.25,1.0]", "ADgAvGauAEWAyAAAADQAPA=="),
        ("uint8", b"[143,95,124,255,0,127,135,159]", "j198/wB/h58="),
        ("int8", b"[15,-33,-4,127,-128,-1,7,31]", "D9/8f4D/Bx8="),
        ("ubinary", b"[147]", "kw=="),
        ("binary", b"[19]", "Ew=="),
    ],
)
def test_each_output_type_is_exact_to_the_byte(output_type, numbers, packed):
    vectors = np.float32([[0.5, -1.0, -0.1, 5.0, -9.0, 0.0, 0.25, 1.0]])
    calibration = calibration_of("m", "r", np.float32([[-4] * 8, [4] * 8]))
    answer = Embeddings("m", vectors, tokens=[2], truncated=[False], calibration=calibration)
    for form, written in ((EncodingFormat.FLOAT, numbers), (EncodingFormat.BASE64, f'"{packed}"'.encode())):
        assert body(answer, form, OutputType(output_type)) == (
            b'{"object":"list","data":[{"object":"embedding","index":0,"embedding":' + written + b"}],"
            b'"model":"m","usage":{"prompt_tokens":2,"total_tokens":2}}'
        )


@pytest.mark.parametrize("output_type", OutputType)
def test_arrays_and_base64_carry_the_same_bytes_of_every_output_type(output_type):
    answer = embeddings(70, 384)
    rows = quantizer(answer, output_type)(answer.vectors)
    arrays = json.loads(body(answer, EncodingFormat.FLOAT, output_type))["data"]
    packed = json.loads(body(answer, EncodingFormat.BASE64, output_type))["data"]
    for row, array, text in zip(rows, arrays, packed, strict=True):
        assert np.array(array["embedding"], dtype=row.dtype).tobytes() == row.tobytes()
        assert base64.b64decode(text["embedding"], validate=True) == row.tobytes()


def test_bytes_of_a_model_without_a_calibration_are_refused_before_anything_is_written():
    answer = Embeddings("m", np.ones((1, 8), np.float32), tokens=[2], truncated=[False])
    with pytest.raises(InvalidRequestError, match="embedsvc calibrate m"):
        responses.encode_embeddings(answer, EncodingFormat.FLOAT, OutputType.INT8)


def test_columns_that_were_cut_off_do_not_travel():
    answer = embeddings(3, 16)
    cut = Embeddings("m", answer.vectors[:, :4], answer.tokens, answer.truncated)
    assert [len(item["embedding"]) for item in json.loads(body(cut, EncodingFormat.FLOAT))["data"]] == [4] * 3
    [first, *_] = json.loads(body(cut, EncodingFormat.BASE64))["data"]
    assert base64.b64decode(first["embedding"]) == answer.vectors[0, :4].tobytes()


def test_the_openai_sdk_reads_an_answer():
    parsed = CreateEmbeddingResponse.model_validate_json(
        body(embeddings(3), EncodingFormat.FLOAT), strict=True
    )
    assert (parsed.object, parsed.model, len(parsed.data)) == ("list", "m", 3)


def test_a_model_is_what_openai_lists():
    one = responses.encode_model("org/m", 1_700_000_000)
    assert json.loads(one) == {
        "id": "org/m",
        "object": "model",
        "created": 1_700_000_000,
        "owned_by": "embedsvc",
    }
    assert Model.model_validate_json(one, strict=True).created == 1_700_000_000
    listed = json.loads(responses.encode_models({"a": 1, "b": 2}))
    assert listed["object"] == "list"
    assert [(item["id"], item["created"]) for item in listed["data"]] == [("a", 1), ("b", 2)]


@pytest.mark.parametrize("gpu", [None, "NVIDIA H200"])
def test_health_says_what_the_design_fixes(gpu):
    assert json.loads(responses.encode_health("cpu", gpu)) == {
        "status": "ok",
        "device": "cpu",
        "model_loaded": True,
        "gpu_available": gpu is not None,
        "gpu_name": gpu,
    }

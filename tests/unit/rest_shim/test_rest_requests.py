"""requests: JSON as Envoy's transcoder hands it over, into the core's own request."""

import pytest
from google.protobuf import json_format

from embedsvc.config import LimitSettings
from embedsvc.errors import InvalidRequestError
from embedsvc.types import EmbedRequest, InputType, OutputType, Truncation
from embedsvc.v1.openai_pb2 import CreateEmbeddingRequest
from rest_shim import requests
from rest_shim.requests import EncodingFormat


def message(**body):
    return json_format.ParseDict({"model": "m", "input": "a", **body}, CreateEmbeddingRequest())


def fault(**body):
    """What is wrong with a body, in any of its fields."""
    with pytest.raises(InvalidRequestError) as caught:
        read(message(**body))
    return caught.value


def decoded(said):
    return requests.decode(said, LimitSettings())


def read(said):
    return requests.decode_format(said), decoded(said)


@pytest.mark.parametrize(
    ("given", "inputs", "single"),
    [
        ("Hello", ["Hello"], True),
        ("", [""], True),
        (["a", "b"], ["a", "b"], False),
        (["a"], ["a"], False),
        ([1, 2, 3], [[1, 2, 3]], True),
        ([0], [[0]], True),
        ([[1, 2], [3]], [[1, 2], [3]], False),
        ([[], [3]], [[], [3]], False),
        ([4294967295, 9007199254740991], [[4294967295, 9007199254740991]], True),
        (["a\u0000b", "é🦊"], ["a\0b", "é🦊"], False),
    ],
)
def test_openai_s_four_forms_of_input_are_read(given, inputs, single):
    request = decoded(message(input=given))
    assert (list(request.inputs), request.single, request.field) == (inputs, single, "input")


def test_what_is_not_said_is_the_default():
    assert decoded(message()) == EmbedRequest(inputs=["a"], model="m", field="input", single=True)
    assert requests.decode_format(message()) is EncodingFormat.FLOAT


def test_null_is_as_good_as_absent_where_it_may_be():
    names = ["encoding_format", "dimensions", "user", "input_type", "truncation", "output_type"]
    assert decoded(message(**dict.fromkeys(names))) == decoded(message())
    assert requests.decode_format(message(**dict.fromkeys(names))) is EncodingFormat.FLOAT


def test_every_field_is_read():
    said = message(dimensions=64, input_type="query", truncation="none", encoding_format="base64", user="u")
    request = decoded(said)
    assert (request.dimensions, request.input_type, request.truncation) == (
        64,
        InputType.QUERY,
        Truncation.NONE,
    )
    assert requests.decode_format(said) is EncodingFormat.BASE64


@pytest.mark.parametrize("output_type", OutputType)
@pytest.mark.parametrize("form", EncodingFormat)
def test_every_output_type_may_be_asked_for_in_either_format(output_type, form):
    said = message(output_type=str(output_type), encoding_format=str(form))
    assert (decoded(said).output_type, requests.decode_format(said)) == (output_type, form)


@pytest.mark.parametrize("given", ["int4", "INT8", "", 8, True, ["int8"], {}])
def test_an_output_type_that_there_is_not_names_the_field_and_what_there_is(given):
    error = fault(output_type=given)
    assert error.param == "output_type"
    assert "'float32' or 'float16' or 'int8' or 'uint8' or 'binary' or 'ubinary'" in error.message


@pytest.mark.parametrize("given", [None, 7, 1.5, True, {"text": "a"}])
def test_an_input_of_another_type_names_the_field(given):
    assert fault(input=given).param == "input"


def test_an_absent_input_or_model_is_named():
    with pytest.raises(InvalidRequestError, match="input is required"):
        decoded(json_format.ParseDict({"model": "m"}, CreateEmbeddingRequest()))
    with pytest.raises(InvalidRequestError, match="model is required") as caught:
        decoded(json_format.ParseDict({"input": "a"}, CreateEmbeddingRequest()))
    assert caught.value.param == "model"


@pytest.mark.parametrize(
    ("given", "param", "told"),
    [
        (["a", None], "input[1]", "must be a string"),
        (["a", 1], "input[1]", "must be a string"),
        ([1, "a"], "input[1]", "must be a token id"),
        ([1, 2, None], "input[2]", "must be a token id"),
        ([[1], "a"], "input[1]", "must be a list of token ids"),
        ([[1], 1], "input[1]", "must be a list of token ids"),
        ([None], "input[0]", "must be a string"),
        ([True, "a"], "input[0]", "must be a string"),
        ([{}], "input[0]", "must be a string"),
        ([1.5], "input", "input[0] must be a token id"),
        ([-1], "input", "input[0] must be a token id"),
        ([[1], [2, "3"]], "input[1]", "input[1][1] must be a token id"),
        ([[1], [[2]]], "input[1]", "input[1][0] must be a token id"),
        ([[1], [None]], "input[1]", "input[1][0] must be a token id"),
    ],
)
def test_the_first_item_of_another_type_is_named(given, param, told):
    error = fault(input=given)
    assert error.param == param
    assert told in error.message


@pytest.mark.parametrize("model", [None, "", 7, ["m"], {"name": "m"}, False])
def test_a_model_is_a_string_that_names_one(model):
    assert fault(model=model).param == "model"


@pytest.mark.parametrize("dimensions", [0, -1, 1.5, "64", [64], True, 1e-9])
def test_dimensions_are_an_integer_from_one(dimensions):
    assert fault(dimensions=dimensions).param == "dimensions"


@pytest.mark.parametrize("name", ["encoding_format", "input_type", "truncation"])
@pytest.mark.parametrize("value", ["", "FLOAT", "hex", 1, [], {}, True])
def test_a_choice_is_one_of_those_that_the_error_lists(name, value):
    error = fault(**{name: value})
    assert error.param == name
    assert error.message.startswith(f"{name} must be '")


@pytest.mark.parametrize("user", [7, ["u"], {}, False])
def test_a_user_is_a_string(user):
    assert fault(user=user).param == "user"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "input must hold at least one input"),
        (["a"] * 2049, "input must hold 2048 inputs at most; got 2049"),
        ([1] * 8193, "input must be 8192 token ids at most; got 8193"),
        ([[1], [1] * 8193], "input[1] must be 8192 token ids at most; got 8193"),
    ],
)
def test_lists_that_are_too_long_are_refused_before_they_are_read(given, said):
    assert fault(input=given).message == said

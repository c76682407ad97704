"""errors: OpenAI's error body, fit for a header."""

import json

import pytest

from embedsvc.errors import (
    InternalError,
    InvalidRequestError,
    InvalidSignatureError,
    ModelNotFoundError,
    OverloadedError,
    UnauthenticatedError,
)
from rest_shim import errors

METHOD = "/embedsvc.v1.OpenAIService/CreateEmbedding"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            InvalidRequestError("input is required", param="input"),
            {"type": "invalid_request_error", "param": "input", "code": None},
        ),
        (
            ModelNotFoundError("no such model", param="model"),
            {"type": "invalid_request_error", "param": "model", "code": "model_not_found"},
        ),
        (OverloadedError("full"), {"type": "server_error", "param": None, "code": "overloaded"}),
        (InternalError(), {"type": "server_error", "param": None, "code": None}),
    ],
)
def test_a_body_has_openai_s_four_fields(error, expected):
    assert json.loads(errors.to_body(error)) == {"error": {"message": error.message, **expected}}


def test_a_body_is_ascii_without_line_breaks_whatever_the_caller_sent():
    hostile = "the model 'é🦊\r\nx-evil: 1\0\"\ud800' does not exist"
    text = errors.to_body(ModelNotFoundError(hostile))
    assert text.isascii()
    assert text.isprintable()
    assert json.loads(text)["error"]["message"] == hostile


def test_trailers_carry_the_body_for_what_envoy_transcodes():
    error = InvalidRequestError("bad")
    assert errors.trailers(METHOD, error) == [("x-openai-error", errors.to_body(error))]


@pytest.mark.parametrize("error", [UnauthenticatedError, InvalidSignatureError])
def test_who_is_not_known_is_told_the_scheme(error):
    assert ("www-authenticate", "Bearer") in errors.trailers(METHOD, error("no API key"))


@pytest.mark.parametrize(("seconds", "header"), [(1.0, "1"), (0.1, "1"), (1.2, "2"), (60, "60")])
def test_retry_after_is_whole_seconds_and_never_too_early(seconds, header):
    assert ("retry-after", header) in errors.trailers(METHOD, OverloadedError("full", retry_after=seconds))


@pytest.mark.parametrize(
    "method", ["/embedsvc.v1.EmbeddingService/Embed", "/embedsvc.v1.ModelService/GetModel", "/other/X"]
)
def test_calls_of_grpc_s_own_services_carry_no_json(method):
    assert errors.trailers(method, OverloadedError("full")) == []

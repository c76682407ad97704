"""errors: the table of docs/errors.md, class by class."""

import grpc
import pytest

from embedsvc import errors

INVALID = "invalid_request_error"
TABLE = {
    errors.EmbedsvcError: ("INTERNAL", "INTERNAL", "server_error", None),
    errors.InternalError: ("INTERNAL", "INTERNAL", "server_error", None),
    errors.InvalidRequestError: ("INVALID_ARGUMENT", "INVALID_REQUEST", INVALID, None),
    errors.ContextLengthExceededError: (
        "INVALID_ARGUMENT",
        "CONTEXT_LENGTH_EXCEEDED",
        INVALID,
        "context_length_exceeded",
    ),
    errors.SuspiciousTextError: ("INVALID_ARGUMENT", "PROMPT_INJECTION", INVALID, "prompt_injection"),
    errors.UnauthenticatedError: ("UNAUTHENTICATED", "INVALID_API_KEY", INVALID, "invalid_api_key"),
    errors.InvalidCertificateError: ("UNAUTHENTICATED", "INVALID_CERTIFICATE", INVALID, "invalid_api_key"),
    errors.InvalidSignatureError: ("UNAUTHENTICATED", "INVALID_SIGNATURE", INVALID, "invalid_api_key"),
    errors.PermissionDeniedError: ("PERMISSION_DENIED", "PERMISSION_DENIED", "permission_error", None),
    errors.RateLimitedError: ("RESOURCE_EXHAUSTED", "RATE_LIMIT_EXCEEDED", "requests", "rate_limit_exceeded"),
    errors.TokensLimitedError: ("RESOURCE_EXHAUSTED", "RATE_LIMIT_EXCEEDED", "tokens", "rate_limit_exceeded"),
    errors.ModelNotFoundError: ("NOT_FOUND", "MODEL_NOT_FOUND", INVALID, "model_not_found"),
    errors.RequestTooLargeError: ("RESOURCE_EXHAUSTED", "REQUEST_TOO_LARGE", INVALID, "request_too_large"),
    errors.OverloadedError: ("UNAVAILABLE", "OVERLOADED", "server_error", "overloaded"),
    errors.ProviderDownError: ("UNAVAILABLE", "OVERLOADED", "server_error", "overloaded"),
    errors.DeadlineExceededError: ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", "server_error", "timeout"),
}


def all_classes(base=errors.EmbedsvcError):
    return {base}.union(*(all_classes(child) for child in base.__subclasses__()))


def test_every_class_is_in_the_table():
    assert all_classes() == set(TABLE)


@pytest.mark.parametrize(("kind", "row"), TABLE.items(), ids=lambda item: getattr(item, "__name__", ""))
def test_a_class_owns_its_code_its_reason_and_its_openai_shape(kind, row):
    assert (kind.code, kind.reason, kind.openai_type, kind.openai_code) == row
    assert kind.code in grpc.StatusCode.__members__


def test_an_error_carries_its_message_and_its_field():
    error = errors.InvalidRequestError("input is required", param="input")
    assert (str(error), error.message, error.param) == ("input is required", "input is required", "input")


def test_an_internal_error_says_nothing_of_its_cause():
    assert errors.InternalError().message == "internal error"


def test_only_overload_is_worth_another_try():
    assert errors.OverloadedError("full").retry_after == 1.0
    assert errors.DeadlineExceededError("late").retry_after is None


def test_a_mistake_in_the_configuration_is_never_an_answer_to_a_caller():
    assert not issubclass(errors.ConfigurationError, errors.EmbedsvcError)

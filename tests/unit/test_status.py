"""status: errors as google.rpc.Status."""

import grpc
import pytest
from google.rpc import code_pb2, error_details_pb2

from embedsvc.errors import (
    ContextLengthExceededError,
    DeadlineExceededError,
    InternalError,
    ModelNotFoundError,
    OverloadedError,
    UnauthenticatedError,
)
from embedsvc.status import to_code, to_status


def details(error, kind):
    found = []
    for detail in to_status(error).details:
        message = kind()
        if detail.Unpack(message):
            found.append(message)
    return found


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ContextLengthExceededError("long", param="inputs[0]"), grpc.StatusCode.INVALID_ARGUMENT),
        (UnauthenticatedError("who"), grpc.StatusCode.UNAUTHENTICATED),
        (ModelNotFoundError("which", param="model"), grpc.StatusCode.NOT_FOUND),
        (OverloadedError("full"), grpc.StatusCode.UNAVAILABLE),
        (DeadlineExceededError("late"), grpc.StatusCode.DEADLINE_EXCEEDED),
        (InternalError(), grpc.StatusCode.INTERNAL),
    ],
)
def test_a_status_has_code_message_and_reason(error, code):
    status = to_status(error)
    assert to_code(error) is code
    assert (status.code, status.message) == (code.value[0], error.message)
    assert code_pb2.Code.Name(status.code) == error.code
    expected = error_details_pb2.ErrorInfo(reason=error.reason, domain="embedsvc")
    assert details(error, error_details_pb2.ErrorInfo) == [expected]


def test_a_field_at_fault_is_a_violation():
    error = ContextLengthExceededError("inputs[3] is too long", param="inputs[3]")
    [bad] = details(error, error_details_pb2.BadRequest)
    [violation] = bad.field_violations
    assert (violation.field, violation.description) == ("inputs[3]", "inputs[3] is too long")


@pytest.mark.parametrize(
    ("seconds", "nanos"), [(1.0, 1_000_000_000), (0.25, 250_000_000), (90.5, 90_500_000_000)]
)
def test_what_may_be_tried_again_says_when(seconds, nanos):
    [retry] = details(OverloadedError("full", retry_after=seconds), error_details_pb2.RetryInfo)
    assert retry.retry_delay.ToNanoseconds() == nanos


def test_an_error_without_field_and_wait_has_its_reason_only():
    assert len(to_status(InternalError()).details) == 1

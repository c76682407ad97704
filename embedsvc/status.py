"""Errors as gRPC statuses with details (https://google.aip.dev/193)."""

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from embedsvc.errors import EmbedsvcError

DOMAIN = "embedsvc"
"""google.rpc.ErrorInfo.domain of every error."""


def to_code(error: EmbedsvcError) -> grpc.StatusCode:
    """The status code of an error."""
    return grpc.StatusCode[error.code]


def to_status(error: EmbedsvcError) -> status_pb2.Status:
    """An error with its ErrorInfo, and BadRequest and RetryInfo where they say something."""
    status = status_pb2.Status(code=code_pb2.Code.Value(error.code), message=error.message)
    for detail in _details(error):
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def _details(error: EmbedsvcError) -> list[Message]:
    details: list[Message] = [error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)]
    if error.param is not None:
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.param, description=error.message)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if error.retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(int(error.retry_after * 1e9))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    return details

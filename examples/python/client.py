"""A channel to embedsvc, and what its errors say. Copy it, with service_config.json, into your service."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import grpc
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from grpc_status import rpc_status

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from google.rpc.status_pb2 import Status

SERVICE_CONFIG = Path(__file__).parent.with_name("service_config.json")

OPTIONS = [
    ("grpc.service_config", SERVICE_CONFIG.read_text()),  # retries and deadlines
    ("grpc.max_receive_message_length", 16 * 2**20),  # 2,048 vectors are more than gRPC's 4 MB
    # A connection that died in silence is noticed within 40 seconds, also between calls.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
]

Detail = TypeVar("Detail", bound="Message")


@dataclass(frozen=True)
class Failure:
    """What an error of embedsvc says.

    Attributes:
        reason: Which error it is, as in docs/errors.md; empty where no server of ours answered.
        message: For people.
        field: The field at fault, such as "inputs[3]".
        retry_seconds: When trying again makes sense; None where it never does.
    """

    reason: str
    message: str
    field: str | None = None
    retry_seconds: float | None = None


def connect(target: str, certificates: Path) -> grpc.aio.Channel:
    """One channel serves a whole process: open it once, share it, close it at the end."""
    ca, key, certificate = (
        (certificates / name).read_bytes() for name in ("ca.crt", "client.key", "client.crt")
    )
    return grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(ca, key, certificate), OPTIONS)


def failure_of_call(error: grpc.aio.AioRpcError) -> Failure:
    """What a failed call says."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type] # written for grpc.Call, works for grpc.aio
    return failure_of(status) if status else Failure("", error.details() or "")


def failure_of(status: Status) -> Failure:
    """What a status says: a call's, or the one inside an answer of a stream."""
    info = _detail(status, ErrorInfo()) or ErrorInfo()
    bad, retry = _detail(status, BadRequest()), _detail(status, RetryInfo())
    return Failure(
        info.reason,
        status.message,
        bad.field_violations[0].field if bad else None,
        retry.retry_delay.ToTimedelta().total_seconds() if retry else None,
    )


def _detail(status: Status, empty: Detail) -> Detail | None:
    return empty if any(detail.Unpack(empty) for detail in status.details) else None

"""Reads what a server answers: why a call failed, when to try again, what came of a request of a stream."""

import grpc
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from embedsvc.operator.bulk import Streamed
from embedsvc.v1 import embedding_pb2 as pb


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """Why a call failed: the server's reason where one of ours has answered, else gRPC's."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # written for grpc.Call, works for grpc.aio
    info = ErrorInfo()
    ours = status is not None and any(detail.Unpack(info) for detail in status.details)
    return f"{info.reason if ours else error.code().name}: {error.details()}"


def pause_of(status: Status) -> float | None:
    """When trying again makes sense, in seconds; None where it never does."""
    info = RetryInfo()
    asked = any(detail.Unpack(info) for detail in status.details)
    return float(info.retry_delay.ToTimedelta().total_seconds()) if asked else None


def streamed(response: pb.EmbedResponse) -> Streamed:
    """What came of a request."""
    return Streamed(
        len(response.embeddings),
        sum(item.cached for item in response.embeddings),
        response.usage.total_tokens,
        [item.error.message for item in response.embeddings if item.HasField("error")],
    )

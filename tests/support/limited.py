"""Callers with limits: what becomes of their requests, and what they are told."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from embedsvc.limits.bucket import Limit
from embedsvc.v1 import embedding_pb2 as pb
from embedsvc.v1.embedding_pb2_grpc import EmbeddingServiceStub

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.rpc import status_pb2

TIMEOUT = 30
SOON = 1.0
"""Seconds after which a caller may come back who is refused only because a lease is on its way."""

DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:([\d.]+)(m?)s)?")


@dataclass(frozen=True)
class Answer:
    """What became of a request.

    Attributes:
        told: What its trailing metadata say of limits, by name, without "x-ratelimit-".
        retry: RetryInfo, in seconds.
    """

    code: str
    told: Mapping[str, str]
    reason: str = ""
    message: str = ""
    retry: float | None = None


def request(*texts: str) -> pb.EmbedRequest:
    return pb.EmbedRequest(inputs=[pb.Input(text=text) for text in texts or ("x",)])


def details_of(status: status_pb2.Status) -> tuple[str, float | None]:
    """The reason, and the seconds of RetryInfo."""
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    assert status.details[0].Unpack(info)
    waits = any(detail.Unpack(retry) for detail in status.details)
    return info.reason, retry.retry_delay.ToTimedelta().total_seconds() if waits else None


async def answer_of(call: grpc.aio.UnaryUnaryCall) -> Answer:
    found = {}
    try:
        await call
    except grpc.aio.AioRpcError as error:
        reason, retry = details_of(rpc_status.from_call(error))
        found = {"reason": reason, "message": error.details(), "retry": retry}
    headers = [(name, value) for name, value in await call.trailing_metadata() if "ratelimit" in name]
    assert len(headers) == len(dict(headers))
    told = {name.removeprefix("x-ratelimit-"): value for name, value in headers}
    return Answer((await call.code()).name, told, **found)


async def ask_once(channel: grpc.aio.Channel, metadata, *texts: str, within: float = TIMEOUT) -> Answer:
    call = EmbeddingServiceStub(channel).Embed(request(*texts), metadata=metadata, timeout=within)
    return await answer_of(call)


async def ask(channel: grpc.aio.Channel, metadata, *texts: str) -> Answer:
    """Ask; again where the key's very first look-up was too slow, as callers are told to."""
    async with asyncio.timeout(TIMEOUT):
        while True:
            answer = await ask_once(channel, metadata, *texts)
            if answer.code != "UNAVAILABLE":
                return answer


async def spend(channel: grpc.aio.Channel, metadata, *texts: str) -> tuple[int, Answer]:
    """Ask until the window is used up; return how many passed, and the last answer."""
    passed = 0
    async with asyncio.timeout(TIMEOUT):
        while True:
            answer = await ask(channel, metadata, *texts)
            passed += answer.code == "OK"
            if answer.code != "OK" and (answer.retry or TIMEOUT) > SOON:
                return passed, answer


def holds(passed: int, units: int) -> bool:
    """Whether so many are what one server lets pass of a limit: no fewer, and a block more at most."""
    return units <= passed <= units + Limit("", units, 60.0).block


def seconds(duration: str) -> float:
    """Read a length of time as Go writes it."""
    hours, minutes, rest, milli = DURATION.fullmatch(duration).groups()
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(rest or 0) / (1000 if milli else 1)

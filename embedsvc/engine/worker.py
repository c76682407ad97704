"""A replica's process: builds an encoder, then computes one batch after the other until the server is gone.

A process of its own can be killed when it hangs and replaced when it dies, and it takes no turns with the
event loop. `replica.py` is the server's side.
"""

import faulthandler
import json
import pickle
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from queue import Queue
from threading import Thread
from typing import BinaryIO, TypeAlias, cast

import numpy as np

from embedsvc import logs
from embedsvc.config import LogSettings
from embedsvc.engine.encoder import Encoder, EncoderFactory, PipelinedEncoder
from embedsvc.engine.guests import Reply, take_turns
from embedsvc.engine.memory import is_out_of_memory, release_cached_memory
from embedsvc.engine.wire import Answer, Kind, read_batch, write_answer
from embedsvc.signals import die_with_parent
from embedsvc.types import TokenSequence, Vectors

Finish: TypeAlias = Callable[[float], Answer]
"""Waits for an answer, given when the batch before it was done."""

Batches: TypeAlias = Iterable[tuple[Sequence[TokenSequence], Reply]]


@dataclass(frozen=True, slots=True)
class Order:
    """What a process is to be.

    Attributes:
        build: Makes the encoder.
        device: Where it runs.
        warm_up: A batch that it must be able to compute.
    """

    build: EncoderFactory
    device: str
    warm_up: Sequence[TokenSequence]


def main() -> None:
    """Serve the socket whose number is the first argument, and who comes in at that of the second."""
    faulthandler.enable()
    logs.configure(LogSettings())
    die_with_parent()
    with socket.socket(fileno=int(sys.argv[1])) as connection, connection.makefile("rwb") as file:
        channel = cast("BinaryIO", file)
        order: Order = pickle.load(channel)  # noqa: S301 - from the server, over a socket pair
        try:
            encoder = order.build(order.device)
            seconds = _warm_up(encoder, order.warm_up)
        except Exception as error:  # noqa: BLE001 - whatever a model does; the server says it
            write_answer(channel, Answer(Kind.UNUSABLE, repr(error).encode()))
            return
        ready = Answer(Kind.READY, _describe(encoder), seconds, encoder.gpu_memory())
        write_answer(channel, ready)
        batches = _shared(connection, ready) if sys.argv[2:] else _of_one(channel)
        if isinstance(encoder, PipelinedEncoder):
            _serve_pipelined(encoder, batches)
        else:
            _serve(encoder, batches)


def _of_one(channel: BinaryIO) -> Iterator[tuple[Sequence[TokenSequence], Reply]]:
    """Batches of the owner, who has no guests."""
    reply = partial(write_answer, channel)
    while (batch := read_batch(channel)) is not None:
        yield batch, reply


def _shared(owner: socket.socket, ready: Answer) -> Iterator[tuple[Sequence[TokenSequence], Reply]]:
    with socket.socket(fileno=int(sys.argv[2])) as listener:
        yield from take_turns(owner, listener, ready)


def _warm_up(encoder: Encoder, batch: Sequence[TokenSequence]) -> float:
    began = time.perf_counter()
    _check(encoder.encode(batch), batch, encoder)
    return time.perf_counter() - began


def _describe(encoder: Encoder) -> bytes:
    depth = encoder.depth if isinstance(encoder, PipelinedEncoder) else 1
    what = {"dimensions": encoder.dimensions, "padded": encoder.padded, "depth": depth}
    return json.dumps(what).encode()


def _serve(encoder: Encoder, batches: Batches) -> None:
    for batch, reply in batches:
        began = time.perf_counter()
        reply(_compute(encoder, batch, partial(encoder.encode, batch), began))


def _serve_pipelined(encoder: PipelinedEncoder, batches: Batches) -> None:
    """Launch batches in this thread, and collect their vectors in another, in their order."""
    under_way: Queue[tuple[Finish, Reply] | None] = Queue(max(1, encoder.depth - 1))
    collecting = Thread(target=_collect, args=(under_way,), daemon=True)
    collecting.start()
    for batch, reply in batches:
        under_way.put((_launch(encoder, batch), reply))
    under_way.put(None)
    collecting.join()


def _launch(encoder: PipelinedEncoder, batch: Sequence[TokenSequence]) -> Finish:
    """Begin a batch; return what waits for its answer, given when the one before it was done."""
    began = time.perf_counter()
    try:
        collect = encoder.launch(batch)
    except Exception as error:  # noqa: BLE001 - whatever an encoder does; the server logs it
        failure = _failure(error)
        return lambda _: _released(failure, encoder)
    return lambda before: _compute(encoder, batch, collect, max(began, before))


def _collect(under_way: Queue[tuple[Finish, Reply] | None]) -> None:
    done = 0.0
    while (item := under_way.get()) is not None:
        finish, reply = item
        answer = finish(done)
        done = time.perf_counter()
        reply(answer)


def _compute(
    encoder: Encoder, batch: Sequence[TokenSequence], work: Callable[[], Vectors], began: float
) -> Answer:
    try:
        vectors = _check(work(), batch, encoder)
    except Exception as error:  # noqa: BLE001 - whatever an encoder does; the server logs it
        failure = _failure(error)
    else:
        return _success(vectors, time.perf_counter() - began, encoder)
    return _released(failure, encoder)


def _released(failure: Answer, encoder: Encoder) -> Answer:
    """The failure, after the error that held the batch's tensors is gone."""
    if failure.kind is Kind.EXHAUSTED and encoder.gpu_memory() is not None:
        release_cached_memory()
    return failure


def _success(vectors: Vectors, seconds: float, encoder: Encoder) -> Answer:
    payload = np.ascontiguousarray(vectors, np.float32).data.cast("B")
    return Answer(Kind.VECTORS, payload, seconds, encoder.gpu_memory())


def _failure(error: Exception) -> Answer:
    kind = Kind.EXHAUSTED if is_out_of_memory(error) else Kind.FAILED
    return Answer(kind, "".join(traceback.format_exception(error)).encode())


def _check(vectors: Vectors, batch: Sequence[TokenSequence], encoder: Encoder) -> Vectors:
    if vectors.shape != (len(batch), encoder.dimensions):
        raise RuntimeError(f"the encoder made {vectors.shape} of {len(batch)} texts")
    return vectors


if __name__ == "__main__":
    main()

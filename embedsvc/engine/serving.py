"""Inside a replica's process: batches are computed one by one, pipelined or side by side, and answered."""

import os
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from queue import Queue
from threading import Semaphore, Thread
from typing import TypeAlias

import numpy as np

from embedsvc.engine.encoder import Encoder, LanedEncoder, PipelinedEncoder
from embedsvc.engine.guests import Begin, Reply
from embedsvc.engine.memory import is_out_of_memory, release_cached_memory
from embedsvc.engine.wire import Answer, Batch, Kind, Room
from embedsvc.types import TokenSequence, Vectors

Finish: TypeAlias = Callable[[float], Answer]
"""Waits for an answer, given when the batch before it was done."""

Batches: TypeAlias = Iterable[tuple[Batch, Begin]]


def serve(encoder: Encoder, batches: Batches) -> None:
    """Compute batches in the way that suits the encoder, until there are no more."""
    if isinstance(encoder, PipelinedEncoder):
        _serve_pipelined(encoder, batches)
    elif isinstance(encoder, LanedEncoder) and encoder.lanes > 1:
        _serve_side_by_side(encoder, batches)
    else:
        _serve_one_by_one(encoder, batches)


def check(vectors: Vectors, texts: Sequence[TokenSequence], encoder: Encoder) -> Vectors:
    """Return vectors, if there is one for each text.

    Raises:
        RuntimeError: There is not.
    """
    if vectors.shape != (len(texts), encoder.dimensions):
        raise RuntimeError(f"the encoder made {vectors.shape} of {len(texts)} texts")
    return vectors


def _serve_one_by_one(encoder: Encoder, batches: Batches) -> None:
    for batch, begin in batches:
        reply = begin()
        reply(_encode(encoder, batch.texts, encoder.encode))


def _serve_side_by_side(encoder: LanedEncoder, batches: Batches) -> None:
    """Give each batch a lane, or all of them. No batch is read before a lane is free."""
    free = Semaphore(encoder.lanes)

    def run(batch: Batch, reply: Reply) -> None:
        with _ending_all():
            answer = _encode(encoder, batch.texts, encoder.encode_in_lane)
            free.release()  # before what the answer brings about comes
            with suppress(OSError):  # the owner is gone, as the thread that reads sees, too
                reply(answer)

    coming = iter(batches)
    with ThreadPoolExecutor(encoder.lanes, thread_name_prefix="lane") as threads:
        while free.acquire() and (item := next(coming, None)):
            batch, begin = item
            if _acquire_rest(free, encoder.lanes - 1, batch.room):
                reply = begin()
                answer = _encode(encoder, batch.texts, encoder.encode)
                free.release(encoder.lanes)
                reply(answer)
            else:
                threads.submit(run, batch, begin())


def _acquire_rest(free: Semaphore, lanes: int, room: Room) -> bool:
    """Take so many lanes where a batch is to have all; another process's batches may be under way in them."""
    if room is Room.LANE:
        return False
    for taken in range(lanes):
        if not free.acquire(blocking=room is Room.EXCLUSIVE):
            if taken:
                free.release(taken)
            return False
    return True


@contextmanager
def _ending_all() -> Iterator[None]:
    """End the process after an error that nothing here expects, as one in its only thread would."""
    try:
        yield
    except BaseException:  # noqa: BLE001 - the server starts another
        traceback.print_exc()
        os._exit(1)


def _encode(
    encoder: Encoder, texts: Sequence[TokenSequence], work: Callable[[Sequence[TokenSequence]], Vectors]
) -> Answer:
    return _compute(encoder, texts, partial(work, texts), time.perf_counter())


def _serve_pipelined(encoder: PipelinedEncoder, batches: Batches) -> None:
    """Launch batches in this thread, and collect their vectors in another, in their order."""
    under_way: Queue[tuple[Finish, Reply] | None] = Queue(max(1, encoder.depth - 1))
    collecting = Thread(target=_collect, args=(under_way,), daemon=True)
    collecting.start()
    for batch, begin in batches:
        if batch.room is Room.EXCLUSIVE:
            under_way.join()
        reply = begin()
        under_way.put((_launch(encoder, batch.texts), reply))
        if batch.room is Room.EXCLUSIVE:
            under_way.join()
    under_way.put(None)
    collecting.join()


def _launch(encoder: PipelinedEncoder, texts: Sequence[TokenSequence]) -> Finish:
    """Begin a batch; return what waits for its answer, given when the one before it was done."""
    began = time.perf_counter()
    try:
        collect = encoder.launch(texts)
    except Exception as error:  # noqa: BLE001 - whatever an encoder does; the server logs it
        failure = _failure(error)
        return lambda _: _released(failure, encoder)
    return lambda before: _compute(encoder, texts, collect, max(began, before))


def _collect(under_way: Queue[tuple[Finish, Reply] | None]) -> None:
    done = 0.0
    with _ending_all():
        while (item := under_way.get()) is not None:
            finish, reply = item
            answer = finish(done)
            done = time.perf_counter()
            with suppress(OSError):  # the owner is gone, as the thread that reads sees, too
                reply(answer)
            under_way.task_done()


def _compute(
    encoder: Encoder, texts: Sequence[TokenSequence], work: Callable[[], Vectors], began: float
) -> Answer:
    try:
        vectors = check(work(), texts, encoder)
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

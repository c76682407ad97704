"""A replica's process: builds an encoder, then computes batches until the server is gone.

A process of its own can be killed when it hangs and replaced when it dies, and it takes no turns with the
event loop. `replica.py` is the server's side.
"""

import faulthandler
import json
import pickle
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO, cast

from embedsvc import logs
from embedsvc.config import LogSettings
from embedsvc.engine.encoder import Encoder, EncoderFactory, LanedEncoder, PipelinedEncoder
from embedsvc.engine.guests import Begin, Line, take_turns
from embedsvc.engine.serving import check, serve
from embedsvc.engine.wire import Answer, Batch, Kind, write_answer
from embedsvc.signals import die_with_parent
from embedsvc.types import TokenSequence


@dataclass(frozen=True, slots=True)
class Order:
    """What a process is to be.

    Attributes:
        build: Makes the encoder.
        device: Where it runs.
        warm_up: A batch that it must be able to compute.
        revision: Of the weights, for those who only join it.
    """

    build: EncoderFactory
    device: str
    warm_up: Sequence[TokenSequence]
    revision: str = ""


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
        shared = bool(sys.argv[2:])
        ready = Answer(Kind.READY, _describe(encoder, order, shared=shared), seconds, encoder.gpu_memory())
        write_answer(channel, ready)
        serve(encoder, _shared(connection, ready) if shared else _of_one(connection))


def _of_one(owner: socket.socket) -> Iterator[tuple[Batch, Begin]]:
    """Batches of the owner, who has no guests, and so knows when they begin."""
    home = Line(owner)
    while (batch := home.read()) is not None:
        yield batch, partial(partial, home.write, batch.number)


def _shared(owner: socket.socket, ready: Answer) -> Iterator[tuple[Batch, Begin]]:
    with socket.socket(fileno=int(sys.argv[2])) as listener:
        yield from take_turns(owner, listener, ready)


def _warm_up(encoder: Encoder, batch: Sequence[TokenSequence]) -> float:
    began = time.perf_counter()
    check(encoder.encode(batch), batch, encoder)
    return time.perf_counter() - began


def _describe(encoder: Encoder, order: Order, *, shared: bool) -> bytes:
    lanes, worth_all = (encoder.lanes, encoder.worth_all) if isinstance(encoder, LanedEncoder) else (1, 1)
    depth = encoder.depth if isinstance(encoder, PipelinedEncoder) else lanes
    what = {"dimensions": encoder.dimensions, "padded": encoder.padded, "revision": order.revision}
    how = {"shared": shared, "depth": depth, "lanes": lanes, "worth_all": worth_all}
    return json.dumps(what | how).encode()


if __name__ == "__main__":
    main()

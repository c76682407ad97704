"""What a replica's process and the server say to each other: frames over a socket pair.

A batch is a head, the length of each text and the ids of all; an answer is a head and its payload. Each
answer has the number of its batch, since batches that are computed side by side end in any order. All
numbers are little-endian, as every machine is that torch runs on.
"""

from asyncio import StreamReader
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import chain, pairwise
from struct import Struct
from typing import BinaryIO, cast

import numpy as np

from embedsvc.types import TokenSequence

BATCH = Struct("<IIII")  # number, texts, tokens, room
ANSWER = Struct("<BxxxIqqd")  # kind, number, bytes of payload, bytes of GPU memory or -1, seconds
NUMBERS = 1 << 32
"""Batches are counted, and from here on again from 0."""
ID = np.dtype("<i4")


class Room(IntEnum):
    """What of a replica a batch is to have. One that computes one batch at a time makes no difference."""

    LANE = 0
    """A lane."""
    ALL = 1
    """All of them, if they are free; else a lane."""
    EXCLUSIVE = 2
    """All of them, as soon as they are free: should it end the process, no other batch ends with it."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What is to be computed.

    Attributes:
        number: What its answer says that it is the answer to.
        texts: Token ids of each.
        room: What of the replica it is to have.
    """

    number: int
    texts: Sequence[TokenSequence]
    room: Room = Room.LANE

    @property
    def tokens(self) -> int:
        """Of all texts."""
        return sum(map(len, self.texts))


class Kind(IntEnum):
    """What an answer's payload is."""

    VECTORS = 0
    """Float32 [texts, dimensions]."""
    READY = 1
    """JSON: what the encoder is. The first answer, to no batch."""
    FAILED = 2
    """Text: how the encoder failed."""
    EXHAUSTED = 3
    """Text: how its memory ran out."""
    UNUSABLE = 4
    """Text: why there is no encoder. The first answer, and the last."""
    BEGUN = 5
    """A batch has begun, said where there may be guests. See `guests.py`."""
    VISIT = 6
    """To the owner: a guest's batch has begun; four bytes, its tokens."""
    ENDED = 7
    """To the owner: a guest's batch has ended; one byte, the kind of its answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a batch.

    Attributes:
        kind: What the payload is.
        payload: The vectors or the message.
        seconds: What the encoder took.
        gpu_memory: Bytes of its device's memory that the replica holds; None without a GPU.
        number: Of the batch. The owner and each guest count their own, and to the owner all guests are one.
    """

    kind: Kind
    payload: bytes | memoryview
    seconds: float = 0.0
    gpu_memory: int | None = None
    number: int = 0


def encode_batch(batch: Batch) -> bytes:
    """Frame a batch."""
    lengths = np.fromiter(map(len, batch.texts), ID, len(batch.texts))
    tokens = int(lengths.sum())
    ids = np.fromiter(chain.from_iterable(batch.texts), ID, tokens)
    head = BATCH.pack(batch.number, len(batch.texts), tokens, batch.room)
    return head + lengths.tobytes() + ids.tobytes()


def read_batch(file: BinaryIO) -> Batch | None:
    """Read a batch, waiting for it; None at the end of the file."""
    head = file.read(BATCH.size)
    if len(head) < BATCH.size:
        return None
    number, texts, tokens, room = BATCH.unpack(head)
    body = file.read((texts + tokens) * ID.itemsize)
    if len(body) < (texts + tokens) * ID.itemsize:  # whoever wrote it died over it
        return None
    numbers = np.frombuffer(body, ID)
    ids, ends = numbers[texts:], np.cumsum(numbers[:texts]).tolist()
    # Views, which encoders take as well as lists.
    views = [cast("TokenSequence", ids[start:end]) for start, end in pairwise([0, *ends])]
    return Batch(number, views, Room(room))


def write_answer(file: BinaryIO, answer: Answer) -> None:
    """Write an answer."""
    memory = -1 if answer.gpu_memory is None else answer.gpu_memory
    file.write(ANSWER.pack(answer.kind, answer.number, len(answer.payload), memory, answer.seconds))
    file.write(answer.payload)
    file.flush()


async def read_answer(reader: StreamReader) -> Answer:
    """Read an answer.

    Raises:
        asyncio.IncompleteReadError: The other side is gone.
    """
    kind, number, size, memory, seconds = ANSWER.unpack(await reader.readexactly(ANSWER.size))
    payload = await reader.readexactly(size)
    return Answer(Kind(kind), payload, seconds, None if memory < 0 else memory, number)

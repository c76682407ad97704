"""serving: in which way a replica's process computes its batches."""

import threading
from queue import Queue

import numpy as np
import pytest

from embedsvc.engine.serving import serve
from embedsvc.engine.wire import Batch, Kind, Room

SECONDS = 10


class Lanes:
    """Two lanes, in each of which a text of one token ends once its number was let go.

    Attributes:
        begun: What was begun, and by which method.
    """

    dimensions, padded, device, lanes, worth_all = 1, False, "cpu", 2, 1

    def __init__(self):
        self.begun, self._events = Queue(), {}

    def gate(self, number):
        return self._events.setdefault(number, threading.Event())

    def encode(self, batch):
        return self._encode("encode", batch)

    def encode_in_lane(self, batch):
        return self._encode("encode_in_lane", batch)

    def _encode(self, method, batch):
        [[number]] = batch
        self.begun.put((method, number))
        assert self.gate(number).wait(SECONDS)
        if number < 0:
            raise ValueError("as it was told")
        return np.array([[number]], np.float32)

    def gpu_memory(self):
        return None


class Deep(Lanes):
    """The same, of whose batches two are launched before the first is collected."""

    depth = 2

    def launch(self, batch):
        [[number]] = batch
        self.begun.put(("launch", number))
        return lambda: self._encode("collect", batch)


class Stream:
    """Batches that a test sends, and the answers as they come."""

    def __init__(self):
        self.answers, self._batches = Queue(), Queue()

    def __iter__(self):
        while (batch := self._batches.get(timeout=SECONDS)) is not None:
            yield batch, lambda: self.answers.put

    def send(self, *numbers, room=Room.LANE):
        for number in numbers:
            self._batches.put(Batch(0, [[number]], room))

    def end(self):
        self._batches.put(None)

    @property
    def unread(self):
        return self._batches.qsize()

    def answer(self):
        answer = self.answers.get(timeout=SECONDS)
        assert answer.kind is Kind.VECTORS
        return float(np.frombuffer(answer.payload, np.float32)[0])


@pytest.fixture
def encoder():
    return Lanes()


@pytest.fixture
def stream(encoder):
    batches = Stream()
    serving = threading.Thread(target=serve, args=(encoder, batches))
    serving.start()
    yield batches
    batches.end()
    serving.join(SECONDS)
    assert not serving.is_alive()


def begin(encoder, count):
    return [encoder.begun.get(timeout=SECONDS) for _ in range(count)]


def test_batches_are_computed_side_by_side_and_answered_as_they_end(encoder, stream):
    stream.send(1, 2)
    assert sorted(begin(encoder, 2)) == [("encode_in_lane", 1), ("encode_in_lane", 2)]
    for number in (2, 1):
        encoder.gate(number).set()
        assert stream.answer() == number


def test_no_batch_is_read_before_a_lane_is_free(encoder, stream):
    stream.send(1, 2, 3)
    begin(encoder, 2)
    assert stream.unread == 1
    encoder.gate(2).set()
    assert stream.answer() == 2
    assert begin(encoder, 1) == [("encode_in_lane", 3)]
    for number in (3, 1):
        encoder.gate(number).set()
        assert stream.answer() == number


@pytest.mark.parametrize("room", [Room.ALL, Room.EXCLUSIVE])
def test_a_batch_may_have_all_cores(encoder, stream, room):
    for number in (1, 2):
        stream.send(number, room=room)
        assert begin(encoder, 1) == [("encode", number)]
        encoder.gate(number).set()
        assert stream.answer() == number


def test_beside_another_s_batch_it_has_a_lane(encoder, stream):
    stream.send(1)
    begin(encoder, 1)
    stream.send(2, room=Room.ALL)
    assert begin(encoder, 1) == [("encode_in_lane", 2)]
    for number in (2, 1):
        encoder.gate(number).set()
        assert stream.answer() == number


def test_an_exclusive_batch_waits_until_nothing_is_beside_it_and_lets_nothing_come(encoder, stream):
    stream.send(1)
    begin(encoder, 1)
    stream.send(2, room=Room.EXCLUSIVE)
    stream.send(3)
    assert encoder.begun.empty()
    for number, method in ((1, "encode"), (2, "encode_in_lane")):
        encoder.gate(number).set()
        assert stream.answer() == number
        assert begin(encoder, 1) == [(method, number + 1)]
    encoder.gate(3).set()
    assert stream.answer() == 3


def test_a_batch_that_fails_takes_no_lane_with_it(encoder, stream):
    for number in (-1, -2, -3):
        encoder.gate(number).set()
        stream.send(number)
        answer = stream.answers.get(timeout=SECONDS)
        assert answer.kind is Kind.FAILED
        assert b"as it was told" in answer.payload
    begin(encoder, 3)
    test_batches_are_computed_side_by_side_and_answered_as_they_end(encoder, stream)


@pytest.mark.parametrize("encoder", [Deep()])
def test_an_exclusive_batch_is_not_launched_beside_another(encoder, stream):
    stream.send(1)
    assert begin(encoder, 2) == [("launch", 1), ("collect", 1)]
    stream.send(2, room=Room.EXCLUSIVE)
    stream.send(3)
    for number in (1, 2):
        assert encoder.begun.empty()
        encoder.gate(number).set()
        assert stream.answer() == number
        assert begin(encoder, 2) == [("launch", number + 1), ("collect", number + 1)]
    encoder.gate(3).set()
    assert stream.answer() == 3

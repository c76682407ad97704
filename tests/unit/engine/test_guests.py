"""guests: the batches of several processes, one of each in turn."""

import socket
import threading
from contextlib import ExitStack, closing

import pytest

from embedsvc.engine.guests import TOKENS, take_turns
from embedsvc.engine.sharing import listen
from embedsvc.engine.wire import ANSWER, Answer, Batch, Kind, encode_batch

SECONDS = 20
READY = Answer(Kind.READY, b"{}", 0.5)


class Peer:
    """The other side of a connection, in this thread. Its batches have numbers from 100 on.

    Attributes:
        number: Of the last answer.
    """

    def __init__(self, connection):
        self.sent, self.number = 0, None
        connection.settimeout(SECONDS)
        self.connection = connection
        self.file = connection.makefile("rb")

    def send(self, *batches):
        for batch in batches:
            self.connection.sendall(encode_batch(Batch(100 + self.sent, batch)))
            self.sent += 1

    def answer(self):
        kind, self.number, size, _, seconds = ANSWER.unpack(self.file.read(ANSWER.size))
        return Kind(kind), self.file.read(size), seconds

    def result(self):
        """The answer to a batch, of which it was told before that it has begun."""
        assert self.answer()[:2] == (Kind.BEGUN, b"")
        begun = self.number
        answer = self.answer()
        assert self.number == begun
        return answer

    def close(self):
        self.file.close()
        self.connection.close()


@pytest.fixture
def stack():
    with ExitStack() as opened:
        yield opened


@pytest.fixture
def owner(stack):
    """The owner's side, with the worker's beside it as `theirs`."""
    ours, theirs = socket.socketpair()
    peer = Peer(ours)
    peer.theirs = stack.enter_context(theirs)
    stack.callback(peer.close)
    return peer


@pytest.fixture
def listener(stack, tmp_path):
    return stack.enter_context(listen(tmp_path / "door"))


@pytest.fixture
def guest(stack, tmp_path, listener):
    """Makes a guest, who waits at the door."""

    def come():
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(tmp_path / "door"))
        peer = Peer(connection)
        stack.callback(peer.close)
        return peer

    return come


@pytest.fixture
def turns(owner, listener):
    """The batches as they come, each begun at once, and how it is answered."""
    with closing(take_turns(owner.theirs, listener, READY)) as batches:
        yield ((batch, begin()) for batch, begin in batches)


def first_ids(batch):
    return [int(text[0]) for text in batch.texts]


def test_a_guest_is_told_what_the_replica_is_and_its_batch_is_answered(guest, turns):
    visitor = guest()
    visitor.send([[5, 6], [7]])
    batch, reply = next(turns)
    assert [ids.tolist() for ids in batch.texts] == [[5, 6], [7]]
    reply(Answer(Kind.VECTORS, b"abc", 0.25))
    assert visitor.answer() == (Kind.READY, b"{}", 0.5)
    assert visitor.result() == (Kind.VECTORS, b"abc", 0.25)


def test_nobody_s_second_batch_goes_before_another_s_first(guest, turns):
    greedy, modest = guest(), guest()
    greedy.send([[0]])
    modest.send([[0]])
    assert [first_ids(next(turns)[0]) for _ in range(2)] == [[0], [0]]
    greedy.send(*([[number]] for number in range(100, 110)))
    modest.send([[1]], [[2]])
    order = [first_ids(next(turns)[0])[0] for _ in range(12)]
    assert order.index(1) in (0, 1)
    assert order.index(2) in (2, 3)
    assert [number for number in order if number >= 100] == list(range(100, 110))


def test_the_owner_s_batch_has_its_turn_too_and_is_answered_to_him(guest, turns, owner):
    greedy = guest()
    greedy.send(*([[number]] for number in range(100, 110)))
    owner.send([[1]])
    order = [next(turns) for _ in range(3)]
    [(_, reply)] = [(batch, reply) for batch, reply in order if first_ids(batch) == [1]]
    reply(Answer(Kind.VECTORS, b"mine"))
    heard = [owner.answer()[:2] for _ in range(4)]
    assert [kind for kind, _ in heard].count(Kind.VISIT) == 2
    assert heard.index((Kind.BEGUN, b"")) < heard.index((Kind.VECTORS, b"mine"))


def test_the_owner_hears_when_a_guest_s_batch_begins_and_how_it_ends(guest, turns, owner):
    visitor = guest()
    visitor.send([[1, 2], [3]], [[4]])
    for outcome in (Kind.VECTORS, Kind.FAILED):
        batch, reply = next(turns)
        kind, payload, _ = owner.answer()
        assert (kind, TOKENS.unpack(payload)) == (Kind.VISIT, (batch.tokens,))
        begun = owner.number
        reply(Answer(outcome, b"whatever it is", 0.125))
        assert owner.answer() == (Kind.ENDED, bytes([outcome]), 0.125)
        assert owner.number == begun


def test_a_batch_has_not_begun_before_that_is_said(guest, owner, listener):
    visitor = guest()
    visitor.send([[1]])
    with closing(take_turns(owner.theirs, listener, READY)) as batches:
        _, begin = next(batches)
        assert visitor.answer()[0] is Kind.READY
        for peer in (visitor, owner):
            peer.connection.settimeout(0.05)
            with pytest.raises(TimeoutError):
                peer.connection.recv(1, socket.MSG_PEEK)
            peer.connection.settimeout(SECONDS)
        begin()
        assert (visitor.answer()[0], owner.answer()[0]) == (Kind.BEGUN, Kind.VISIT)


def test_batches_that_end_in_another_order_are_told_by_their_numbers(guest, turns, owner):
    one, other = guest(), guest()
    for visitor in (one, other):
        visitor.send([[1, 2]])
    owner.send([[1]])
    replies = [next(turns)[1] for _ in range(3)]
    begun = [(owner.answer()[0], owner.number) for _ in range(3)]
    visits = [number for kind, number in begun if kind is Kind.VISIT]
    assert [number for kind, number in begun if kind is Kind.BEGUN] == [100]
    for at, reply in reversed([*enumerate(replies)]):
        reply(Answer(Kind.VECTORS, bytes([at])))
    heard = [(owner.answer()[0], owner.number) for _ in range(3)]
    assert [number for kind, number in heard if kind is Kind.ENDED] == visits[::-1]
    assert [number for kind, number in heard if kind is Kind.VECTORS] == [100]
    for visitor in (one, other):
        assert visitor.answer()[0] is Kind.READY
        assert (visitor.result()[0], visitor.number) == (Kind.VECTORS, 100)


def test_the_answer_to_a_guest_that_has_left_meanwhile_harms_nobody(guest, turns, owner):
    leaving, staying = guest(), guest()
    leaving.send([[1]])
    _, reply = next(turns)
    leaving.close()
    staying.send([[7]])
    assert first_ids(next(turns)[0]) == [7]  # and by now its line is closed here, too
    reply(Answer(Kind.VECTORS, b"for nobody"))
    assert [owner.answer()[0] for _ in range(3)] == [Kind.VISIT, Kind.VISIT, Kind.ENDED]


def test_it_is_over_when_the_owner_is_gone(guest, turns, owner):
    guest()
    owner.close()
    assert list(turns) == []


@pytest.mark.parametrize("left_over", [b"", encode_batch(Batch(0, [[1, 2, 3]]))[:-2], b"\x01"])
def test_a_guest_that_leaves_even_in_the_middle_of_a_batch_is_forgotten(guest, turns, owner, left_over):
    leaving = guest()
    leaving.connection.sendall(left_over)
    leaving.close()
    staying = guest()
    staying.send([[7]])
    assert first_ids(next(turns)[0]) == [7]


def test_a_guest_that_stops_in_the_middle_of_a_batch_is_left(guest, turns, monkeypatch):
    monkeypatch.setattr("embedsvc.engine.guests.STALL_SECONDS", 0.05)
    stuck, other = guest(), guest()
    stuck.connection.sendall(encode_batch(Batch(0, [[1, 2, 3]]))[:-2])
    other.send([[7]])
    assert first_ids(next(turns)[0]) == [7]
    other.send([[8]])
    assert first_ids(next(turns)[0]) == [8]
    assert stuck.answer()[0] is Kind.READY
    assert stuck.file.read() == b""


def test_a_guest_that_reads_no_answer_is_left_and_the_owner_hears_of_its_end(
    guest, turns, owner, monkeypatch
):
    monkeypatch.setattr("embedsvc.engine.guests.STALL_SECONDS", 0.05)
    deaf, other = guest(), guest()
    deaf.send([[1]], [[2]])
    _, reply = next(turns)
    reply(Answer(Kind.VECTORS, bytes(10_000_000)))
    assert [owner.answer()[0] for _ in range(2)] == [Kind.VISIT, Kind.ENDED]
    other.send([[7]])
    assert 7 in {first_ids(next(turns)[0])[0] for _ in range(2)}


def test_answers_may_come_from_another_thread(guest, turns, owner):
    visitor = guest()
    numbers = range(50)
    visitor.send(*([[number]] for number in numbers))

    def answer_all():
        for batch, reply in turns:
            answer = Answer(Kind.VECTORS, bytes(first_ids(batch)))
            thread = threading.Thread(target=reply, args=(answer,))
            thread.start()
            thread.join()

    answering = threading.Thread(target=answer_all)
    answering.start()
    assert visitor.answer()[0] is Kind.READY
    assert [visitor.result()[1] for _ in numbers] == [bytes([number]) for number in numbers]
    assert [owner.answer()[0] for _ in numbers for _ in range(2)] == 50 * [Kind.VISIT, Kind.ENDED]
    owner.close()
    answering.join(SECONDS)
    assert not answering.is_alive()

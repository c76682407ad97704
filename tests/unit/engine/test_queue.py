"""queue: conservation, bounds, fairness, priorities and accounting, over any load that hypothesis finds."""

import random
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedsvc.engine.limits import BatchLimits
from embedsvc.engine.queue import BULK_SHARE, TURNS, FairQueue
from embedsvc.engine.window import WINDOW_BATCHES


@dataclass(eq=False)
class Text:
    length: int
    caller: str = "a"
    bulk: bool = False
    dead: bool = False
    deadline: float | None = None


def texts(*lengths, caller="a", bulk=False):
    return [Text(length, caller, bulk) for length in lengths]


def take_all(queue):
    batches = []
    while batch := queue.take():
        batches.append(batch)
    return batches


def within(limits, batch):
    lengths = [text.length for text in batch]
    spent = max(lengths) * len(lengths) if limits.padded else sum(lengths)
    return len(batch) == 1 or (spent <= limits.tokens and len(batch) <= limits.texts)


LIMITS = st.builds(
    BatchLimits, st.sampled_from([1, 16, 64, 1024]), st.sampled_from([1, 4, 32, 256]), st.booleans()
)
LENGTH = st.one_of(st.integers(1, 20), st.integers(1, 700), st.sampled_from([1, 512, 513, 2000]))
REQUEST = st.tuples(st.lists(LENGTH, max_size=12), st.sampled_from("abcd"), st.booleans())
STEP = st.one_of(
    REQUEST.map(lambda request: ("add", request)),
    st.tuples(st.just("take"), st.none() | st.integers(1, 2000)),
    st.tuples(st.just("put back"), st.integers(0, 40)),
    st.tuples(st.just("die"), st.integers(0, 40)),
)


@given(LIMITS, st.lists(STEP, max_size=60))
def test_whatever_happens_every_living_text_comes_out_once_within_bounds_and_counted(limits, steps):
    queue, alive, out = FairQueue(limits), [], []
    for step, value in steps:
        if step == "add":
            lengths, caller, bulk = value
            added = texts(*lengths, caller=caller, bulk=bulk)
            queue.add(added)
            alive += added
        elif step == "take":
            batch = queue.take(value)
            assert not batch or within(limits, batch)
            assert not any(text.dead for text in batch)
            out.append(batch)
        elif step == "put back":
            batch = out.pop(value % len(out)) if out else []
            queue.put_back([batch[::2], batch[1::2]])
        elif alive:
            chosen = alive[value % len(alive)]
            chosen.dead = not any(chosen in batch for batch in out)
    out += take_all(queue)
    taken = [text for batch in out for text in batch]
    assert Counter(map(id, taken)) == Counter(id(text) for text in alive if not text.dead)
    assert queue.tokens == 0


@given(LIMITS, st.lists(REQUEST, max_size=20), st.integers(0, 10))
def test_tokens_are_those_of_what_waits_and_draining_gives_back_all_of_it(limits, requests, takes):
    queue, waiting = FairQueue(limits), []
    for lengths, caller, bulk in requests:
        added = texts(*lengths, caller=caller, bulk=bulk)
        queue.add(added)
        waiting += added
    for _ in range(takes):
        for text in queue.take():
            waiting.remove(text)
        assert queue.tokens == sum(text.length for text in waiting)
    assert Counter(map(id, queue.drain())) == Counter(map(id, waiting))
    assert (queue.tokens, queue.drain(), queue.take()) == (0, [], [])


def test_an_empty_queue_gives_no_batch():
    queue = FairQueue(BatchLimits(64, 32))
    assert not queue
    assert queue.take() == []


@pytest.mark.parametrize("padded", [True, False])
def test_a_text_over_the_limit_is_a_batch_of_its_own(padded):
    queue = FairQueue(BatchLimits(64, 32, padded))
    queue.add(texts(10, 500, 10, 65, 10))
    batches = [[text.length for text in batch] for batch in take_all(queue)]
    assert [500] in batches
    assert [65] in batches


@given(st.lists(st.integers(1, 60), min_size=1, max_size=200))
def test_without_padding_one_caller_s_texts_come_in_order_and_no_batch_could_take_the_next(lengths):
    limits = BatchLimits(64, 32, padded=False)
    queue, waiting = FairQueue(limits), texts(*lengths)
    queue.add(waiting)
    batches = take_all(queue)
    assert [text for batch in batches for text in batch] == waiting
    for batch, following in pairwise(batches):
        assert not within(limits, [*batch, following[0]])


@pytest.mark.parametrize("seed", range(10))
def test_padded_batches_group_like_lengths(seed):
    chance = random.Random(seed)
    queue = FairQueue(BatchLimits(1024, 256))
    lengths = [chance.randint(3, 256) for _ in range(1000)]
    queue.add(texts(*lengths))
    spent = sum(max(text.length for text in batch) * len(batch) for batch in take_all(queue))
    spent_in_order = sum(max(lengths[start : start + 8]) * 8 for start in range(0, len(lengths), 8))
    assert spent < 1.25 * sum(lengths) < spent_in_order


@given(
    st.sampled_from([BatchLimits(256, 64), BatchLimits(64, 32), BatchLimits(256, 64, padded=False)]),
    st.lists(LENGTH, min_size=1, max_size=8),
    st.integers(1, 10),
    st.integers(0, 10),
)
def test_a_short_text_waits_for_a_turn_of_every_other_caller_however_much_they_queued(
    limits, lengths, others, before
):
    queue = FairQueue(limits)
    for number in range(others):
        queue.add(texts(*(lengths * 200), caller=f"long-{number}"))
    for _ in range(before):
        queue.take()
    text = Text(5, "short")
    queue.add([text])
    waited = 0
    while text not in (batch := queue.take()):
        waited += sum(other.length if not limits.padded else max(t.length for t in batch) for other in batch)
    # A turn ends with the text that it cannot pay for in full.
    turn = limits.tokens // TURNS + max(map(limits.charge, lengths))
    window = WINDOW_BATCHES * max(limits.tokens, *lengths) if limits.padded else 0
    assert waited <= 3 * (others * turn + window + max(lengths))


@pytest.mark.parametrize("padded", [True, False])
def test_callers_with_much_to_do_share_by_tokens_not_by_texts(padded):
    queue = FairQueue(BatchLimits(1024, 256, padded))
    queue.add(texts(*[256] * 1000, caller="long"))
    queue.add(texts(*[16] * 16000, caller="short"))
    served = Counter()
    while sum(served.values()) < 100_000:
        for text in queue.take():
            served[text.caller] += text.length
    assert served["long"] == pytest.approx(served["short"], rel=0.1)


def test_a_million_waiting_texts_of_one_caller_let_another_s_into_the_next_batch():
    queue = FairQueue(BatchLimits(1024, 256, padded=False))
    queue.add(texts(*[100] * 20_000, caller="stream"))
    queue.take()
    [text] = texts(5, caller="one")
    queue.add([text])
    assert text in queue.take()


def test_interactive_work_goes_first_and_bulk_work_has_its_share():
    queue = FairQueue(BatchLimits(1024, 256, padded=False))
    queue.add(texts(*[16] * 10_000, caller="batch job", bulk=True))
    queue.add(texts(*[16] * 10_000, caller="person"))
    served = Counter()
    while sum(served.values()) < 50_000:
        for text in queue.take():
            served[text.bulk] += text.length
    assert served[False] / served[True] == pytest.approx(BULK_SHARE, rel=0.05)


def test_bulk_work_alone_has_everything_and_saves_nothing_up():
    queue = FairQueue(BatchLimits(64, 32, padded=False))
    queue.add(texts(*[16] * 100, caller="person"))
    for _ in range(20):
        queue.take()
    queue.add(texts(*[16] * 8, bulk=True))
    assert not any(text.bulk for text in queue.take())
    queue.drain()
    queue.add(texts(*[16] * 8, bulk=True))
    assert [len(batch) for batch in take_all(queue)] == [4, 4]


def test_what_is_put_back_is_taken_first_in_its_groups_and_without_its_dead():
    queue = FairQueue(BatchLimits(64, 32, padded=False))
    queue.add(texts(8, 8))
    first, second, third = texts(1, 2, 3)
    queue.put_back([[first, second], [third], []])
    second.dead = True
    assert queue.tokens == 22
    assert [queue.take(), queue.take()] == [[first], [third]]
    assert len(queue.take()) == 2


@pytest.mark.parametrize("padded", [True, False])
def test_a_share_bounds_a_batch_but_neither_a_text_nor_what_was_put_back(padded):
    queue = FairQueue(BatchLimits(64, 32, padded))
    queue.add(texts(4, 4, 4, 4))
    assert list(map(len, (queue.take(10), queue.take(1), queue.take(64)))) == [2, 1, 1]
    group = texts(4, 4, 4)
    queue.put_back([group])
    assert queue.take(1) == group


def test_of_what_is_kept_the_dead_are_half_at_most_though_nobody_takes_batches():
    queue = FairQueue(BatchLimits(64, 32, padded=False))
    alive = texts(*[10] * 4)
    queue.add(alive)
    for number in range(100):
        request = texts(*[50] * 10, caller=f"gone-{number}", bulk=bool(number % 2))
        queue.add(request)
        for text in request:
            text.dead = True
        queue.leave(500)
        assert queue.tokens <= 2 * 500 + 40
    assert [text for batch in take_all(queue) for text in batch] == alive


@pytest.mark.parametrize(
    ("count", "total", "longest", "padded", "good"),
    [
        (4, 40, 16, True, True),
        (5, 40, 16, True, False),
        (5, 64, 32, False, True),
        (5, 65, 32, False, False),
        (33, 33, 1, False, False),
        (1, 999, 999, True, True),
    ],
)
def test_a_batch_is_measured_as_the_encoder_will_spend_it(count, total, longest, padded, good):
    assert BatchLimits(64, 32, padded).admits(count, total, longest) is good

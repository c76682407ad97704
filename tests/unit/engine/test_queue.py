"""queue: conservation, limits, fairness and exact accounting, over many random loads."""

import random
from collections import Counter
from dataclasses import dataclass

import pytest

from embedsvc.engine.queue import WINDOW_BATCHES, BatchLimits, FairQueue

SEEDS = range(10)
LIMITS = [
    BatchLimits(tokens, texts, padded)
    for tokens, texts in [(1024, 256), (64, 32), (16, 32), (1, 1)]
    for padded in (True, False)
]
LENGTHS = {
    "any": lambda chance: chance.randint(1, 512),
    "short": lambda chance: chance.randint(3, 20),
    "extremes": lambda chance: chance.choice([1, 512]),
    "awkward": lambda chance: chance.choice([3, 513, 700]),
    "too long": lambda chance: chance.choice([5, 2000]),
}


@dataclass(eq=False)
class Text:
    length: int
    caller: str = "a"
    dead: bool = False


def texts(*lengths, caller="a"):
    return [Text(length, caller) for length in lengths]


def take_all(queue):
    batches = []
    while queue:
        batches.append(queue.take())
    return batches


def within(limits, batch):
    lengths = [text.length for text in batch]
    spent = max(lengths) * len(lengths) if limits.padded else sum(lengths)
    return len(batch) == 1 or (spent <= limits.tokens and len(batch) <= limits.texts)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("limits", LIMITS, ids=str)
def test_nothing_is_lost_taken_twice_over_the_limits_or_miscounted(limits, seed):
    chance, queue = random.Random(seed), FairQueue(limits)
    alive, taken = [], []
    for _ in range(150):
        if chance.random() < 0.5:
            length = chance.choice(list(LENGTHS.values()))
            added = [Text(length(chance), chance.choice("abcde")) for _ in range(chance.randint(1, 8))]
            alive += added
            queue.add(added)
        else:
            batch = queue.take()
            assert not batch or within(limits, batch)
            taken += batch
        waiting = sum(text.length for text in alive) - sum(text.length for text in taken)
        assert queue.tokens == waiting
    for batch in take_all(queue):
        assert within(limits, batch)
        taken += batch
    assert Counter(map(id, taken)) == Counter(map(id, alive))
    assert queue.tokens == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_dead_texts_take_no_place_and_are_not_counted_once_met(seed):
    chance, queue = random.Random(seed), FairQueue(BatchLimits(64, 32))
    everyone, taken = [], []
    for _ in range(100):
        added = [Text(chance.randint(1, 80), chance.choice("abc")) for _ in range(chance.randint(1, 6))]
        everyone += added
        queue.add(added)
        for text in chance.sample(everyone, k=min(4, len(everyone))):
            text.dead = text not in taken
        batch = queue.take()
        assert not any(text.dead for text in batch)
        taken += batch
    for batch in take_all(queue):
        assert not any(text.dead for text in batch)
        taken += batch
    assert {id(text) for text in taken} == {id(text) for text in everyone if not text.dead}
    assert len(taken) == len({id(text) for text in taken})
    assert queue.tokens == 0


def test_a_queue_of_the_dead_gives_no_batch_and_is_empty_then():
    queue = FairQueue(BatchLimits(64, 32))
    waiting = texts(*[5] * 50)
    queue.add(waiting)
    queue.take()
    for text in waiting:
        text.dead = True
    assert queue.take() == []
    assert not queue
    assert queue.tokens == 0


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


def test_what_fits_into_one_batch_is_one_batch():
    queue = FairQueue(BatchLimits(64, 32))
    queue.add(texts(8, 1, 3, 8, 8, 2, 5, 8))
    assert len(queue.take()) == 8
    assert not queue


def test_one_caller_s_texts_of_one_length_come_in_order():
    queue = FairQueue(BatchLimits(64, 32, padded=False))
    waiting = texts(*[16] * 40)
    queue.add(waiting)
    batches = take_all(queue)
    assert [text for batch in batches for text in batch] == waiting
    assert {len(batch) for batch in batches} == {4}


@pytest.mark.parametrize("seed", SEEDS)
def test_padded_batches_group_like_lengths(seed):
    chance = random.Random(seed)
    queue = FairQueue(BatchLimits(1024, 256))
    lengths = [chance.randint(3, 256) for _ in range(1000)]
    queue.add(texts(*lengths))
    spent = sum(max(text.length for text in batch) * len(batch) for batch in take_all(queue))
    spent_in_order = sum(max(lengths[start : start + 8]) * 8 for start in range(0, len(lengths), 8))
    assert spent < 1.25 * sum(lengths) < spent_in_order


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("others", [1, 3, 10])
@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("shape", [(1024, 256), (64, 32), (4096, 32)], ids=str)
def test_a_short_text_waits_for_a_turn_of_every_other_caller_however_much_they_queued(
    shape, lengths, others, padded
):
    waits = [_batches_before_served(BatchLimits(*shape, padded), lengths, others, seed) for seed in range(3)]
    # A turn is a batch's worth, which awkward lengths spread over three; then the window is drained.
    assert max(waits) <= 3 * (others + WINDOW_BATCHES)


def _batches_before_served(limits, lengths, others, seed):
    chance, queue = random.Random(seed), FairQueue(limits)
    for _ in range(1200):
        queue.add(Text(LENGTHS[lengths](chance), f"bulk-{number}") for number in range(others))
    for _ in range(chance.randrange(10)):
        queue.take()
    text = Text(chance.randint(3, 12), "interactive")
    queue.add([text])
    count = 1
    while text not in queue.take():
        count += 1
    return count


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


def test_draining_gives_back_everything_that_was_not_taken():
    queue = FairQueue(BatchLimits(64, 32))
    waiting = texts(*range(1, 60)) + texts(*range(1, 60), caller="b")
    queue.add(waiting)
    taken = queue.take()
    drained = queue.drain()
    assert {id(text) for text in taken + drained} == {id(text) for text in waiting}
    assert len(taken) + len(drained) == len(waiting)
    assert not queue
    assert (queue.tokens, queue.drain(), queue.take()) == (0, [], [])


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

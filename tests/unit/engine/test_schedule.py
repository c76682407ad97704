"""schedule: a simulated clock, replicas of any speed, and loads that hypothesis finds."""

from collections import Counter
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_queue import LIMITS, REQUEST, Text, texts, within

from embedsvc.engine.limits import BatchLimits
from embedsvc.engine.schedule import LEAST_SHARE, RECOVERY, Scheduler
from embedsvc.engine.wire import Room

SECONDS_A_TOKEN = 0.001

WORTH_ALL = 128


def refused(text):
    raise AssertionError("nothing here has a deadline")


@dataclass
class Simulation:
    """Replicas that take a while for each token, on a clock of their own; a lane has its part of the speed.

    Attributes:
        ended: When each text was computed.
    """

    scheduler: Scheduler
    speeds: dict[str, float]
    depth: int = 1
    lanes: int = 1

    def __post_init__(self):
        self.now, self.ended, self.late, self.batches = 0.0, {}, [], []
        self._events, self._order = [], count()
        self._free_at = {replica: [0.0] * self.lanes for replica in self.speeds}
        for replica in self.speeds:
            self.scheduler.join(replica, max(self.depth, self.lanes), self.lanes)

    def at(self, when, request):
        heappush(self._events, (when, next(self._order), "arrive", request))

    def run(self):
        while self._events:
            self.now, _, what, value = heappop(self._events)
            if what == "arrive":
                self.scheduler.queue.add(value)
            else:
                assignment, seconds = value
                self.scheduler.finish(assignment, seconds)
                self.ended |= {id(text): self.now for text in assignment.batch}
            self._dispatch()

    def _dispatch(self):
        while assignment := self.scheduler.next(self.now, self.late.append):
            self._start(assignment)

    def _start(self, assignment):
        self.batches.append(assignment)
        lanes = self._free_at[assignment.replica]
        lanes.sort()
        taken = 1 if assignment.room is Room.LANE else self.lanes
        seconds = assignment.tokens * self.speeds[assignment.replica] * self.lanes / taken
        end = max(self.now, lanes[taken - 1]) + seconds
        lanes[:taken] = [end] * taken
        heappush(self._events, (end, next(self._order), "end", (assignment, seconds)))


ARRIVALS = st.lists(st.tuples(st.floats(0, 5), REQUEST), max_size=40)
SPEEDS = st.lists(st.sampled_from([0.0005, 0.001, 0.004]), min_size=1, max_size=3).map(
    lambda speeds: {f"cuda:{at}": speed for at, speed in enumerate(speeds)}
)


@given(LIMITS, ARRIVALS, SPEEDS, st.sampled_from([(1, 1), (2, 1), (2, 2), (4, 4)]))
def test_everything_is_computed_once_within_bounds_however_it_arrives(limits, arrivals, speeds, shape):
    simulation, everything = Simulation(Scheduler(limits), speeds, *shape), []
    for when, (lengths, caller, bulk) in arrivals:
        request = texts(*lengths, caller=caller, bulk=bulk)
        everything += request
        simulation.at(when, request)
    simulation.run()
    assert Counter(id(text) for one in simulation.batches for text in one.batch) == Counter(
        map(id, everything)
    )
    assert all(within(limits, one.batch) for one in simulation.batches)
    assert simulation.late == []


@given(ARRIVALS, st.floats(0.01, 10), SPEEDS)
def test_what_has_a_deadline_is_computed_or_given_back_and_nothing_is_begun_after_it(
    arrivals, patience, speeds
):
    simulation, everything = Simulation(Scheduler(BatchLimits(64, 32, padded=False)), speeds), []
    for when, (lengths, caller, bulk) in arrivals:
        request = [Text(length, caller, bulk, deadline=when + patience) for length in lengths]
        everything += request
        simulation.at(when, request)
    simulation.run()
    assert len(simulation.late) + len(simulation.ended) == len(everything)
    assert not {id(text) for text in simulation.late} & simulation.ended.keys()


@given(ARRIVALS, SPEEDS, st.sampled_from([1, 2, 4]))
def test_no_lane_of_any_replica_idles_while_work_waits(arrivals, speeds, lanes):
    scheduler = Scheduler(BatchLimits(64, 32, padded=False))
    simulation = Simulation(scheduler, speeds, lanes=lanes)
    for when, (lengths, caller, bulk) in arrivals:
        simulation.at(when, texts(*lengths, caller=caller, bulk=bulk))
    dispatch = simulation._dispatch

    def checked():
        dispatch()
        idle = any(load.taken < load.lanes for load in scheduler._loads.values())
        assert not (idle and scheduler.queue)

    simulation._dispatch = checked
    simulation.run()


@pytest.mark.parametrize("bulk", [True, False])
def test_a_caller_of_one_text_beside_a_million_waits_for_three_batches_at_most(bulk):
    """The one under way, the one made ahead, and its own."""
    limits = BatchLimits(1024, 256, padded=False)
    simulation = Simulation(Scheduler(limits), {"cpu": SECONDS_A_TOKEN})
    simulation.at(0, texts(*[64] * 15_625, caller="stream", bulk=bulk))
    waits = []
    for second in range(1, 100):
        [text] = request = texts(5, caller="one")
        simulation.at(second * 7.7, request)
        waits.append((second * 7.7, text))
    simulation.run()
    longest = max(simulation.ended[id(text)] - when for when, text in waits)
    assert longest <= 3 * limits.tokens * SECONDS_A_TOKEN


def test_of_free_replicas_the_one_with_the_fewest_tokens_under_way_is_given_the_batch():
    scheduler = Scheduler(BatchLimits(64, 32, padded=False))
    for replica in ("a", "b", "c"):
        scheduler.join(replica, depth=1)
    scheduler.queue.add(texts(*[32] * 20))
    chosen = [scheduler.next(0, refused) for _ in range(3)]
    assert [one.replica for one in chosen] == ["a", "b", "c"]
    scheduler.finish(chosen[1], 0.1)
    assert scheduler.next(0, refused).replica == "b"


def test_an_idle_replica_starts_at_once_and_a_busy_one_lets_the_batch_grow():
    scheduler = Scheduler(BatchLimits(64, 32, padded=False))
    scheduler.join("cpu", depth=2)
    scheduler.queue.add(texts(5))
    first = scheduler.next(0, refused)
    assert first.tokens == 5
    for length in (5, 6):
        scheduler.queue.add(texts(length))
        assert scheduler.next(0, refused) is None
    scheduler.finish(first, 0.1)
    assert scheduler.next(0, refused).tokens == 11


@pytest.mark.parametrize("depth", [1, 2])
def test_full_batches_are_made_for_what_a_replica_works_on_at_once_and_one_ahead(depth):
    scheduler = Scheduler(BatchLimits(64, 32, padded=False))
    scheduler.join("cpu", depth)
    scheduler.queue.add(texts(*[32] * 20))
    made = 0
    while scheduler.next(0, refused):
        made += 1
    assert made == depth + 1


def test_lanes_that_are_free_at_the_same_time_share_what_waits():
    scheduler = Scheduler(BatchLimits(1024, 256, padded=False))
    scheduler.join("cpu", depth=2, lanes=2)
    scheduler.queue.add(texts(*[16] * 16))
    shares = [scheduler.next(0, refused) for _ in range(2)]
    assert [(share.tokens, share.room) for share in shares] == 2 * [(128, Room.LANE)]
    assert scheduler.next(0, refused) is None


def test_a_lane_that_is_free_beside_a_busy_one_takes_all_that_waits():
    scheduler = Scheduler(BatchLimits(1024, 256, padded=False))
    scheduler.join("cpu", depth=2, lanes=2)
    scheduler.queue.add(texts(*[16] * 16))
    first, _ = scheduler.next(0, refused), scheduler.next(0, refused)
    scheduler.queue.add(texts(*[16] * 16))
    assert scheduler.next(0, refused) is None
    scheduler.finish(first, 0.1)
    assert scheduler.next(0, refused).tokens == 256


def test_what_is_too_little_to_share_takes_one_lane_and_leaves_the_other_to_who_comes():
    scheduler = Scheduler(BatchLimits(1024, 256, padded=False))
    scheduler.join("cpu", depth=2, lanes=2, worth_all=WORTH_ALL)
    scheduler.queue.add(texts(*[16] * (LEAST_SHARE // 16)))
    first = scheduler.next(0, refused)
    assert (first.tokens, first.room) == (LEAST_SHARE, Room.LANE)
    scheduler.queue.add(texts(WORTH_ALL))
    second = scheduler.next(0, refused)
    assert (second.tokens, second.room) == (WORTH_ALL, Room.LANE)


def test_a_long_text_without_company_has_all_lanes():
    scheduler = Scheduler(BatchLimits(1024, 256, padded=False))
    scheduler.join("cpu", depth=2, lanes=2, worth_all=WORTH_ALL)
    scheduler.queue.add(texts(WORTH_ALL))
    alone = scheduler.next(0, refused)
    assert alone.room is Room.ALL
    scheduler.queue.add(texts(16))
    assert scheduler.next(0, refused) is None
    scheduler.finish(alone, 0.1)
    assert scheduler.next(0, refused).tokens == 16


def test_where_a_short_text_is_worth_all_lanes_it_has_them_until_it_has_company():
    scheduler = Scheduler(BatchLimits(1024, 256, padded=False))
    for replica in ("a", "b"):
        scheduler.join(replica, depth=2, lanes=2, worth_all=1)
    rooms = []
    for _ in range(3):
        scheduler.queue.add(texts(16))
        rooms.append(scheduler.next(0, refused))
    assert [(one.replica, one.room) for one in rooms] == [
        ("a", Room.ALL),
        ("b", Room.LANE),  # which may be on the same cores
        ("b", Room.LANE),
    ]
    for one in rooms:
        scheduler.finish(one, 0.1)
    scheduler.queue.add(texts(16))
    assert scheduler.next(0, refused).room is Room.ALL


def test_what_was_set_apart_has_a_replica_to_itself_and_the_others_go_on():
    scheduler = Scheduler(BatchLimits(64, 32, padded=False))
    for replica in ("a", "b"):
        scheduler.join(replica, depth=2, lanes=2)
    scheduler.queue.add(texts(*[32] * 40))
    [first, *others] = [scheduler.next(0, refused) for _ in range(6)]
    suspect = first.batch
    scheduler.leave("a")
    scheduler.set_apart(first, parts=2)
    scheduler.join("a", depth=2, lanes=2)
    of_b = [one for one in others if one.replica == "b"]
    for text in suspect:
        alone = scheduler.next(0, refused)
        assert (alone.replica, alone.batch, alone.room) == ("a", [text], Room.EXCLUSIVE)
        assert scheduler.next(0, refused) is None, "b is full, and a has enough"
        scheduler.finish(of_b.pop(), 0.1)
        assert scheduler.next(0, refused).replica == "b"
        scheduler.finish(alone, 0.1)
    rest = [scheduler.next(0, refused) for _ in range(3)]
    assert {(one.replica, one.room) for one in rest} == {("a", Room.LANE)}
    assert {one.replica for one in others} == {"a", "b"}


def test_a_busy_replica_drains_for_what_was_set_apart():
    scheduler = Scheduler(BatchLimits(64, 32, padded=False))
    scheduler.join("cpu", depth=1)
    scheduler.queue.add(texts(*[32] * 20))
    failed, busy = scheduler.next(0, refused), scheduler.next(0, refused)
    scheduler.finish(failed, None)
    scheduler.set_apart(failed)
    assert scheduler.next(0, refused) is None
    scheduler.finish(busy, 0.1)
    assert scheduler.next(0, refused).batch == failed.batch


@pytest.mark.parametrize("again", [Scheduler.split, Scheduler.shrink])
def test_what_was_set_apart_stays_apart_in_its_parts(again):
    scheduler = Scheduler(BatchLimits(64, 32, padded=False))
    scheduler.join("cpu", depth=2)
    scheduler.queue.add(texts(8, 8))
    failed = scheduler.next(0, refused)
    scheduler.finish(failed, None)
    scheduler.set_apart(failed)
    apart = scheduler.next(0, refused)
    again(scheduler, apart)
    scheduler.finish(apart, None)
    for text in failed.batch:
        part = scheduler.next(0, refused)
        assert (part.batch, part.room) == ([text], Room.EXCLUSIVE)
        scheduler.finish(part, 0.1)


def test_what_was_set_apart_and_is_dead_holds_nobody_up():
    scheduler = Scheduler(BatchLimits(64, 32, padded=False))
    scheduler.join("cpu", depth=1)
    scheduler.queue.add(texts(8))
    failed = scheduler.next(0, refused)
    scheduler.finish(failed, None)
    scheduler.set_apart(failed)
    failed.batch[0].dead = True
    scheduler.queue.add(texts(9))
    assert scheduler.next(0, refused).tokens == 9


def test_full_batches_go_to_every_lane_and_one_ahead():
    scheduler = Scheduler(BatchLimits(64, 32, padded=False))
    scheduler.join("cpu", depth=2, lanes=2)
    scheduler.queue.add(texts(*[32] * 20))
    made = [assignment.tokens for assignment in iter(lambda: scheduler.next(0, refused), None)]
    assert made == [64, 64, 64]


def test_a_deadline_that_its_batch_would_miss_is_late_and_others_take_its_place():
    scheduler = Scheduler(BatchLimits(64, 32, padded=False))
    scheduler.join("cpu", depth=1)
    scheduler.pace.record(tokens=10, seconds=1.0)
    hurried, calm = Text(20, deadline=1.0), Text(20, deadline=3.0)
    scheduler.queue.add([hurried, calm])
    late = []
    assert scheduler.next(0.0, late.append).batch == [calm]
    assert late == [hurried]


def test_what_is_left_of_a_request_that_was_refused_is_not_computed():
    scheduler = Scheduler(BatchLimits(64, 32, padded=False))
    scheduler.join("cpu", depth=1)
    scheduler.pace.record(tokens=1, seconds=1.0)
    request = [Text(2, deadline=3.0) for _ in range(20)]

    def refuse(text):
        for sibling in request:
            sibling.dead = True

    scheduler.queue.add(request)
    assert scheduler.next(0.0, refuse) is None


def test_one_look_doubts_the_pace_once_however_many_texts_it_refuses():
    scheduler = Scheduler(BatchLimits(64, 32, padded=False))
    scheduler.join("cpu", depth=1)
    for _ in range(10):
        scheduler.pace.record(tokens=1, seconds=60.0)
    scheduler.queue.add([Text(1, deadline=1.0) for _ in range(30)])
    assert scheduler.next(0.0, lambda text: None) is None
    assert len(scheduler.pace) == 9


def test_work_refused_for_being_slow_is_tried_again_in_the_end():
    scheduler = Scheduler(BatchLimits(64, 32, padded=False))
    scheduler.join("cpu", depth=1)
    for _ in range(100):
        scheduler.pace.record(tokens=1, seconds=60.0)
    refused = 0
    while True:
        scheduler.queue.add([Text(1, deadline=1.0)])
        if scheduler.next(0.0, lambda text: None):
            break
        refused += 1
    assert 0 < refused <= 20


def test_after_memory_ran_out_batches_are_half_as_large_and_grow_back():
    scheduler = Scheduler(BatchLimits(64, 32, padded=False))
    scheduler.join("cpu", depth=1)
    scheduler.queue.add(texts(*[8] * 8))
    failed = scheduler.next(0, refused)
    scheduler.shrink(failed)
    scheduler.finish(failed, None)
    assert scheduler.queue.limits.tokens == 32
    for _ in range(RECOVERY):
        again = scheduler.next(0, refused)
        assert again.tokens <= 64
        scheduler.finish(again, 0.1)
        scheduler.queue.add(texts(8))
    assert scheduler.queue.limits.tokens == 64


def test_a_larger_batch_that_fails_later_does_not_make_batches_larger():
    scheduler = Scheduler(BatchLimits(64, 32, padded=False))
    scheduler.join("cpu", depth=2)
    scheduler.queue.add(texts(*[8] * 24))
    first, second = scheduler.next(0, refused), scheduler.next(0, refused)
    scheduler.shrink(first)
    scheduler.finish(first, None)
    smaller = scheduler.queue.limits.tokens
    scheduler.queue.limits = BatchLimits(8, 32, padded=False)
    scheduler.shrink(second)
    assert scheduler.queue.limits.tokens == 8 < smaller


def test_a_replica_that_has_left_is_given_nothing_and_what_it_had_may_end():
    scheduler = Scheduler(BatchLimits(64, 32, padded=False))
    scheduler.join("cpu", depth=1)
    scheduler.queue.add(texts(8))
    under_way = scheduler.next(0, refused)
    scheduler.leave("cpu")
    scheduler.split(under_way)
    scheduler.finish(under_way, None)
    assert scheduler.next(0, refused) is None
    scheduler.join("cuda:0", depth=1)
    assert scheduler.next(0, refused).batch == under_way.batch

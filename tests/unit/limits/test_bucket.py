"""limits.bucket: what one server may spend of a limit that it shares."""

import heapq
import itertools
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedsvc.limits.bucket import LATE_SECONDS, Bucket, Limit
from embedsvc.store.records import Grant

MINUTE = 60.0


def fresh(units=600):
    return Bucket(Limit("x", units, MINUTE))


def spend(bucket, units, now, times=1):
    """How many of some requests pass."""
    passed = 0
    for _ in range(times):
        if bucket.may_take(units, now):
            bucket.take(units, now)
            passed += 1
    return passed


def filled(units=600, remaining=None, now=0.0):
    """A bucket that has one block."""
    bucket = fresh(units)
    block = bucket.limit.block
    assert bucket.want(now).units == block
    bucket.wanted(now)
    bucket.granted(Grant(block, units - block if remaining is None else remaining, MINUTE), now)
    return bucket


def test_what_was_leased_is_spent_without_asking():
    bucket = filled()
    assert spend(bucket, 1, 1.0, 30) == 30
    assert bucket.remaining(1.0) == 570


def test_another_block_is_asked_for_before_the_last_is_gone():
    bucket = filled()
    spend(bucket, 1, 1.0, 29)
    assert not bucket.needs_lease(1.0)
    spend(bucket, 1, 1.0)
    assert bucket.want(1.0).units == 30


def test_one_lease_is_on_its_way_at_a_time():
    bucket = fresh()
    bucket.wanted(0.0)
    assert not bucket.needs_lease(0.0)


def test_while_a_lease_is_on_its_way_a_block_may_be_owed_and_no_more():
    bucket = filled(remaining=60)
    bucket.wanted(1.0)
    assert spend(bucket, 1, 1.0, 200) == 60 + 60
    bucket.granted(Grant(60, 0, 59.0), 1.1)
    assert spend(bucket, 1, 1.2, 10) == 0


def test_what_is_owed_is_paid_by_the_next_lease():
    bucket = filled(remaining=540)
    bucket.wanted(1.0)
    spend(bucket, 1, 1.0, 80)
    bucket.failed(1.1)
    assert bucket.want(1.0).units == 60 + 20


def test_a_window_that_is_used_up_refuses_until_it_ends_and_asks_no_more():
    bucket = filled(remaining=0)
    assert spend(bucket, 1, 1.0, 100) == 60
    assert not bucket.needs_lease(1.0)
    assert bucket.resets_in(1.0) == 59.0
    assert spend(bucket, 1, 59.9) == 0
    assert spend(bucket, 1, 60.0) == 1
    assert bucket.want(1.0).units == 61


def test_leased_units_do_not_outlive_their_window():
    bucket = filled()
    assert bucket.want(61.0).units == 60


def test_a_request_larger_than_a_block_waits_for_a_lease_of_its_size():
    bucket = filled(units=1000)
    assert spend(bucket, 700, 1.0) == 0
    assert bucket.needs_lease(1.0)
    bucket.wanted(1.0)
    assert bucket.may_come(700, 1.0)
    assert bucket.want(1.0).units == 600
    bucket.granted(Grant(600, 300, 59.0), 1.1)
    assert spend(bucket, 700, 1.1) == 1


def test_nothing_comes_that_is_not_on_its_way_or_not_there():
    bucket = filled(units=1000)
    assert not bucket.may_come(700, 1.0)
    bucket.wanted(1.0)
    assert not bucket.may_come(1001, 1.0)
    assert not bucket.may_come(700, 1.1 + LATE_SECONDS)


def test_the_stores_word_on_when_a_window_ends_counts():
    bucket = Bucket(Limit("x", 1000, 3600.0))
    bucket.failed(0.0)
    assert bucket.resets_in(0.0) == 3600.0
    bucket.granted(Grant(0, 0, 5.0), 1.0)
    assert bucket.resets_in(1.0) == 5.0
    assert spend(bucket, 1, 6.1) == 1


def test_what_was_owed_in_a_window_is_not_paid_in_the_next():
    bucket = filled()
    bucket.failed(50.0)
    spend(bucket, 100, 50.0)
    bucket.wanted(59.9)
    bucket.granted(Grant(100, 500, 60.0), 59.95)
    assert spend(bucket, 1, 59.95, 1000) == 160


def test_a_request_larger_than_the_limit_never_passes():
    bucket = filled(units=1000)
    assert spend(bucket, 1001, 1.0) == 0
    bucket.failed(1.0)
    assert spend(bucket, 1001, 1.0) == 0


def test_while_the_store_is_away_a_server_holds_the_limit_by_itself():
    bucket = fresh(units=100)
    bucket.wanted(0.0)
    bucket.failed(1.0)
    assert spend(bucket, 1, 1.0, 200) == 100
    assert bucket.remaining(1.0) == 0
    assert spend(bucket, 1, 30.0) == 0
    assert spend(bucket, 1, 61.0, 200) == 100


def test_a_lease_that_is_late_counts_as_a_store_that_is_away():
    bucket = filled(units=100)
    bucket.wanted(1.0)
    assert spend(bucket, 1, 1.0, 200) == 10 + 10
    assert spend(bucket, 1, 1.1 + LATE_SECONDS, 200) == 80


def test_what_passed_while_the_store_was_away_is_owed_to_it():
    bucket = fresh(units=100)
    bucket.failed(0.0)
    assert bucket.take(30, 1.0)
    assert bucket.want(1.0).units == 10 + 30
    bucket.wanted(2.0)
    bucket.granted(Grant(40, 20, 50.0), 2.1)
    assert bucket.remaining(2.1) == 30


def test_taking_says_whether_the_store_had_a_say():
    bucket = filled(units=100)
    assert not bucket.take(5, 1.0)
    bucket.failed(1.0)
    assert not bucket.take(5, 1.0)
    assert bucket.take(1, 1.0)


@pytest.mark.parametrize("units", [1, 2, 9, 10, 600, 1_000_000])
def test_blocks_are_a_tenth_of_a_limit_and_never_nothing(units):
    assert Limit("x", units, MINUTE).block == max(1, -(-units // 10))


@dataclass
class World:
    """Servers that share one window of a store that answers after a while."""

    units: int
    servers: int
    delays: list[float]
    used: int = 0
    events: list = field(default_factory=list)

    def run(self, requests):
        numbers = itertools.count()
        delays = itertools.cycle(self.delays)
        buckets = [fresh(self.units) for _ in range(self.servers)]
        events = [(at, next(numbers), "request", server) for at, server in requests]
        heapq.heapify(events)
        passed = 0
        while events:
            now, _, kind, about = heapq.heappop(events)
            if kind == "answer":
                server, units = about
                granted = min(units, self.units - self.used)
                self.used += granted
                buckets[server].granted(Grant(granted, self.units - self.used, MINUTE - now), now)
                continue
            bucket = buckets[about]
            passed += spend(bucket, 1, now)
            if bucket.needs_lease(now):
                bucket.wanted(now)
                answer = (about, bucket.want(now).units)
                heapq.heappush(events, (now + next(delays), next(numbers), "answer", answer))
        return passed


@given(
    units=st.integers(1, 300),
    servers=st.integers(1, 5),
    delays=st.lists(st.floats(0.0, LATE_SECONDS * 0.9), min_size=1, max_size=5),
    requests=st.lists(st.tuples(st.floats(0, 30), st.integers(0, 4)), max_size=600),
)
def test_servers_together_hold_a_limit_within_a_block_each(units, servers, delays, requests):
    asked = [(at, server % servers) for at, server in requests]
    passed = World(units, servers, delays).run(asked)
    assert passed <= units + servers * Limit("x", units, MINUTE).block


@given(units=st.integers(1, 300), gap=st.floats(0.01, 0.05))
def test_a_server_alone_passes_exactly_the_limit(units, gap):
    requests = [(at * gap, 0) for at in range(units + 50)]
    passed = World(units, 1, [gap / 2]).run([(at, server) for at, server in requests if at < MINUTE / 2])
    assert passed == min(units, sum(at < MINUTE / 2 for at, _ in requests))

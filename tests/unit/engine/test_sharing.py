"""sharing: one process owns the replicas, and others use them as guests."""

import asyncio
import os
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from obedient_encoder import (
    BREAK,
    DIE,
    EXHAUST,
    HANG,
    RAISE,
    Broken,
    DeepEncoder,
    LanedEncoder,
    ObedientEncoder,
    Unless,
)
from witness import Witness

from embedsvc.engine.devices import Devices
from embedsvc.engine.launch import join_replica, open_replica
from embedsvc.engine.pool import PoolSpec, open_pool
from embedsvc.engine.replica import (
    PROBE,
    STRIKES,
    BatchFailedError,
    ReplicaExhaustedError,
    ReplicaLostError,
    ReplicaUnusableError,
    Timing,
)
from embedsvc.engine.sharing import Sharing, listen
from embedsvc.engine.worker import Order
from embedsvc.errors import ConfigurationError
from embedsvc.metrics import Metrics

SECONDS = 20
TIMING = Timing(SECONDS, 0.5)


@pytest.fixture
def doors(tmp_path):
    return Sharing(tmp_path, Devices(), owner=True).doors("some/model", 1)


@asynccontextmanager
async def pooling(doors, *, owner, build=ObedientEncoder, metrics=None, revision="1"):
    spec = PoolSpec("m", build, ["cpu"], PROBE, TIMING, doors, owner, revision)
    witness = Witness()
    async with open_pool(spec, (metrics or Metrics()).engine("m")) as pool:
        pool.listen(witness)
        yield pool, witness


@asynccontextmanager
async def household(doors, build=ObedientEncoder, metrics=None):
    """An owner and two guests of one replica: the first replica that each sees, and what it hears after."""
    async with (
        pooling(doors, owner=True, build=build, metrics=metrics) as (_, owner),
        pooling(doors, owner=False, metrics=metrics) as (_, one),
        pooling(doors, owner=False, metrics=metrics) as (_, other),
    ):
        witnesses = (owner, one, other)
        yield witnesses, [await witness.until("joined") for witness in witnesses]


async def process_of(replica):
    return (await replica.encode([[5]])).vectors[0, 2]


@pytest.mark.parametrize("build", [ObedientEncoder, DeepEncoder])
async def test_guests_and_owner_have_one_process_between_them(doors, build):
    async with household(doors, build) as (_, replicas):
        assert len({await process_of(replica) for replica in replicas}) == 1
        assert {(replica.dimensions, replica.depth) for replica in replicas} == {
            (3, getattr(build, "depth", 1))
        }


@pytest.mark.parametrize("build", [ObedientEncoder, DeepEncoder, LanedEncoder])
async def test_each_gets_the_answers_to_its_own_batches(doors, build):
    async with household(doors, build) as (_, replicas):
        batches = [(replica, number) for number in range(1, 30) for replica in replicas]
        results = await asyncio.gather(
            *(replica.encode([[number, at]]) for at, (replica, number) in enumerate(batches))
        )
        for at, ((_, number), result) in enumerate(zip(batches, results, strict=True)):
            assert result.vectors[0, :2].tolist() == [number, number + at]
        assert all(replica.idle for replica in replicas)


async def test_a_guest_s_batch_that_fails_is_told_to_the_guest(doors):
    async with household(doors) as (_, (_, one, other)):
        with pytest.raises(BatchFailedError, match="ValueError"):
            await one.encode([[RAISE]])
        with pytest.raises(ReplicaExhaustedError):
            await one.encode([[EXHAUST]])
        assert (await other.encode([[7]])).vectors[0, 0] == 7


@pytest.mark.parametrize("command", [DIE, HANG])
async def test_when_a_guest_s_batch_ends_or_hangs_the_process_all_lose_it_and_have_the_next(doors, command):
    metrics = Metrics()
    async with household(doors, metrics=metrics) as (witnesses, (_, one, other)):
        before = await process_of(other)
        asked = [
            asyncio.ensure_future(one.encode([[command]])),
            asyncio.ensure_future(other.encode([[command]])),
        ]
        for task in asked:
            with pytest.raises(ReplicaLostError):
                await asyncio.wait_for(task, SECONDS)
        after = {await process_of(await witness.until("joined")) for witness in witnesses}
        assert len(after) == 1
        assert before not in after
    restarts = metrics.registry.get_sample_value("embeddings_replica_restarts_total", {"model": "m"})
    assert restarts == 1, "its owner counts it, and no guest"


async def test_the_owner_ends_a_replica_that_fails_every_text_of_its_guests(doors):
    async with household(doors, Broken) as (witnesses, (_, one, other)):
        for guest in (one, other, one, other, one):
            with pytest.raises(BatchFailedError):
                await asyncio.wait_for(guest.encode([[BREAK]]), SECONDS)
        for witness in witnesses:
            await witness.until("left")
            assert (await (await witness.until("joined")).encode([[7]])).vectors[0, 0] == 7


async def test_guests_with_bad_texts_do_not_cost_the_others_the_replica(doors):
    async with household(doors) as ((owner, *_), (_, one, other)):
        before = await process_of(other)
        for _ in range(3 * STRIKES):
            with pytest.raises(BatchFailedError):
                await one.encode([[RAISE]])
        assert await process_of(other) == before
        assert owner.events.empty()


@pytest.mark.parametrize(
    ("build", "under_way"),
    # The second: one that computes, one that is launched, and one that is launched and waits for room.
    [(ObedientEncoder, 1), (DeepEncoder, 3), (LanedEncoder, 2)],
)
async def test_only_what_had_begun_may_be_why_the_process_ended(doors, build, under_way):
    async with household(doors, build) as (_, (_, one, other)):
        culprit = asyncio.ensure_future(one.encode([[HANG]]))
        while not one._begun:  # noqa: ASYNC110 - another process sets no event of ours
            await asyncio.sleep(0.01)
        waiting = [asyncio.ensure_future(guest.encode([[HANG]])) for guest in (one, other, other)]
        begun = []
        for task in (culprit, *waiting):
            with pytest.raises(ReplicaLostError) as caught:
                await asyncio.wait_for(task, SECONDS)
            begun.append(caught.value.begun)
        assert begun[0]
        assert begun.count(True) == under_way


async def test_batches_of_guests_are_what_the_owner_s_pace_is_made_of(doors):
    async with household(doors) as (_, (owner, one, _)):
        before = len(owner.pace)
        for number in range(3):
            await one.encode([[number]])
        await owner.encode(PROBE)
        assert len(owner.pace) == before + 4


async def test_a_guest_that_leaves_takes_nothing_with_it(doors):
    async with household(doors) as ((owner, *_), (_, one, _)):
        async with pooling(doors, owner=False) as (_, witness):
            leaving = await witness.until("joined")
            asked = asyncio.ensure_future(leaving.encode([[1]]))
            await asyncio.sleep(0)
        with pytest.raises(ReplicaLostError):
            await asked
        assert (await one.encode([[7]])).vectors[0, 0] == 7
        assert owner.events.empty()


async def test_who_comes_before_the_replica_is_ready_has_it_when_it_is(doors):
    async with AsyncExitStack() as stack:
        listener = stack.enter_context(listen(doors[0]))
        guest = join_replica(order(), doors[0])
        waiting = asyncio.create_task(stack.enter_async_context(guest))
        await asyncio.sleep(0)  # it has asked to be connected
        await stack.enter_async_context(open_replica(order(), TIMING, listener))
        assert (await asyncio.wait_for(waiting, SECONDS)).dimensions == 3


def order():
    return Order(ObedientEncoder, "cpu", PROBE)


async def test_where_nobody_listens_there_is_no_replica(doors):
    with pytest.raises(ReplicaUnusableError, match="nobody listens"):
        await join_replica(order(), doors[0]).__aenter__()


async def test_guests_are_turned_away_while_none_can_be_started(doors, tmp_path):
    broken = tmp_path / "broken"
    async with household(doors, Unless(broken)) as (witnesses, (_, one, _)):
        broken.write_text("something")
        with pytest.raises(ReplicaLostError):
            await one.encode([[DIE]])
        for witness in witnesses:
            await witness.until("given up")
        broken.unlink()
        for witness in witnesses:
            assert (await (await witness.until("joined")).encode([[7]])).vectors[0, 0] == 7


async def test_a_guest_that_has_read_other_files_does_not_take_their_vectors_for_its_own(doors):
    async with pooling(doors, owner=True):
        with pytest.raises(ConfigurationError, match=r"have revision 1, and its files 2, .*: restart it"):
            await pooling(doors, owner=False, revision="2").__aenter__()
        async with pooling(doors, owner=False) as (pool, _):
            assert len(pool.replicas) == 1


async def test_a_door_that_cannot_be_is_told(tmp_path):
    doors = Sharing(tmp_path, Devices(), owner=True).doors("m" * 200, 1)
    with pytest.raises(ConfigurationError, match=r"^server\.processes: no socket can be made at"):
        await pooling(doors, owner=True).__aenter__()


def test_doors_of_models_and_replicas_differ_and_lie_in_the_folder(tmp_path):
    sharing = Sharing(tmp_path, Devices(), owner=True)
    doors = [*sharing.doors("a/b", 2), *sharing.doors("a", 2)]
    assert len(set(doors)) == 4
    assert {door.parent for door in doors} == {tmp_path}
    assert os.sep not in "".join(door.name for door in doors)

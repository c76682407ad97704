"""batcher: one future a job, resolved once, whatever happens."""

import asyncio
from contextlib import asynccontextmanager

import numpy as np
import pytest
from gated_replica import SECONDS, GatedPool, GatedReplica, expected, failing, poisoned_by
from structlog.testing import capture_logs

from embedsvc.engine.batcher import open_batcher
from embedsvc.engine.limits import BatchLimits
from embedsvc.engine.replica import BatchFailedError, ReplicaExhaustedError, ReplicaLostError
from embedsvc.engine.wire import Room
from embedsvc.errors import DeadlineExceededError, InternalError, OverloadedError
from embedsvc.metrics import Metrics
from embedsvc.types import Caller

ANYONE = Caller("anyone")
LIMITS = BatchLimits(tokens=1024, texts=32, padded=False)
ONE_TEXT = BatchLimits(tokens=1, texts=1, padded=False)


@pytest.fixture
async def replica():
    return GatedReplica()


@pytest.fixture
def metrics():
    return Metrics()


@asynccontextmanager
async def batching(*replicas, limits=LIMITS, metrics=None):
    """A batcher over these replicas."""
    engine = (metrics or Metrics()).engine("m")
    async with open_batcher(GatedPool(*replicas), limits, engine) as batcher:
        yield batcher


async def queued(batcher, *texts, caller=ANYONE):
    """A job that has joined the queue."""
    task = asyncio.create_task(submitted(batcher, texts, caller))
    await asyncio.sleep(0)
    return task


async def submitted(batcher, texts, caller):
    with batcher.entered():
        return await batcher.submit(texts, caller)


async def result(task):
    return (await asyncio.wait_for(task, SECONDS)).vectors


def assert_vectors(vectors, texts):
    np.testing.assert_array_equal(vectors, expected(texts))
    assert vectors.dtype == np.float32


async def test_a_job_s_vectors_are_those_of_its_texts_in_their_order(replica):
    texts = [[9, 9, 9], [1], [5, 2], [7]]
    async with batching(replica) as batcher:
        assert_vectors((await batcher.submit(texts, ANYONE)).vectors, texts)


@pytest.mark.parametrize("limits", [ONE_TEXT, BatchLimits(4, 2), BatchLimits(7, 3, padded=False)], ids=str)
async def test_a_job_may_take_several_batches(replica, limits):
    texts = [[number] * (1 + number % 4) for number in range(1, 20)]
    async with batching(replica, limits=limits) as batcher:
        assert_vectors((await batcher.submit(texts, ANYONE)).vectors, texts)
    assert len(replica.batches) > 1
    assert sorted(text for batch in replica.batches for text in batch) == sorted(texts)


async def test_a_job_without_texts_is_answered_at_once(replica):
    async with batching(replica) as batcher:
        assert (await batcher.submit([], ANYONE)).vectors.shape == (0, 3)
    assert replica.batches == []


async def test_an_idle_replica_starts_at_once_and_a_busy_one_lets_the_next_batch_grow(replica):
    async with batching(replica) as batcher:
        replica.hold()
        first = await queued(batcher, [1])
        assert await replica.begun() == [[1]]
        others = [await queued(batcher, [number], caller=Caller(f"c{number}")) for number in (2, 3, 4)]
        replica.release()
        assert_vectors(await result(first), [[1]])
        for number, task in enumerate(others, start=2):
            assert_vectors(await result(task), [[number]])
    assert replica.batches == [[[1]], [[2], [3], [4]]]


async def test_the_next_batch_is_sent_before_anybody_is_woken(replica):
    async def sent_when_answered(text):
        await batcher.submit([text], ANYONE)
        return replica.sent

    async with batching(replica) as batcher:
        replica.hold()
        first = asyncio.create_task(sent_when_answered([1]))
        await replica.begun()
        second = await queued(batcher, [2])
        replica.release()
        assert await asyncio.wait_for(first, SECONDS) == 2
        await result(second)


async def test_every_replica_works_at_the_same_time():
    left, right = GatedReplica(), GatedReplica()
    async with batching(left, right, limits=ONE_TEXT) as batcher:
        left.hold()
        right.hold()
        task = await queued(batcher, [1], [2])
        assert sorted(await left.begun() + await right.begun()) == [[1], [2]]
        left.release()
        right.release()
        assert_vectors(await result(task), [[1], [2]])


async def test_a_cancelled_job_is_not_encoded_and_takes_no_place_in_a_batch(replica):
    async with batching(replica, limits=BatchLimits(2, 2, padded=False)) as batcher:
        replica.hold()
        first = await queued(batcher, [1])
        await replica.begun()
        gone, stays = await queued(batcher, [2]), await queued(batcher, [4], [5])
        gone.cancel()
        replica.release()
        assert_vectors(await result(stays), [[4], [5]])
        await result(first)
        assert gone.cancelled()
        assert batcher.queued_tokens == 0
    assert replica.batches == [[[1]], [[4], [5]]]


async def test_a_job_cancelled_while_it_is_encoded_harms_nobody_in_its_batch(replica):
    async with batching(replica) as batcher:
        replica.hold()
        first = await queued(batcher, [1])
        await replica.begun()
        gone, stays = await queued(batcher, [2]), await queued(batcher, [3])
        replica.pass_one()
        await result(first)
        assert await replica.begun() == [[2], [3]]
        gone.cancel()
        replica.release()
        assert_vectors(await result(stays), [[3]])
        assert_vectors((await batcher.submit([[4]], ANYONE)).vectors, [[4]])


async def test_a_passed_deadline_fails_the_job_without_encoding_it(replica):
    async with batching(replica) as batcher:
        late = Caller("late", deadline=asyncio.get_running_loop().time())
        with pytest.raises(DeadlineExceededError):
            await batcher.submit([[1], [2]], late)
        early = Caller("early", deadline=asyncio.get_running_loop().time() + SECONDS)
        assert_vectors((await batcher.submit([[3]], early)).vectors, [[3]])
    assert replica.batches == [[[3]]]


async def test_a_deadline_that_passes_in_the_queue_drops_what_is_left_of_the_job(replica):
    async with batching(replica, limits=ONE_TEXT) as batcher:
        replica.hold()
        clock = asyncio.get_running_loop().time
        deadline = clock() + 0.5
        task = await queued(batcher, [1], [2], [3], caller=Caller("slow", deadline=deadline))
        await replica.begun()
        await asyncio.sleep(deadline - clock())
        replica.release()
        with pytest.raises(DeadlineExceededError):
            await result(task)
        assert_vectors((await batcher.submit([[4]], ANYONE)).vectors, [[4]])
    assert replica.batches == [[[1]], [[2]], [[4]]]  # the second was made ahead


async def test_the_text_that_fails_its_batch_is_found_and_fails_alone(replica, metrics):
    async with batching(replica, metrics=metrics) as batcher:
        replica.wrong = poisoned_by(666, BatchFailedError)
        replica.hold()
        first = await queued(batcher, [1])
        await replica.begun()
        bad = await queued(batcher, [666])
        good = [await queued(batcher, [number]) for number in range(2, 21)]
        with capture_logs() as logs:
            replica.release()
            with pytest.raises(InternalError, match=r"^internal error$"):
                await result(bad)
        assert_vectors(await result(first), [[1]])
        for number, task in enumerate(good, start=2):
            assert_vectors(await result(task), [[number]])
    failed = [entry for entry in logs if entry["event"] == "batch failed"]
    assert [entry["texts"] for entry in failed] == [20, 10, 5, 3, 2, 1]
    assert "a secret of the encoder" in failed[0]["reason"]
    assert sample(metrics, "embeddings_batch_failures_total") == 6


async def test_out_of_memory_a_batch_is_halved_until_it_fits_and_the_next_ones_are_smaller(replica):
    def too_much(batch):
        if sum(map(len, batch)) > 10:
            raise ReplicaExhaustedError("CUDA out of memory")
        return expected(batch)

    texts = [[number] * 4 for number in range(1, 17)]
    async with batching(replica, limits=BatchLimits(64, 32, padded=False)) as batcher:
        replica.wrong = too_much
        assert_vectors((await batcher.submit(texts, ANYONE)).vectors, texts)
        before = len(replica.batches)
        assert_vectors((await batcher.submit(texts, ANYONE)).vectors, texts)
    assert max(len(batch) for batch in replica.batches[before:]) <= 4


async def test_a_single_text_that_memory_has_no_room_for_is_told_to_come_again(replica):
    async with batching(replica) as batcher:
        replica.wrong = failing(ReplicaExhaustedError("CUDA out of memory"))
        with pytest.raises(OverloadedError, match="out of memory"):
            await batcher.submit([[1, 2]], ANYONE)


async def test_what_a_lost_replica_had_under_way_is_computed_by_another():
    bad, good = GatedReplica("cuda:0"), GatedReplica("cuda:1")
    async with batching(bad, limits=BatchLimits(2, 2, padded=False)) as batcher:
        bad.hold()
        jobs = [await queued(batcher, [number], [number + 10]) for number in (1, 2, 3)]
        await bad.begun()
        batcher.pool.add(good)
        batcher.pool.lose(bad)
        for number, task in enumerate(jobs, start=1):
            assert_vectors(await result(task), [[number], [number + 10]])
    assert bad.batches == [[[1], [11]]]


async def test_a_lost_replica_is_not_asked_again_though_its_end_is_not_told_yet(replica):
    async with batching(replica) as batcher:
        replica.lose()
        task = await queued(batcher, [1])
        for _ in range(20):
            await asyncio.sleep(0)
        batcher.pool.lose(replica)
        batcher.pool.add(GatedReplica())
        assert_vectors(await result(task), [[1]])
    assert replica.sent == 1


async def test_what_waits_is_computed_when_the_only_replica_is_replaced(replica):
    async with batching(replica) as batcher:
        replica.hold()
        first, second = await queued(batcher, [1]), await queued(batcher, [2])
        await replica.begun()
        batcher.pool.lose(replica)
        third = await queued(batcher, [3])
        batcher.pool.add(GatedReplica())
        for number, task in enumerate((first, second, third), start=1):
            assert_vectors(await result(task), [[number]])


async def test_a_text_that_two_replicas_were_lost_with_gets_no_third(replica):
    async with batching(replica) as batcher:
        replica.hold()
        task = await queued(batcher, [1])
        await replica.begun()
        second = GatedReplica()
        second.hold()
        batcher.pool.add(second)
        batcher.pool.lose(replica)
        await second.begun()
        batcher.pool.add(GatedReplica())
        batcher.pool.lose(second)
        with pytest.raises(InternalError):
            await result(task)
        assert_vectors((await batcher.submit([[2]], ANYONE)).vectors, [[2]])


async def test_of_a_batch_with_a_text_that_kills_few_others_fail(replica):
    """The batch is tried again in parts: only the part with the text is lost twice."""
    texts = [[number] for number in range(1, 17)]
    async with batching(replica, limits=BatchLimits(16, 16, padded=False)) as batcher:
        pool = batcher.pool

        def killed_by_7(batch):
            if [7] in batch:
                pool.replicas.remove(pool.replicas[0])
                batcher.left(current[0])
                current[0] = GatedReplica()
                current[0].wrong = killed_by_7
                pool.add(current[0])
                raise ReplicaLostError("it died", begun=True)
            return expected(batch)

        current = [replica]
        replica.wrong = killed_by_7
        replica.hold()
        tasks = [await queued(batcher, text) for text in texts]
        await replica.begun()
        replica.release()
        failed = [text for text, task in zip(texts, tasks, strict=True) if await fails(task)]
    assert [7] in failed
    assert len(failed) <= 4


def killed_by(culprit, batcher):
    """What `wrong` is set to for the replica to be lost with a text, and replaced by one that is too."""

    def compute(batch):
        if culprit in map(list, batch):
            [replica] = batcher.pool.replicas
            batcher.pool.lose(replica)
            successor = GatedReplica(lanes=replica.lanes)
            successor.wrong = compute
            successors.append(successor)
            batcher.pool.add(successor)
            raise ReplicaLostError("it died", begun=True)
        return expected(batch)

    successors = []
    return compute, successors


async def test_what_was_under_way_beside_a_text_that_kills_does_not_fail_with_it():
    replica = GatedReplica(lanes=2)
    async with batching(replica, limits=BatchLimits(1024, 256, padded=False)) as batcher:
        replica.wrong, successors = killed_by([7] * 100, batcher)
        replica.hold()
        tasks = [await queued(batcher, [number] * 100) for number in (7, 8)]
        await replica.begun()
        await replica.begun()
        later = await queued(batcher, [9])
        replica.release()
        with pytest.raises(InternalError):
            await result(tasks[0])
        assert_vectors(await result(tasks[1]), [[8] * 100])
        assert_vectors(await result(later), [[9]])
    begun = [(batch[0][0], one.rooms[at]) for one in successors for at, batch in enumerate(one.batches)]
    assert dict(begun) == {7: Room.EXCLUSIVE, 8: Room.EXCLUSIVE, 9: Room.LANE}


async def test_two_lanes_share_what_waits_and_a_long_text_alone_has_both():
    replica = GatedReplica(lanes=2)
    async with batching(replica) as batcher:
        replica.hold()
        task = await queued(batcher, *[[number] * 50 for number in (1, 2, 3, 4)])
        assert sorted(map(len, [await replica.begun(), await replica.begun()])) == [2, 2]
        replica.release()
        await result(task)
        await batcher.submit([[1] * 200], ANYONE)
        await batcher.submit([[1]], ANYONE)
    assert replica.rooms == [Room.LANE, Room.LANE, Room.ALL, Room.LANE]


async def test_a_single_text_gets_all_the_memory_that_there_is_before_it_is_refused():
    replica = GatedReplica(lanes=2)
    async with batching(replica) as batcher:
        replica.wrong = failing(ReplicaExhaustedError("CUDA out of memory"))
        with pytest.raises(OverloadedError, match="out of memory"):
            await batcher.submit([[1, 2]], ANYONE)
        assert replica.rooms == [Room.LANE, Room.EXCLUSIVE]


async def fails(task):
    try:
        await result(task)
    except InternalError:
        return True
    return False


async def test_without_hope_of_a_replica_nobody_waits_and_with_one_work_goes_on(replica):
    async with batching(replica) as batcher:
        batcher.pool.lose(replica)
        task = await queued(batcher, [1])
        batcher.pool.give_up()
        with pytest.raises(OverloadedError, match="no replica"):
            await result(task)
        with pytest.raises(OverloadedError, match="no replica"):
            await batcher.submit([[2]], ANYONE)
        batcher.pool.add(GatedReplica())
        assert_vectors((await batcher.submit([[3]], ANYONE)).vectors, [[3]])


async def test_a_defect_of_ours_fails_the_batch_and_not_the_batcher(replica):
    async with batching(replica) as batcher:
        replica.wrong = lambda batch: 1 / 0
        with capture_logs() as logs, pytest.raises(InternalError):
            await batcher.submit([[1]], ANYONE)
        replica.wrong = None
        assert_vectors((await batcher.submit([[2]], ANYONE)).vectors, [[2]])
    assert [entry["event"] for entry in logs] == ["batching failed"]


async def test_a_deadline_is_kept_though_the_replica_hangs(replica):
    async with batching(replica) as batcher:
        replica.hold()
        soon = Caller("hurried", deadline=asyncio.get_running_loop().time() + 0.05)
        under_way, waiting = await queued(batcher, [1], caller=soon), await queued(batcher, [2], caller=soon)
        for task in (under_way, waiting):
            with pytest.raises(DeadlineExceededError):
                await result(task)
        replica.release()
    assert replica.batches == [[[1]]]


async def test_work_that_cannot_make_its_deadline_is_refused_without_being_tried(replica):
    async with batching(replica) as batcher:
        replica.seconds = 60.0
        await batcher.submit([[1]], ANYONE)
        hurried = Caller("hurried", deadline=asyncio.get_running_loop().time() + 30)
        with pytest.raises(DeadlineExceededError, match="too near"):
            await batcher.submit([[2]], hurried)
    assert replica.batches == [[[1]]]


async def test_a_batch_that_can_grow_no_further_is_made_ahead_and_one_that_can_is_not(replica):
    async with batching(replica, limits=BatchLimits(4, 4, padded=False)) as batcher:
        replica.hold()
        tasks = [await queued(batcher, [number]) for number in range(1, 8)]
        await replica.begun()
        await asyncio.sleep(0)
        assert batcher.queued_tokens == 2  # one under way, four made ahead
        replica.release()
        for task in tasks:
            await result(task)
    assert list(map(len, replica.batches)) == [1, 4, 2]


async def test_interactive_work_goes_before_bulk(replica):
    async with batching(replica, limits=ONE_TEXT) as batcher:
        replica.hold()
        bulk = await queued(batcher, *[[number] for number in range(1, 20)], caller=Caller("a", bulk=True))
        await replica.begun()
        await asyncio.sleep(0)
        assert batcher.queued_tokens == 17  # one is under way, one made ahead
        one = await queued(batcher, [99], caller=Caller("b"))
        replica.release()
        await result(one)
        await result(bulk)
    assert replica.batches[2] == [[99]]


async def test_what_is_left_of_a_failed_job_is_not_encoded(replica):
    async with batching(replica, limits=ONE_TEXT) as batcher:
        replica.wrong = failing(BatchFailedError("a secret of the encoder"))
        with pytest.raises(InternalError):
            await batcher.submit([[1], [2], [3]], ANYONE)
        replica.wrong = None
        assert_vectors((await batcher.submit([[4]], ANYONE)).vectors, [[4]])
    assert replica.batches == [[[1]], [[2]], [[4]]]  # the second was made ahead


async def test_a_job_that_fails_on_one_replica_and_succeeds_on_the_other_fails_once():
    bad, good = GatedReplica(), GatedReplica()
    async with batching(bad, good, limits=ONE_TEXT) as batcher:
        bad.wrong = failing(BatchFailedError("a secret of the encoder"))
        bad.hold()
        good.hold()
        task = await queued(batcher, [1], [2])
        await bad.begun()
        await good.begun()
        bad.release()
        with pytest.raises(InternalError):
            await result(task)
        good.release()
        bad.wrong = None
        assert_vectors((await batcher.submit([[3], [4]], ANYONE)).vectors, [[3], [4]])


async def test_closing_computes_what_waits(replica):
    async with batching(replica, limits=ONE_TEXT) as batcher:
        replica.hold()
        jobs = [await queued(batcher, [number], [number + 10]) for number in (1, 2, 3)]
        await replica.begun()
        replica.release()
    for number, task in enumerate(jobs, start=1):
        assert_vectors(await result(task), [[number], [number + 10]])


async def test_a_closed_batcher_takes_nothing_new(replica):
    async with batching(replica) as batcher:
        await batcher.close()
        with pytest.raises(OverloadedError, match="shutting down"), batcher.entered():
            raise AssertionError("it let someone in")


async def test_closing_waits_for_who_has_entered_though_he_has_not_submitted_yet(replica):
    async with batching(replica) as batcher:
        with batcher.entered():
            closing = asyncio.create_task(batcher.close())
            await asyncio.sleep(0)
            assert_vectors((await batcher.submit([[7]], ANYONE)).vectors, [[7]])
            assert not closing.done()
        await closing


async def test_what_callers_that_leave_had_waiting_is_not_kept_while_no_replica_works(replica):
    async with batching(replica) as batcher:
        batcher.pool.lose(replica)
        for _ in range(50):
            task = await queued(batcher, *[[1] * 100] * 10)
            task.cancel()
            await asyncio.wait([task])
        assert batcher.queued_tokens <= 2000


async def test_leaving_by_an_error_computes_what_waits_and_tells_the_error_itself(replica):
    jobs = []

    async def leave_by_an_error():
        async with batching(replica, limits=ONE_TEXT) as batcher:
            replica.hold()
            jobs.extend([await queued(batcher, [1]), await queued(batcher, [2])])
            await replica.begun()
            replica.release()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await leave_by_an_error()
    assert [(await result(job)).tolist() for job in jobs] == [[[1, 1, 1]], [[2, 2, 1]]]


async def test_every_job_is_resolved_when_leaving_is_cut_short(replica):
    jobs, left = [], asyncio.Event()

    async def leave_at_once():
        async with batching(replica, limits=ONE_TEXT) as batcher:
            replica.hold()
            jobs.extend([await queued(batcher, [number]) for number in (1, 2, 3)])
            await replica.begun()
            left.set()

    leaving = asyncio.create_task(leave_at_once())
    await left.wait()
    leaving.cancel()
    replica.release()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    first, made_ahead, waiting = jobs
    assert_vectors(await result(first), [[1]])
    assert_vectors(await result(made_ahead), [[2]])
    with pytest.raises(InternalError):
        await result(waiting)


async def test_batches_and_the_queue_are_counted(replica, metrics):
    async with batching(replica, metrics=metrics) as batcher:
        replica.hold()
        first = await queued(batcher, [1])
        await replica.begun()
        second = await queued(batcher, [2, 2], [3, 3, 3])
        assert sample(metrics, "embeddings_queue_tokens") == 5
        replica.release()
        await result(first)
        await result(second)
    assert sample(metrics, "embeddings_queue_tokens") == 0
    assert sample(metrics, "embeddings_batch_size_count") == 2
    assert sample(metrics, "embeddings_batch_size_sum") == 3
    assert sample(metrics, "embeddings_batch_tokens_sum") == 6


def sample(metrics, name):
    return metrics.registry.get_sample_value(name, {"model": "m"})


async def test_times_are_those_of_the_queue_and_of_the_replica(replica):
    async with batching(replica) as batcher:
        replica.hold()
        first = await queued(batcher, [1])
        await replica.begun()
        second = await queued(batcher, [2])
        await asyncio.sleep(0.05)
        replica.release()
        first, second = await asyncio.gather(first, second)
    assert first.queued < 0.05 <= first.inferred
    assert second.queued >= 0.05 > second.inferred

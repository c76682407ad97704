"""batcher: one future a job, resolved once, whatever happens."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import numpy as np
import pytest
from gated_encoder import SECONDS, GatedEncoder, expected
from structlog.testing import capture_logs

from embedsvc.engine.batcher import open_batcher
from embedsvc.engine.pool import PROBE, open_replica
from embedsvc.engine.queue import BatchLimits
from embedsvc.errors import DeadlineExceededError, InternalError, OverloadedError
from embedsvc.metrics import Metrics
from embedsvc.types import Caller

ANYONE = Caller("anyone")
LIMITS = BatchLimits(tokens=1024, texts=32, padded=False)
ONE_TEXT = BatchLimits(tokens=1, texts=1, padded=False)


@pytest.fixture
def encoder():
    return GatedEncoder()


@pytest.fixture
def metrics():
    return Metrics()


@asynccontextmanager
async def batching(*encoders, limits=LIMITS, metrics=None):
    """A batcher over these encoders, warmed up."""
    async with AsyncExitStack() as stack:
        replicas = []
        for encoder in encoders:
            replica = await stack.enter_async_context(
                open_replica(lambda _, made=encoder: made, "cpu", PROBE)
            )
            encoder.forget()
            replicas.append(replica)
        engine = (metrics or Metrics()).engine("m")
        yield await stack.enter_async_context(open_batcher(replicas, limits, engine))


async def queued(batcher, *texts, caller=ANYONE):
    """A job that has joined the queue."""
    task = asyncio.create_task(batcher.submit(texts, caller))
    await asyncio.sleep(0)
    return task


async def result(task):
    return (await asyncio.wait_for(task, SECONDS)).vectors


def assert_vectors(vectors, texts):
    np.testing.assert_array_equal(vectors, expected(texts))
    assert vectors.dtype == np.float32


async def test_a_job_s_vectors_are_those_of_its_texts_in_their_order(encoder):
    texts = [[9, 9, 9], [1], [5, 2], [7]]
    async with batching(encoder) as batcher:
        assert_vectors((await batcher.submit(texts, ANYONE)).vectors, texts)


@pytest.mark.parametrize("limits", [ONE_TEXT, BatchLimits(4, 2), BatchLimits(7, 3, padded=False)], ids=str)
async def test_a_job_may_take_several_batches(encoder, limits):
    texts = [[number] * (1 + number % 4) for number in range(1, 20)]
    async with batching(encoder, limits=limits) as batcher:
        assert_vectors((await batcher.submit(texts, ANYONE)).vectors, texts)
    assert len(encoder.batches) > 1
    assert sorted(text for batch in encoder.batches for text in batch) == sorted(texts)


async def test_a_job_without_texts_is_answered_at_once(encoder):
    async with batching(encoder) as batcher:
        assert (await batcher.submit([], ANYONE)).vectors.shape == (0, 3)
    assert encoder.batches == []


async def test_an_idle_replica_starts_at_once_and_a_busy_one_lets_the_next_batch_grow(encoder):
    async with batching(encoder) as batcher:
        encoder.hold()
        first = await queued(batcher, [1])
        assert await encoder.begun() == [[1]]
        others = [await queued(batcher, [number], caller=Caller(f"c{number}")) for number in (2, 3, 4)]
        encoder.release()
        assert_vectors(await result(first), [[1]])
        for number, task in enumerate(others, start=2):
            assert_vectors(await result(task), [[number]])
    assert encoder.batches == [[[1]], [[2], [3], [4]]]


async def test_every_replica_works_at_the_same_time():
    left, right = GatedEncoder(), GatedEncoder()
    async with batching(left, right, limits=ONE_TEXT) as batcher:
        left.hold()
        right.hold()
        task = await queued(batcher, [1], [2])
        assert sorted(await left.begun() + await right.begun()) == [[1], [2]]
        left.release()
        right.release()
        assert_vectors(await result(task), [[1], [2]])


async def test_a_cancelled_job_is_not_encoded_and_takes_no_place_in_a_batch(encoder):
    async with batching(encoder, limits=BatchLimits(2, 2, padded=False)) as batcher:
        encoder.hold()
        first = await queued(batcher, [1])
        await encoder.begun()
        gone, stays = await queued(batcher, [2]), await queued(batcher, [4], [5])
        gone.cancel()
        encoder.release()
        assert_vectors(await result(stays), [[4], [5]])
        await result(first)
        assert gone.cancelled()
        assert batcher.queue.tokens == 0
    assert encoder.batches == [[[1]], [[4], [5]]]


async def test_a_job_cancelled_while_it_is_encoded_harms_nobody_in_its_batch(encoder):
    async with batching(encoder) as batcher:
        encoder.hold()
        first = await queued(batcher, [1])
        await encoder.begun()
        gone, stays = await queued(batcher, [2]), await queued(batcher, [3])
        encoder.pass_one()
        await result(first)
        assert await encoder.begun() == [[2], [3]]
        gone.cancel()
        encoder.release()
        assert_vectors(await result(stays), [[3]])
        assert_vectors((await batcher.submit([[4]], ANYONE)).vectors, [[4]])


async def test_a_passed_deadline_fails_the_job_without_encoding_it(encoder):
    async with batching(encoder) as batcher:
        late = Caller("late", deadline=asyncio.get_running_loop().time())
        with pytest.raises(DeadlineExceededError):
            await batcher.submit([[1], [2]], late)
        early = Caller("early", deadline=asyncio.get_running_loop().time() + SECONDS)
        assert_vectors((await batcher.submit([[3]], early)).vectors, [[3]])
    assert encoder.batches == [[[3]]]


async def test_a_deadline_that_passes_in_the_queue_drops_what_is_left_of_the_job(encoder):
    async with batching(encoder, limits=ONE_TEXT) as batcher:
        encoder.hold()
        clock = asyncio.get_running_loop().time
        deadline = clock() + 0.5
        task = await queued(batcher, [1], [2], [3], caller=Caller("slow", deadline=deadline))
        await encoder.begun()
        await asyncio.sleep(deadline - clock())
        encoder.release()
        with pytest.raises(DeadlineExceededError):
            await result(task)
        assert_vectors((await batcher.submit([[4]], ANYONE)).vectors, [[4]])
    assert encoder.batches == [[[1]], [[4]]]


async def test_a_failing_batch_fails_its_own_jobs_and_no_others(encoder, metrics):
    def poisoned(batch):
        if [666] in batch:
            raise ValueError("a secret of the encoder")
        return expected(batch)

    async with batching(encoder, limits=BatchLimits(2, 2, padded=False), metrics=metrics) as batcher:
        encoder.wrong = poisoned
        encoder.hold()
        first = await queued(batcher, [1], [2])
        await encoder.begun()
        bad, beside, after = [await queued(batcher, [number]) for number in (666, 3, 4)]
        with capture_logs() as logs:
            encoder.release()
            for task in (bad, beside):
                with pytest.raises(InternalError, match=r"^internal error$"):
                    await result(task)
        assert_vectors(await result(first), [[1], [2]])
        assert_vectors(await result(after), [[4]])
        assert_vectors((await batcher.submit([[5]], ANYONE)).vectors, [[5]])
    [entry] = logs
    assert (entry["event"], entry["log_level"], entry["texts"]) == ("batch failed", "error", 2)
    assert entry["exc_info"]
    assert metrics.registry.get_sample_value("embeddings_batch_failures_total", {"model": "m"}) == 1


async def test_what_is_left_of_a_failed_job_is_not_encoded(encoder):
    async with batching(encoder, limits=ONE_TEXT) as batcher:
        encoder.wrong = lambda batch: 1 / 0
        with pytest.raises(InternalError):
            await batcher.submit([[1], [2], [3]], ANYONE)
        encoder.wrong = None
        assert_vectors((await batcher.submit([[4]], ANYONE)).vectors, [[4]])
    assert encoder.batches == [[[1]], [[4]]]


async def test_a_job_that_fails_on_one_replica_and_succeeds_on_the_other_fails_once():
    bad, good = GatedEncoder(), GatedEncoder()
    async with batching(bad, good, limits=ONE_TEXT) as batcher:
        bad.wrong = lambda batch: 1 / 0
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


@pytest.mark.parametrize("rows", [0, 1, 3])
async def test_vectors_that_do_not_match_the_texts_are_an_error(encoder, rows):
    async with batching(encoder) as batcher:
        encoder.wrong = lambda batch: np.zeros((rows, 3), dtype=np.float32)
        with pytest.raises(InternalError):
            await batcher.submit([[1], [2]], ANYONE)
        encoder.wrong = None
        assert_vectors((await batcher.submit([[3]], ANYONE)).vectors, [[3]])


async def test_closing_computes_what_waits(encoder):
    async with batching(encoder, limits=ONE_TEXT) as batcher:
        encoder.hold()
        jobs = [await queued(batcher, [number], [number + 10]) for number in (1, 2, 3)]
        await encoder.begun()
        encoder.release()
    for number, task in enumerate(jobs, start=1):
        assert_vectors(await result(task), [[number], [number + 10]])


async def test_a_closed_batcher_takes_nothing_new(encoder):
    async with batching(encoder) as batcher:
        batcher.close()
        with pytest.raises(OverloadedError, match="shutting down"):
            await batcher.submit([[1]], ANYONE)
    assert encoder.batches == []


async def test_leaving_by_an_error_computes_what_waits_and_tells_the_error_itself(encoder):
    jobs = []

    async def leave_by_an_error():
        async with batching(encoder, limits=ONE_TEXT) as batcher:
            encoder.hold()
            jobs.extend([await queued(batcher, [1]), await queued(batcher, [2])])
            await encoder.begun()
            encoder.release()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await leave_by_an_error()
    assert [(await result(job)).tolist() for job in jobs] == [[[1, 1, 1]], [[2, 2, 1]]]


async def test_every_job_is_resolved_when_leaving_is_cut_short(encoder):
    jobs, left = [], asyncio.Event()

    async def leave_at_once():
        async with batching(encoder, limits=ONE_TEXT) as batcher:
            encoder.hold()
            jobs.extend([await queued(batcher, [1]), await queued(batcher, [2])])
            await encoder.begun()
            left.set()

    leaving = asyncio.create_task(leave_at_once())
    await left.wait()
    leaving.cancel()
    encoder.release()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    for job in jobs:
        with pytest.raises(InternalError):
            await asyncio.wait_for(job, 1)


async def test_batches_and_the_queue_are_counted(encoder, metrics):
    async with batching(encoder, metrics=metrics) as batcher:
        encoder.hold()
        first = await queued(batcher, [1])
        await encoder.begun()
        second = await queued(batcher, [2, 2], [3, 3, 3])
        assert sample(metrics, "embeddings_queue_tokens") == 5
        encoder.release()
        await result(first)
        await result(second)
    assert sample(metrics, "embeddings_queue_tokens") == 0
    assert sample(metrics, "embeddings_batch_size_count") == 2
    assert sample(metrics, "embeddings_batch_size_sum") == 3
    assert sample(metrics, "embeddings_batch_tokens_sum") == 6


def sample(metrics, name):
    return metrics.registry.get_sample_value(name, {"model": "m"})


async def test_times_are_those_of_the_queue_and_of_the_encoder(encoder):
    async with batching(encoder) as batcher:
        encoder.hold()
        first = await queued(batcher, [1])
        await encoder.begun()
        second = await queued(batcher, [2])
        await asyncio.sleep(0.05)
        encoder.release()
        first, second = await asyncio.gather(first, second)
    assert first.queued < 0.05 <= first.inferred
    assert second.queued >= 0.05 > second.inferred

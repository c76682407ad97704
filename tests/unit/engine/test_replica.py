"""replica and worker: an encoder in a process of its own, whatever becomes of it."""

import asyncio
import os
import signal
import time
from contextlib import asynccontextmanager

import numpy as np
import pytest
from obedient_encoder import (
    BREAK,
    CRASH,
    DIE,
    EXHAUST,
    HANG,
    LINGER,
    LOG,
    MISCOUNT,
    MUTTER,
    RAISE,
    SPAWN,
    Broken,
    DeepEncoder,
    LanedEncoder,
    ObedientEncoder,
)
from structlog.testing import capture_logs

from embedsvc.engine.launch import open_replica
from embedsvc.engine.replica import (
    STRIKES,
    BatchFailedError,
    ReplicaExhaustedError,
    ReplicaLostError,
    ReplicaUnusableError,
    Timing,
)
from embedsvc.engine.wire import Room
from embedsvc.engine.worker import Order

SECONDS = 20
PATIENCE = 0.5


@asynccontextmanager
async def serving(build=ObedientEncoder, device="cpu", patience=SECONDS):
    """A replica whose answers are handed out, and the task that does it."""
    async with open_replica(Order(build, device, [[1, 2, 3]]), Timing(SECONDS, patience)) as replica:
        task = asyncio.create_task(replica.serve())
        try:
            yield replica, task
        finally:
            task.cancel()
            await asyncio.wait([task])


async def process_of(replica):
    return int((await replica.encode([[5]])).vectors[0, 2])


def runs(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_replica_computes_in_a_process_of_its_own_that_ends_with_it():
    async with serving() as (replica, _):
        result = await replica.encode([[1, 2], [30]])
        np.testing.assert_array_equal(result.vectors[:, :2], [[1, 3], [30, 30]])
        assert result.vectors.dtype == np.float32
        assert result.seconds >= 0
        process = await process_of(replica)
        assert process != os.getpid()
    assert not runs(process)


async def test_it_says_what_its_encoder_is():
    async with serving(device="cuda:7") as (replica, _):
        assert (replica.device, replica.dimensions, replica.padded, replica.depth) == ("cuda:7", 3, False, 1)
        assert replica.gpu_memory == 7_000_000_000
        assert replica.lanes == 1
    async with serving(DeepEncoder) as (replica, _):
        assert (replica.depth, replica.lanes, replica.gpu_memory) == (2, 1, None)
    async with serving(LanedEncoder) as (replica, _):
        assert (replica.depth, replica.lanes, replica.worth_all) == (2, 2, 1)


@pytest.mark.parametrize("build", [ObedientEncoder, DeepEncoder, LanedEncoder])
async def test_batches_that_are_sent_ahead_are_all_answered(build):
    async with serving(build) as (replica, _):
        batches = [[[number, 1]] * number for number in range(1, 20)]
        results = await asyncio.gather(*(replica.encode(batch) for batch in batches))
        for number, result in enumerate(results, start=1):
            assert result.vectors[:, 1].tolist() == [number + 1] * number
        assert replica.idle


async def test_a_batch_is_computed_beside_others_unless_it_is_alone():
    async with serving(LanedEncoder) as (replica, _):
        assert (await replica.encode([[5]], Room.ALL)).vectors[0, 2] == 0
        hanging = asyncio.ensure_future(replica.encode([[HANG]]))
        assert (await replica.encode([[5]])).vectors[0, 2] > 0
        assert not hanging.done()


async def test_a_batch_that_hangs_is_noticed_though_others_go_on_beside_it():
    async with serving(LanedEncoder, patience=PATIENCE) as (replica, task):
        hanging = asyncio.ensure_future(replica.encode([[HANG]]))
        with pytest.raises(ReplicaLostError, match="longer than"):
            await encode_always(replica)
        with pytest.raises(ReplicaLostError) as caught:
            await hanging
        assert caught.value.begun
        with pytest.raises(ReplicaLostError):
            await task


async def encode_always(replica):
    while True:
        await replica.encode([[5]])


@pytest.mark.parametrize("build", [ObedientEncoder, DeepEncoder, LanedEncoder])
async def test_a_batch_that_fails_is_told_with_its_traceback_and_the_next_works(build):
    async with serving(build) as (replica, _):
        with pytest.raises(BatchFailedError, match="ValueError") as caught:
            await replica.encode([[RAISE]])
        assert "Traceback" in str(caught.value)
        assert (await replica.encode([[1]])).vectors[0, 0] == 1


async def test_vectors_that_do_not_match_the_texts_are_a_failure():
    async with serving() as (replica, _):
        with pytest.raises(BatchFailedError, match=r"made \(1, 3\) of 2 texts"):
            await replica.encode([[MISCOUNT], [2]])


async def test_memory_that_runs_out_is_told_as_such_and_is_no_strike():
    async with serving() as (replica, task):
        for _ in range(2 * STRIKES):
            with pytest.raises(ReplicaExhaustedError):
                await replica.encode([[EXHAUST]])
        assert not task.done()


async def test_a_replica_that_fails_every_text_is_given_up():
    async with serving(Broken) as (replica, task):
        for _ in range(STRIKES):
            with pytest.raises(BatchFailedError):
                await replica.encode([[BREAK]])
        with pytest.raises(ReplicaLostError, match="cannot be wrong"):
            await asyncio.wait_for(task, SECONDS)


async def test_a_replica_that_only_ever_gets_bad_texts_is_not_given_up():
    async with serving() as (replica, task):
        for _ in range(3 * STRIKES):
            with pytest.raises(BatchFailedError):
                await replica.encode([[RAISE]])
        assert (await replica.encode([[1]])).vectors[0, 0] == 1
        assert not task.done()


async def test_the_probe_that_bad_texts_lead_to_is_not_waited_for_once_it_is_answered():
    async with serving(patience=0.05) as (replica, task):
        for _ in range(STRIKES):
            with pytest.raises(BatchFailedError):
                await replica.encode([[RAISE]])
        await replica.encode([[1]])
        await asyncio.wait([task], timeout=1)
        assert not task.done()


async def test_a_probe_that_fails_is_a_replica_s_last_and_one_that_succeeds_says_nothing_of_its_pace():
    async with serving(Broken) as (replica, task):
        before = len(replica.pace)
        await replica.probe()
        assert len(replica.pace) == before
        with pytest.raises(BatchFailedError):
            await replica.encode([[BREAK]])
        with pytest.raises(BatchFailedError):
            await replica.probe()
        with pytest.raises(ReplicaLostError, match="cannot be wrong"):
            await asyncio.wait_for(task, SECONDS)


@pytest.mark.parametrize(
    ("command", "reason"), [(DIE, "status 3"), (CRASH, f"status -{signal.SIGSEGV:d}"), (HANG, "longer than")]
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_process_that_dies_crashes_or_hangs_fails_what_it_had_and_is_lost(command, reason):
    async with serving(patience=PATIENCE) as (replica, task):
        process = await process_of(replica)
        asked = [asyncio.ensure_future(replica.encode([[number]])) for number in (command, 2, 3)]
        await asyncio.sleep(0)
        with pytest.raises(ReplicaLostError, match=reason):
            await asyncio.wait_for(task, SECONDS)
        begun = []
        for one in asked:
            with pytest.raises(ReplicaLostError, match=reason) as caught:
                await asyncio.wait_for(one, SECONDS)
            begun.append(caught.value.begun)
        assert begun == [True, False, False]
        with pytest.raises(ReplicaLostError, match=reason):
            await replica.encode([[4]])
    assert not runs(process)


async def test_the_time_that_a_batch_waits_for_another_does_not_count_as_hanging():
    async with serving(patience=PATIENCE) as (replica, task):
        await asyncio.gather(*(replica.encode([[LINGER]]) for _ in range(4)))  # twice the patience in all
        assert not task.done()


async def test_who_leaves_does_not_take_the_answers_of_others_with_him():
    async with serving() as (replica, _):
        gone = asyncio.ensure_future(replica.encode([[1]]))
        stays = asyncio.ensure_future(replica.encode([[2]]))
        await asyncio.sleep(0)
        gone.cancel()
        assert (await asyncio.wait_for(stays, SECONDS)).vectors[0, 0] == 2


async def test_what_libraries_write_is_in_the_log():
    with capture_logs() as logs:
        async with serving() as (replica, _):
            await replica.encode([[MUTTER]])
    [entry] = [entry for entry in logs if entry["event"] == "replica wrote"]
    assert entry["text"] == "a library's warning"


async def test_what_the_process_logs_is_in_the_log_as_itself():
    with capture_logs() as logs:
        async with serving() as (replica, _):
            await replica.encode([[LOG]])
    [entry] = [entry for entry in logs if entry["event"] == "kernels are not compiled"]
    assert (entry["log_level"], entry["shapes"], entry["device"]) == ("error", 3, "cpu")


async def test_a_child_of_the_process_does_not_keep_its_end_waiting():
    async with serving() as (replica, _):
        await replica.encode([[SPAWN]])
        began = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - began < SECONDS


async def test_a_replica_that_does_not_load_in_time_is_unusable():
    with pytest.raises(ReplicaUnusableError, match=r"not ready after 0\.5 s"):
        await open_replica(Order(hang, "cpu", [[1]]), Timing(0.5, SECONDS)).__aenter__()


def hang(device):
    time.sleep(600)


def refuse(device):
    raise RuntimeError(f"no such weights on {device}")


def die_at_once(device):
    os._exit(9)


@pytest.mark.parametrize(
    ("build", "warm_up", "reason"),
    [
        (refuse, [[1]], "no such weights on cpu"),
        (die_at_once, [[1]], "status 9"),
        (ObedientEncoder, [[RAISE]], "as it was told"),
    ],
    ids=["cannot be built", "dies", "fails its warm-up"],
)
async def test_an_encoder_that_cannot_be_used_is_told(build, warm_up, reason):
    with pytest.raises(ReplicaUnusableError, match=reason):
        await open_replica(Order(build, "cpu", warm_up), Timing(SECONDS, SECONDS)).__aenter__()

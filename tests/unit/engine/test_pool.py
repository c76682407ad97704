"""pool: replicas are started together, watched, and replaced when they are lost."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from obedient_encoder import BREAK, DIE, HANG, Broken, ObedientEncoder, Unless
from structlog.testing import capture_logs
from witness import Witness

from embedsvc.engine.pool import PoolSpec, open_pool
from embedsvc.engine.replica import PROBE, BatchFailedError, ReplicaLostError, Timing
from embedsvc.errors import ConfigurationError
from embedsvc.metrics import Metrics

SECONDS = 20


@asynccontextmanager
async def pooling(build=ObedientEncoder, devices=("cpu",), patience=0.5, metrics=None):
    spec = PoolSpec("m", build, devices, PROBE, Timing(SECONDS, patience))
    witness = Witness()
    async with open_pool(spec, (metrics or Metrics()).engine("m")) as pool:
        pool.listen(witness)
        yield pool, witness


async def test_there_is_a_replica_for_every_device_and_listeners_hear_of_all():
    async with pooling(devices=("cpu", "cpu", "cuda:0")) as (pool, witness):
        heard = [await witness.next("joined") for _ in range(3)]
        assert sorted(replica.device for replica in heard) == ["cpu", "cpu", "cuda:0"]
        assert heard == pool.replicas
        assert (pool.dimensions, pool.padded) == (3, False)
        processes = [(await replica.encode([[1]])).vectors[0, 2] for replica in heard]
        assert len(set(processes)) == 3


@pytest.mark.parametrize("command", [DIE, HANG])
async def test_a_replica_that_is_lost_is_replaced_and_counted(command):
    metrics = Metrics()
    with capture_logs() as logs:
        await _lose_one(command, metrics)
    assert metrics.registry.get_sample_value("embeddings_replica_restarts_total", {"model": "m"}) == 1
    assert [entry["event"] for entry in logs] == ["replica ready", "replica lost", "replica ready"]


async def _lose_one(command, metrics):
    async with pooling(metrics=metrics) as (pool, witness):
        first = await witness.next("joined")
        with pytest.raises(ReplicaLostError):
            await first.encode([[command]])
        assert await witness.next("left") is first
        second = await witness.next("joined")
        assert pool.replicas == [second]
        assert (await second.encode([[7]])).vectors[0, 0] == 7


async def test_a_replica_that_fails_its_probe_is_replaced():
    async with pooling(Broken) as (pool, witness):
        first = await witness.next("joined")
        with pytest.raises(BatchFailedError):
            await first.encode([[BREAK]])
        await pool.probe()
        assert await witness.next("left") is first
        assert (await (await witness.next("joined")).encode([[7]])).vectors[0, 0] == 7


async def test_the_others_work_on_while_one_is_replaced():
    async with pooling(devices=("cpu", "cpu")) as (_, witness):
        first, second = await witness.next("joined"), await witness.next("joined")
        with pytest.raises(ReplicaLostError):
            await first.encode([[DIE]])
        assert (await second.encode([[7]])).vectors[0, 0] == 7


async def test_a_replica_that_cannot_be_started_again_is_tried_until_it_can_and_nobody_waits_for_it(tmp_path):
    broken = tmp_path / "broken"
    async with pooling(Unless(broken)) as (pool, witness):
        first = await witness.next("joined")
        broken.write_text("something")
        with pytest.raises(ReplicaLostError):
            await first.encode([[DIE]])
        await witness.next("left")
        await witness.next("given up")
        assert pool.hopeless
        broken.unlink()
        while (event := await asyncio.wait_for(witness.events.get(), SECONDS))[0] == "given up":
            pass
        assert event[0] == "joined"
        assert not pool.hopeless


async def test_a_model_that_cannot_be_used_stops_the_start(tmp_path):
    (tmp_path / "broken").write_text("something")
    with pytest.raises(ConfigurationError, match=r"m cannot be used: .*something is wrong with the weights"):
        await pooling(Unless(tmp_path / "broken"), devices=("cpu", "cpu")).__aenter__()


async def test_a_probe_goes_to_idle_replicas_and_finds_the_one_that_hangs():
    async with pooling() as (pool, witness):
        first = await witness.next("joined")
        await pool.probe()
        assert pool.replicas == [first]
        busy = asyncio.ensure_future(first.encode([[HANG]]))
        await asyncio.sleep(0)
        await pool.probe()  # does not wait for what is under way
        assert not busy.done()
        with pytest.raises(ReplicaLostError):
            await busy

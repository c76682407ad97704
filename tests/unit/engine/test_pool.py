"""pool: one encoder, one device, one thread."""

import threading

import numpy as np
import pytest
from gated_encoder import GatedEncoder, expected

from embedsvc.engine.pool import PROBE, open_replica


async def test_an_encoder_is_built_warmed_up_and_called_in_one_thread_of_its_own():
    encoder, built_in = GatedEncoder(), []

    def build(device):
        built_in.append((device, threading.current_thread()))
        return encoder

    async with open_replica(build, "cpu", PROBE) as replica:
        assert len(encoder.batches) == 1
        await replica.encode([[1]])
        await replica.encode([[2]])
    [(device, thread)] = built_in
    assert device == "cpu"
    assert encoder.threads == {thread}
    assert thread is not threading.main_thread()
    assert not thread.is_alive()


async def test_a_replica_answers_what_its_encoder_makes():
    async with open_replica(GatedEncoder, "cuda:7", PROBE) as replica:
        batch = [[1, 2], [3]]
        np.testing.assert_array_equal(await replica.encode(batch), expected(batch))
        assert (replica.device, replica.dimensions, replica.padded) == ("cuda:7", 3, False)
        assert replica.gpu_memory() is None


async def test_a_model_that_does_not_load_is_fatal():
    def build(device):
        raise MemoryError(device)

    with pytest.raises(MemoryError, match="cpu"):
        await open_replica(build, "cpu", PROBE).__aenter__()


async def test_a_model_that_does_not_survive_its_warm_up_is_fatal():
    encoder = GatedEncoder()
    encoder.wrong = lambda batch: 1 / 0
    with pytest.raises(ZeroDivisionError):
        await open_replica(lambda device: encoder, "cpu", PROBE).__aenter__()


@pytest.mark.parametrize("shape", [(1, 3), (3, 3), (2, 2), (2, 4), (6,), (2, 3, 1)])
async def test_vectors_of_another_shape_are_a_failure(shape):
    encoder = GatedEncoder()
    async with open_replica(lambda device: encoder, "cpu", PROBE) as replica:
        encoder.wrong = lambda batch: np.zeros(shape, dtype=np.float32)
        with pytest.raises(RuntimeError, match="of 2 texts"):
            await replica.encode([[1], [2]])


async def test_a_replica_is_unhealthy_from_a_failure_until_the_next_success():
    encoder = GatedEncoder()
    async with open_replica(lambda device: encoder, "cpu", PROBE) as replica:
        assert replica.healthy
        encoder.wrong = lambda batch: 1 / 0
        with pytest.raises(ZeroDivisionError):
            await replica.encode([[1]])
        assert not replica.healthy
        with pytest.raises(ZeroDivisionError):
            await replica.probe()
        assert not replica.healthy
        encoder.wrong = None
        await replica.probe()
        assert replica.healthy

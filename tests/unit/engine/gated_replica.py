"""A replica that tests hold and release, and that remembers what it was given; and a pool of such."""

import asyncio

import numpy as np

from embedsvc.engine.replica import Encoded, ReplicaError, ReplicaLostError

SECONDS = 10
"""Longer than anything takes that works."""


class GatedReplica:
    """Makes [first id, sum of ids, number of ids] of each text, as many batches at once as it has lanes.

    Attributes:
        sent: How many batches it was given.
        rooms: What each was to have.
        batches: What it has begun.
        wrong: Called with each batch instead of the true computation, where it is set.
        seconds: What it says that a batch took.
    """

    dimensions = 3
    padded = False
    worth_all = 128
    gpu_memory = None

    def __init__(self, device="cpu", lanes=1):
        self.device = device
        self.depth = self.lanes = lanes
        self.sent = 0
        self.batches = []
        self.rooms = []
        self.wrong = None
        self.seconds = 0.0
        self.idle = True
        self._lost = False
        self._held = False
        self._passes = asyncio.Semaphore(0)
        self._begun = asyncio.Queue()
        self._turn = asyncio.Semaphore(lanes)

    def hold(self):
        """Let no batch end from now on."""
        self._held = True

    def pass_one(self):
        """Let the batch under way end, and hold the next."""
        self._passes.release()

    def release(self):
        """Let all batches end."""
        self._held = False
        for _ in range(self.lanes):
            self.pass_one()

    def lose(self):
        """Fail whatever is under way or still comes, as a replica does whose process died."""
        self._lost = True
        self.release()

    async def begun(self):
        """Wait until it begins the next batch, and return it."""
        return await asyncio.wait_for(self._begun.get(), SECONDS)

    def encode(self, batch, room):
        self.sent += 1
        self.rooms.append(room)
        return asyncio.ensure_future(self._encode(batch))

    async def _encode(self, batch):
        async with self._turn:
            begun = not self._lost
            if begun:
                self.batches.append([list(text) for text in batch])
                self._begun.put_nowait(self.batches[-1])
            if self._held:
                await asyncio.wait_for(self._passes.acquire(), SECONDS)
            if self._lost:
                raise ReplicaLostError("it died", begun=begun)
            return Encoded((self.wrong or expected)(batch), self.seconds)


class GatedPool:
    """Replicas that are never replaced but by a test."""

    dimensions = 3
    padded = False

    def __init__(self, *replicas):
        self.replicas = list(replicas)
        self.hopeless = False
        self.listener = None

    def listen(self, listener):
        self.listener = listener
        for replica in self.replicas:
            listener.joined(replica)

    def lose(self, replica):
        """As a pool does when a process dies."""
        self.replicas.remove(replica)
        replica.lose()
        self.listener.left(replica)

    def add(self, replica):
        self.replicas.append(replica)
        self.hopeless = False
        self.listener.joined(replica)

    def give_up(self):
        self.hopeless = True
        self.listener.given_up()


def expected(batch):
    return np.array([[text[0], sum(text), len(text)] for text in batch], dtype=np.float32)


def failing(error):
    """What `wrong` is set to for every batch to fail."""

    def fail(batch):
        raise error

    return fail


def poisoned_by(number, error_type=ReplicaError, **options):
    """What `wrong` is set to for batches with this id to fail."""

    def compute(batch):
        if any(number in text for text in batch):
            raise error_type("a secret of the encoder", **options)
        return expected(batch)

    return compute

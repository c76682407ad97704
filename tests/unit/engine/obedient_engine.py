"""Settings of engines whose encoders do as they are told, and a caller of them."""

import asyncio

from embedsvc.config import EngineSettings, ModelSettings, Settings
from embedsvc.types import Caller

ANYONE = Caller("anyone")
MINI, BGE, GTE = "all-MiniLM-L6-v2", "bge-large-en-v1.5", "gte-large"


def settings(*, encoder="fake", devices=("cpu",), **models):
    chosen = {"primary": MINI, "fallback": BGE, "also": (GTE,), **models}
    return Settings(engine=EngineSettings(encoder=encoder, devices=devices), models=ModelSettings(**chosen))


async def change(engine, chosen):
    """Apply other settings, as a reload does."""
    await engine.apply(chosen)
    await engine.settle()


async def ask(engine, name, text=(5, 6)):
    """The process that answered one request."""
    model = engine.find(name)
    async with model.entered(ANYONE) as batcher:
        await asyncio.sleep(0)  # as tokenizing takes a while
        computed = await batcher.submit([text], ANYONE)
    assert computed.vectors[0, :2].tolist() == [text[0], sum(text)]
    return int(computed.vectors[0, 2])


async def ask_all_the_time(engine, name, over):
    """The processes that answered one caller who never pauses."""
    processes = []
    while not over.is_set():
        processes.append(await ask(engine, name))
    return processes

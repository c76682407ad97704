"""budget: whose weights are loaded, and who makes room for whom."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from embedsvc.engine.budget import Budget
from embedsvc.errors import OverloadedError


class Tenant:
    """One that is evicted by closing its hold."""

    def __init__(self, name, size, used_at=0.0, *, pinned=False):
        self.name, self.size, self.used_at, self.pinned = name, size, used_at, pinned
        self.busy = False
        self.stack = AsyncExitStack()
        self.evictions = 0
        self.leaving = asyncio.Event()
        self.leaving.set()

    @property
    def evictable(self):
        return not (self.pinned or self.busy)

    async def evict(self):
        self.evictions += 1
        await self.leaving.wait()
        await self.stack.aclose()

    async def enter(self, budget):
        await self.stack.enter_async_context(budget.held(self))
        return self


async def test_what_fits_is_left_alone():
    budget = Budget(100)
    first, second = Tenant("a", 60), Tenant("b", 40)
    await first.enter(budget)
    await second.enter(budget)
    assert (budget.used, first.evictions) == (100, 0)
    await first.stack.aclose()
    assert budget.used == 40


async def test_without_a_limit_everything_fits():
    budget = Budget(None)
    for name in "abc":
        await Tenant(name, 10**15).enter(budget)
    assert budget.used == 3 * 10**15


async def test_who_was_not_used_for_longest_makes_room_and_no_more_than_need_be():
    budget = Budget(100)
    tenants = [await Tenant(str(at), 25, used_at=at).enter(budget) for at in (3, 1, 2, 4)]
    await Tenant("new", 50).enter(budget)
    assert [tenant.evictions for tenant in tenants] == [0, 1, 1, 0]
    assert budget.used == 100


async def test_who_has_work_or_is_pinned_stays_and_nobody_goes_in_vain():
    budget = Budget(100)
    pinned = await Tenant("pinned", 40, pinned=True).enter(budget)
    busy, idle = await Tenant("busy", 40).enter(budget), await Tenant("idle", 20).enter(budget)
    busy.busy = True
    with pytest.raises(OverloadedError, match="the model new does not fit beside those that are in use"):
        await Tenant("new", 30).enter(budget)
    assert [tenant.evictions for tenant in (pinned, busy, idle)] == [0, 0, 0]
    busy.busy = False
    await Tenant("new", 30).enter(budget)
    assert [tenant.evictions for tenant in (pinned, busy, idle)] == [0, 1, 0]


async def test_a_pinned_one_gets_in_though_there_is_too_little_and_what_is_idle_goes():
    budget = Budget(100)
    idle, busy = await Tenant("idle", 30).enter(budget), await Tenant("busy", 60).enter(budget)
    busy.busy = True
    await Tenant("replaces another", 60, pinned=True).enter(budget)
    assert (idle.evictions, busy.evictions, budget.used) == (1, 0, 120)


async def test_room_is_made_for_one_at_a_time():
    budget = Budget(100)
    slow = await Tenant("slow", 100).enter(budget)
    slow.leaving.clear()
    entering = [asyncio.create_task(Tenant(name, 50).enter(budget)) for name in ("a", "b")]
    await asyncio.sleep(0)
    assert slow.evictions == 1
    assert not any(task.done() for task in entering)
    slow.leaving.set()
    await asyncio.gather(*entering)
    assert (slow.evictions, budget.used) == (1, 100)


async def test_one_that_gets_work_while_another_leaves_is_not_unloaded():
    budget = Budget(100)
    first, second = await Tenant("a", 50, 1).enter(budget), await Tenant("b", 50, 2).enter(budget)
    first.leaving.clear()
    entering = asyncio.create_task(Tenant("new", 100).enter(budget))
    await asyncio.sleep(0)
    second.busy = True
    first.leaving.set()
    with pytest.raises(OverloadedError):
        await entering
    assert (first.evictions, second.evictions, budget.used) == (1, 0, 50)


async def test_a_limit_that_is_lowered_unloads_what_is_idle():
    budget = Budget(100)
    tenants = [await Tenant(str(at), 30, used_at=at).enter(budget) for at in range(3)]
    tenants[0].busy = True
    budget.limit = 70
    await budget.shrink()
    assert [tenant.evictions for tenant in tenants] == [0, 1, 0]

"""ledger: requests and failures reach a real store, and what is too old is forgotten."""

import time
from dataclasses import replace

from embedsvc.config import LedgerSettings
from embedsvc.ledger.ledger import open_ledger
from embedsvc.ledger.retention import DAY, purge
from embedsvc.metrics import Metrics
from embedsvc.store.records import RequestRow
from embedsvc.store.sqlite.store import open_sqlite

ROW = RequestRow("r", "a" * 64, "any", "Embed", "m", 1, 2, 8, 0, 1.5, "OK", 0.0)
ALL = ("2000-01-01", "2100-01-01")


async def test_what_was_told_before_the_end_is_kept(tmp_path):
    async with open_sqlite(tmp_path / "x.db") as store:
        async with open_ledger(store, LedgerSettings(), Metrics()) as ledger:
            for _ in range(500):
                ledger.add(replace(ROW, at=time.time()))
            ledger.add_failure("emb_guess123", "unknown_key", "192.0.2.1")
        (used,) = await store.usage(*ALL)
        assert (used.requests, used.tokens) == (500, 4000)
        assert [row.reason for row in await store.failures(0)] == ["unknown_key"]


async def test_what_is_older_than_may_be_kept_is_forgotten(tmp_path):
    settings = LedgerSettings(retention_days=2, usage_retention_days=10)
    now = time.time()
    async with open_sqlite(tmp_path / "x.db") as store:
        ages = (0, 1, 3, 9, 12)
        await store.log_requests("1", [replace(ROW, at=now - age * DAY) for age in ages])
        assert await purge(store, settings) == 3 + 1
        assert len(await store.usage(*ALL)) == 4
        assert await purge(store, settings) == 0

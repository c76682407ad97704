"""What a stream comes to: its batches are summed, so that a million of them are a few rows of the ledger."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from embedsvc.access.account import Account
from embedsvc.errors import EmbedsvcError
from embedsvc.ledger.ledger import Ledger
from embedsvc.store.records import RequestRow

MOST = 1000
"""Batches of one row: a stream may go on for days."""


class Tab:
    """Keeps the accounts of a stream's batches.

    Args:
        ledger: What is told.
        request_id: The stream's.
    """

    def __init__(self, ledger: Ledger, request_id: str) -> None:
        self._ledger = ledger
        self._request_id = request_id
        self._rows: dict[tuple[str, str], RequestRow] = {}

    @contextmanager
    def batch(self, account: Account) -> Iterator[None]:
        """Keep the account of one batch."""
        started = time.perf_counter()
        outcome = "OK"
        try:
            yield
        except BaseException as error:
            outcome = _outcome(error)
            raise
        finally:
            took = time.perf_counter() - started
            self._add(account.row(self._request_id, "EmbedStream", outcome, took))

    def close(self) -> None:
        """Tell what is left."""
        for row in self._rows.values():
            self._ledger.add(row)
        self._rows.clear()

    def _add(self, row: RequestRow) -> None:
        at = row.model, row.outcome
        total = self._rows.pop(at, None)
        row = _sum(total, row) if total else row
        if row.requests < MOST:
            self._rows[at] = row
        else:
            self._ledger.add(row)


def _sum(total: RequestRow, row: RequestRow) -> RequestRow:
    return replace(
        row,
        requests=total.requests + row.requests,
        inputs=total.inputs + row.inputs,
        tokens=total.tokens + row.tokens,
        cached=total.cached + row.cached,
        latency_ms=total.latency_ms + row.latency_ms,
    )


def _outcome(error: BaseException) -> str:
    if isinstance(error, asyncio.CancelledError):
        return "CANCELLED"
    return error.code if isinstance(error, EmbedsvcError) else "INTERNAL"

"""store.presence: that a store goes away, or is back, is told of once."""

import pytest
from structlog.testing import capture_logs

from embedsvc.store.presence import Presence
from embedsvc.store.protocols import StoreAwayError


@pytest.fixture
def presence():
    return Presence("it is away; nothing is lost", "it is back")


def test_a_store_that_answers_is_not_worth_a_word(presence):
    with capture_logs() as logs:
        presence.answered()
        presence.answered()
    assert (presence.away, logs) == (False, [])


def test_that_it_goes_away_is_told_once_with_the_reason(presence):
    with capture_logs() as logs:
        presence.failed(StoreAwayError("first"))
        presence.failed(TimeoutError("second"))
    assert presence.away
    assert logs == [
        {
            "event": "it is away; nothing is lost",
            "error": "StoreAwayError('first')",
            "log_level": "warning",
        }
    ]


def test_that_it_is_back_is_told_once(presence):
    presence.failed(StoreAwayError("no"))
    with capture_logs() as logs:
        presence.answered()
        presence.answered()
    assert (presence.away, logs) == (False, [{"event": "it is back", "log_level": "info"}])


def test_that_it_goes_away_again_is_told_again(presence):
    with capture_logs() as logs:
        for _ in range(2):
            presence.failed(StoreAwayError("no"))
            presence.answered()
    assert len(logs) == 4

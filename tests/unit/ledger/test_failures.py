"""ledger.failures: whoever guesses keys makes counts larger, and not rows more."""

from embedsvc.ledger.failures import MOST_GROUPS, MOST_PREFIXES, Tally


def test_failures_that_are_alike_are_one_row():
    tally = Tally()
    for _ in range(1000):
        tally.add("emb_guess123", "unknown_key", "192.0.2.1")
    (row,) = tally.take()
    assert (row.prefix, row.reason, row.address, row.count) == (
        "emb_guess123",
        "unknown_key",
        "192.0.2.1",
        1000,
    )
    assert row.first_at <= row.last_at
    assert tally.take() == []


def test_a_guesser_who_never_tries_a_key_twice_makes_few_rows_and_none_is_uncounted():
    tally = Tally()
    for at in range(100_000):
        tally.add(f"emb_{at:08}", "unknown_key", "192.0.2.1")
    tally.add("emb_other", "unknown_key", "192.0.2.2")
    rows = tally.take()
    assert len(rows) == MOST_PREFIXES + 2
    assert sum(row.count for row in rows) == 100_001
    assert ("emb_other", "192.0.2.2") in {(row.prefix, row.address) for row in rows}


def test_guessers_of_many_addresses_make_few_rows_too_and_none_is_uncounted():
    tally = Tally()
    for at in range(10_000):
        tally.add(f"emb_{at:08}", "unknown_key", f"192.0.{at // 250}.{at % 250}")
    rows = tally.take()
    assert len(rows) == MOST_GROUPS + 1
    assert sum(row.count for row in rows) == 10_000

"""The numbers of the command line, within bounds."""

import argparse
from collections.abc import Callable
from typing import TypeVar

MOST_UNITS = 10**12
"""Of a limit: whatever a store counts with can hold it."""

MOST_DAYS = 36_500
"""A hundred years: later moments have no date."""

N = TypeVar("N", int, float)


def between(least: N, most: N) -> Callable[[str], N]:
    """Make what reads a number of these bounds, and of their type."""
    kind = type(least)

    def read(text: str) -> N:
        try:
            number = kind(text)
        except ValueError:
            number = kind(least - 1)
        if not least <= number <= most:  # what is not a number is neither
            raise argparse.ArgumentTypeError(f"must be a number from {least:,} to {most:,}")
        return number

    return read


count = between(1, MOST_UNITS)
"""Units of a limit."""

days = between(0.0, float(MOST_DAYS))
"""An age, or a time that may be none."""

whole_days = between(1, MOST_DAYS)
"""Days of a report."""

lifetime = between(0.001, float(MOST_DAYS))
"""Days that a key lives: a minute and a half, at least."""

dollars = between(0.0, 1e6)
"""The price of an hour."""

machines = between(0.001, 1e6)
"""How many run, on average."""

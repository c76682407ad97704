"""What was seen in a window, and how figures of several rounds are set against each other."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

PERCENTILES = (50, 90, 99)


@dataclass(frozen=True, slots=True)
class Call:
    """One call.

    Attributes:
        texts: How many it asked for.
        tokens: Of all its texts.
        ended: When, on the clock of `time.perf_counter`.
        seconds: How long it took; in an open loop from when it was to be sent.
        failure: Why it failed, if it did.
    """

    texts: int
    tokens: int
    ended: float
    seconds: float
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """One window.

    Attributes:
        seconds: Its length.
        requests: Good answers.
        texts: Vectors in them.
        tokens: What these were made of.
        latency_ms: Percentiles over the good answers, by name.
        errors: How often each kind of failure came.
        cpu_seconds: Processor time that was spent meanwhile, by who spent it.
    """

    seconds: float
    requests: int
    texts: int
    tokens: int
    latency_ms: Mapping[str, float]
    errors: Mapping[str, int]
    cpu_seconds: Mapping[str, float]

    def metric(self, name: str) -> float:
        """One figure by its name.

        `requests/s`, `texts/s`, `tokens/s`; with `/core` instead of `/s` over the seconds of a core that the
        program spent; `p50`, `p90`, `p99` in milliseconds; `callers`, `program` and `machine`: cores in use;
        `others`: cores in use by what has no part in this; `failures`.
        """
        if name == "failures":
            return sum(self.errors.values())
        if name == "others":
            known = sum(spent for who, spent in self.cpu_seconds.items() if who != "machine")
            return (self.cpu_seconds["machine"] - known) / self.seconds
        if name in self.latency_ms:
            return self.latency_ms[name]
        if name in self.cpu_seconds:
            return self.cpu_seconds[name] / self.seconds
        counted, _, per = name.partition("/")
        count: int = getattr(self, counted)
        return count / (self.seconds if per == "s" else self.cpu_seconds["program"])


def summarize(calls: Sequence[Call], seconds: float, cpu_seconds: Mapping[str, float]) -> Figures:
    """Count calls.

    Raises:
        RuntimeError: None of them is good.
    """
    good = [call for call in calls if call.failure is None]
    errors = Counter(call.failure for call in calls if call.failure is not None)
    if not good:
        raise RuntimeError(f"no good answer in {seconds:.1f} seconds; errors: {dict(errors)}")
    latency = np.percentile([call.seconds for call in good], PERCENTILES) * 1000
    return Figures(
        seconds=round(seconds, 4),
        requests=len(good),
        texts=sum(call.texts for call in good),
        tokens=sum(call.tokens for call in good),
        latency_ms={f"p{at}": round(float(value), 3) for at, value in zip(PERCENTILES, latency, strict=True)},
        errors=dict(errors),
        cpu_seconds={name: round(value, 3) for name, value in cpu_seconds.items()},
    )


@dataclass(frozen=True, slots=True)
class Spread:
    """The median over the rounds, and the least and the most of any one."""

    median: float
    least: float
    most: float


def spread(values: Sequence[float]) -> Spread:
    """Sum up one figure's rounds."""
    return Spread(median(values), min(values), max(values))


def ratio(over: Sequence[float], under: Sequence[float]) -> Spread:
    """Divide round by round: what slows one round down slows both."""
    return spread([one / other for one, other in zip(over, under, strict=True)])

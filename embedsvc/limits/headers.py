"""What an answer says of limits, as OpenAI's do.

https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers: `x-ratelimit-limit-requests`,
`-remaining-requests`, `-reset-requests` (as "1s" or "6m0s"), and the same for tokens.
"""

from collections.abc import Sequence

from embedsvc.limits.bucket import Bucket
from embedsvc.periods import HOUR, MINUTE

Headers = list[tuple[str, str]]


def describe(kind: str, buckets: Sequence[Bucket], now: float) -> Headers:
    """The three headers of one kind, for the limit that has the smallest part left.

    Args:
        kind: "requests" or "tokens".
        buckets: The caller's limits of that kind; without any, there is nothing to say.
        now: Seconds of time.monotonic.
    """
    if not buckets:
        return []
    bucket = min(buckets, key=lambda bucket: bucket.remaining(now) / bucket.limit.units)
    return [
        (f"x-ratelimit-limit-{kind}", str(bucket.limit.units)),
        (f"x-ratelimit-remaining-{kind}", str(bucket.remaining(now))),
        (f"x-ratelimit-reset-{kind}", duration(bucket.resets_in(now))),
    ]


def duration(seconds: float) -> str:
    """Write a length of time as Go does, whose form OpenAI uses: "120ms", "1.5s", "6m0s", "1h0m0s".

    Rounded up to a millisecond, and to a second where it is over a minute.
    """
    milliseconds = -int(-seconds * 1000 // 1)
    if milliseconds < 1000:  # noqa: PLR2004
        return f"{milliseconds}ms"
    if seconds <= MINUTE:
        return f"{milliseconds / 1000:g}s"
    whole = -int(-seconds // 1)
    hours, rest = divmod(whole, HOUR)
    minutes, left = divmod(rest, MINUTE)
    return f"{hours}h{minutes}m{left}s" if hours else f"{minutes}m{left}s"

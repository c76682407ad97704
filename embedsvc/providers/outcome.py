"""How a call to a provider ends."""

from typing import Literal, TypeAlias

Outcome: TypeAlias = Literal[
    "ok", "timeout", "unreachable", "limited", "failed", "refused", "malformed", "rejected", "left", "skipped"
]
"""Timeout: it took too long. Unreachable: no connection, or it broke. Limited: 429. Failed: the provider says
that it is at fault. Refused: it does not take our key, or has no such model. Malformed: what it answers is
not what was asked for. Rejected: it does not take these texts. Left: the caller did not wait for the end.
Skipped: no call was made, since the provider is left alone."""


class CallError(Exception):
    """A call that failed, after all its tries.

    Attributes:
        outcome: Why.
        detail: More of that, for the log: never a text, a key or an answer.
        retry_after: Seconds after which the provider wants to be asked again; None where it does not say.
    """

    def __init__(self, outcome: Outcome, detail: str, retry_after: float | None = None) -> None:
        super().__init__(f"{outcome}: {detail}")
        self.outcome: Outcome = outcome
        self.detail = detail
        self.retry_after = retry_after

"""Whether anybody has a key to call with."""

import time
from collections.abc import Sequence

from embedsvc.config import Settings
from embedsvc.doctor.finding import Finding, Subject
from embedsvc.operator.keys import state_of
from embedsvc.store.records import KeyRecord

SUBJECT = Subject("store")


def judge(keys: Sequence[KeyRecord], settings: Settings) -> Finding:
    """Say whether the keys of a store let anybody in."""
    now = time.time()
    working = [key for key in keys if state_of(key, now) in ("active", "rotated")]
    keyless = any(identity.key != "required" for identity in settings.auth.identities)
    if working:
        return SUBJECT.ok(f"API keys that work: {len(working):,}")
    if keyless or settings.auth.keys is not None:
        return SUBJECT.note(
            "no API key of the store works: callers need one of auth.keys, or a certificate that does"
        )
    return SUBJECT.warning(
        "no API key works: every caller gets 401", "`embedsvc keys create NAME` makes one: docs/keys.md"
    )

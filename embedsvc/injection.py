"""Says whether a text looks like prompt injection, by the rules of data/injection.txt."""

from collections.abc import Iterable, Sequence
from importlib.resources import files

from embedsvc import folding
from embedsvc.grouping import by_size
from embedsvc.phrases import Rule, Sign, parse, squeeze, trace

_BETWEEN_TEXTS = "\n\0\n"
"""An end and a beginning, with a character between that no rule reaches over and no valid text has."""

_TOGETHER = 600
"""Characters of texts that are looked at together: to begin to look costs as much as some hundred."""


class Detector:
    """Finds texts that look like prompt injection. It never changes, so that threads can share it.

    Nearly all text has no trace of any rule, and costs some ten microseconds a thousand characters. The time
    for any other is linear in its length too.

    Args:
        rules: Rows of words.
        signs: Characters as they are.
    """

    def __init__(self, rules: Sequence[Rule], signs: Sequence[Sign]) -> None:
        self._traces = _shortest(part for rule in rules for part in rule.first)
        self._rules = [(rule, frozenset(_within(self._traces, rule.first))) for rule in rules]
        self._openers = _shortest(sign.text[:1] for sign in signs)
        self._signs = signs

    @classmethod
    def load(cls) -> "Detector":
        """Read the rules, and make what texts are folded with, in some tenths of a second."""
        folding.tables()
        return cls(*parse((files("embedsvc") / "data" / "injection.txt").read_text(encoding="utf-8")))

    def find(self, text: str) -> str | None:
        """Return the name of the first rule that a text matches; None where it matches none."""
        plain = _to_ascii(text)
        return self._find_rule(plain) or self._find_sign(plain)

    def find_all(self, texts: Sequence[str]) -> dict[int, str]:
        """Return which of many texts match a rule, by their place, and the rule's name."""
        found: dict[int, str] = {}
        for run in by_size(texts, _TOGETHER):
            together = self.find(_BETWEEN_TEXTS.join(texts[run]))
            if together is not None:
                found |= {run.start: together} if run.stop == run.start + 1 else self._find_each(texts, run)
        return found

    def _find_each(self, texts: Sequence[str], run: slice) -> dict[int, str]:
        found = ((at, self.find(texts[at])) for at in range(run.start, run.stop))
        return {at: name for at, name in found if name is not None}

    def _find_rule(self, plain: bytes) -> str | None:
        traced = trace(plain)
        found = [part for part in self._traces if part in traced]
        if not found:
            return None
        rules = (rule for rule, parts in self._rules if not parts.isdisjoint(found))
        return next((rule.name for rule in rules if rule.matches(traced, plain)), None)

    def _find_sign(self, plain: bytes) -> str | None:
        for opener in self._openers:
            if opener in plain:
                squeezed = squeeze(plain)
                return next((sign.name for sign in self._signs if sign.text in squeezed), None)
        return None


def _to_ascii(text: str) -> bytes:
    """Fold what must be. ASCII need not: where it is compared, case and what nobody sees are gone anyway."""
    return text.encode() if text.isascii() else folding.fold(text)


def _shortest(parts: Iterable[bytes]) -> Sequence[bytes]:
    """Leave out parts that have another of them in themselves: whoever looks for that finds them too."""
    distinct = sorted(set(parts), key=len)
    return [part for at, part in enumerate(distinct) if not _within(distinct[:at], [part])]


def _within(parts: Iterable[bytes], wholes: Sequence[bytes]) -> Sequence[bytes]:
    """Return the parts that one of the others has in itself."""
    return [part for part in parts if any(part in whole for whole in wholes)]

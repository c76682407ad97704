"""Reads the language of data/injection.txt, in which a rule is a row of words, and makes patterns of it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from embedsvc.folding import OTHER, UNSEEN

_ALIKE = str.maketrans("l10345@$7", "iioeasast")
"""Letters, and the digits and signs that are written for them; l and i are one."""

_BREAKS, _STOPS = b"\n\v\f\r\x1c\x1d\x1e\x1f", b".,;!?"

_UNTRACED = "ahist"
"""Frequent letters that the words looked for first can do without: short traces are searched faster."""

_GAP = r"(?:(?<=[ \n.:][a-z])[ \n.:]++|[ \n]++|[.:])?+"
"""Between the letters of a word: white space, one sign, and after a letter that stands alone anything."""

_GAPS = {"_": r"[ \n.:]*+", "+": r"(?:[ \n]++|[.:](?![ \n.:]))?+"}
"""Between words: anything, and anything but the end of a clause."""

_STARTS = {"": r"[ \n.:\x00]", "^": r"(?<![ \n.:])(?:[.:]++[ \n]| *+\n)[ \n.:]*+"}
"""Before a phrase: a sign or a letter of another script, or all signs from the end of a sentence or line."""

_ENDS = {"": r"(?![a-z])", ":": r"[ \n.]*+:"}
"""After a phrase: the end of its last word, or a colon."""

_MANY = 6


def _kind(byte: int) -> int:
    """What a byte of folded text becomes where it is compared with words."""
    character = chr(byte).lower().translate(_ALIKE)
    if byte in _BREAKS:
        return ord("\n")
    if byte in _STOPS:
        return ord(".")
    if character.islower() or character == ":":
        return ord(character)
    return OTHER if character.isdigit() or byte == OTHER else ord(" ")


_KINDS = bytes(map(_kind, range(0x80))) + bytes(0x80)
_LEFT_OUT = bytes(
    byte for byte in range(1, 0x80) if byte in UNSEEN or _KINDS[byte] in f" \n.:{_UNTRACED}".encode()
)


def trace(text: bytes) -> bytes:
    """Return the less frequent letters of ASCII text, in one row. Text that has a word has its trace too."""
    return text.translate(_KINDS, _LEFT_OUT)


def spread(text: bytes) -> bytes:
    """Return ASCII text as patterns have it: letters, spaces, line breaks, stops, colons and `OTHER`."""
    return b"\n" + text.translate(_KINDS, UNSEEN)


def squeeze(text: bytes) -> bytes:
    """Return ASCII text without white space."""
    return b"".join(text.translate(None, UNSEEN).split())


@dataclass(frozen=True, slots=True)
class Rule:
    """A row of words.

    Attributes:
        name: What it is called in logs and metrics.
        pattern: Matches in text that was `spread`, in time that is linear in its length: nothing in it
            repeats without bounds, except possessively.
        first: Traces: whatever the pattern matches has one of these.
        needs: Traces: whatever the pattern matches has one of each of these as well.
    """

    name: str
    pattern: re.Pattern[bytes]
    first: tuple[bytes, ...]
    needs: tuple[tuple[bytes, ...], ...]

    def matches(self, traced: bytes, text: bytes) -> bool:
        """Whether it is in ASCII text whose trace is given."""
        possible = all(any(map(traced.__contains__, parts)) for parts in (self.first, *self.needs))
        return possible and self.pattern.search(spread(text)) is not None


@dataclass(frozen=True, slots=True)
class Sign:
    """Characters to be found in text that was squeezed, and the name of their rule."""

    name: str
    text: bytes


@dataclass(frozen=True, slots=True)
class _Step:
    words: tuple[str, ...]
    first: bool = False
    least: int = 1
    most: int = 1

    @property
    def traces(self) -> tuple[bytes, ...]:
        return tuple(trace(word.encode()) for word in self.words)

    def make_source(self, gap: str) -> str:
        """Make its expression, with what may be before it."""
        words = "|".join(map(_word_source, self.words))
        return f"(?:{gap}(?:{words})){{{self.least},{self.most}}}"


def parse(text: str) -> tuple[Sequence[Rule], Sequence[Sign]]:
    """Read rules and signs, in their order.

    Raises:
        ValueError: A line is of another form; it is named.
    """
    sets: dict[str, tuple[str, ...]] = {}
    rules: list[Rule] = []
    signs: list[Sign] = []
    for line in _lines(text):
        if found := re.fullmatch(r"\$([a-z_]+) = (\S+)", line):
            sets[found[1]] = _words(found[2], sets)
        elif found := re.fullmatch(r'([a-z-]+):((?: "[^"]+")+)', line):
            signs += (Sign(found[1], squeeze(sign.encode())) for sign in re.findall(r'"(.+?)"', found[2]))
        elif found := re.fullmatch(r"([a-z-]+):((?: \S+)+)", line):
            rules.append(_parse_rule(found[1], found[2].split(), sets))
        else:
            raise ValueError(f"neither a set nor a rule: {line}")
    return rules, signs


def _lines(text: str) -> Iterator[str]:
    kept = "\n".join(line for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return iter(re.sub(r"\n\s+", " ", kept).splitlines())


def _parse_rule(name: str, steps: Sequence[str], sets: Mapping[str, tuple[str, ...]]) -> Rule:
    start = "^" if steps[0] == "^" else ""
    end = ":" if steps[-1] == ":" else ""
    row = [_parse_step(step, sets) for step in steps[len(start) : len(steps) - len(end)]]
    first = [step.traces for step in row if step.first and step.least]
    if len(first) != 1:
        raise ValueError(f"{name} needs one step with an exclamation mark, which must be there")
    if not start and not row[0].least:
        raise ValueError(f"{name} must not begin with a step that may be left out")
    gaps = [_GAPS["_"] if start else "", *[_GAPS["_"]] * (len(row) - 1)]
    source = _STARTS[start] + "".join(map(_Step.make_source, row, gaps)) + _ENDS[end]
    needs = tuple(step.traces for step in row if step.least and not step.first)
    return Rule(name, re.compile(source.encode()), first[0], needs)


def _parse_step(step: str, sets: Mapping[str, tuple[str, ...]]) -> _Step:
    words = _words(step.removeprefix("!").rstrip("?*"), sets)
    least, most = {"?": (0, 1), "*": (0, _MANY)}.get(step[-1], (1, 1))
    return _Step(words, step.startswith("!"), least, most)


def _words(step: str, sets: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Words of a step, with those of the sets that it names."""
    found: list[str] = []
    for word in step.split("|"):
        if word.startswith("$") and word[1:] in sets:
            found += sets[word[1:]]
        elif re.fullmatch(r"[a-z]+([_+][a-z]+)*", word):
            found.append(word)
        else:
            raise ValueError(f"no word, and no set that came before: {word}")
    return tuple(dict.fromkeys(found))


def _word_source(word: str) -> str:
    """One or several words, with what may be between their letters."""
    return "".join(
        _GAPS.get(part) or _GAP.join(spread(part.encode())[1:].decode()) for part in re.split("([_+])", word)
    )

"""Folds text to the ASCII that it looks like, so that patterns see through Unicode's tricks."""

import re
import string
import unicodedata
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from itertools import chain

import numpy as np
import numpy.typing as npt
import orjson

OTHER = 0
"""What a letter or digit becomes that looks like none of ASCII's: no word has it."""

UNSEEN = bytes([*range(1, 9), *range(0x0E, 0x1C), 0x7F])
"""ASCII that nobody sees: control characters but for white space, and for NUL, which is `OTHER`."""

_NOTHING, _TAG = 0x7F, 0x01
"""What the table has for characters that nobody sees; both are `UNSEEN`."""

_TAGS = range(0xE0020, 0xE007F)
"""Invisible copies of ASCII; some models read what they spell."""

_CODED = re.compile(rb"[\x80-\xff]")
"""Bytes of the table that stand for several letters."""

_POINTS = (
    range(0x80, 0x3400),
    range(0xA000, 0xAC00),
    range(0xF900, 0x12000),
    range(0x16800, 0x17000),
    range(0x1B000, 0x20000),
    range(0xE0000, 0xE1000),
)
"""Where a character may look like ASCII, or like nothing. Elsewhere are Han, Hangul, cuneiform and others."""

_INVISIBLE = frozenset({"Cc", "Cf", "Mn", "Me"})
_FILLERS = frozenset("\u115f\u1160\u3164\uffa0")  # letters by category, and blank
_BREAKS = frozenset("\u0085\u2028\u2029")
_BETWEEN_WORDS = frozenset("ZPS")
"""Major categories of separators, punctuation and symbols."""

_NAMED = re.compile(r"(?:LATIN|REGIONAL|SQUARED|CIRCLED).*(?:LETTER|SMALL CAPITAL) ([A-Z])(?: WITH .*)?")


def fold(text: str) -> bytes:
    """Return the ASCII that a text looks like.

    A letter or digit that looks like one of ASCII's becomes it: wide, styled, with accents, or of another
    script; others become `OTHER`. What nobody sees is left out, and other signs become spaces. What tag
    characters spell follows, on lines of its own. The time is linear in the text's length, which that of
    `unicodedata.normalize` is not.

    Look-alikes are those of Unicode Technical Standard 39, "confusables.txt", as the package
    confusable-homoglyphs carries it.
    """
    if text.isascii():
        return text.encode().translate(None, UNSEEN)
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    table, several = tables()
    coded: bytes = table[points].tobytes()
    looks = coded.translate(None, UNSEEN)
    if not looks.isascii():
        looks = _CODED.sub(lambda code: several[code[0][0] - 0x80], looks)
    if _TAG not in coded:
        return looks
    kept = (points >= _TAGS.start) & (points < _TAGS.stop) | (points == ord("\n"))
    spelled: bytes = (points[kept] & 0x7F).astype("u1").tobytes()
    return looks + b"\n" + spelled


@cache
def tables() -> tuple[npt.NDArray[np.uint8], tuple[bytes, ...]]:
    """Return a byte for each code point, and what those from 0x80 on stand for; made once, in some 0.1 s."""
    table = np.full(0x110000, OTHER, np.uint8)
    table[:0x80] = range(0x80)
    table[list(UNSEEN)] = _NOTHING
    several: dict[str, int] = {}
    for point, look in _looks(_twins()):
        if len(look) > 1:
            table[point] = 0x80 + several.setdefault(look, len(several))
        else:
            table[point] = ord(look) if look else _NOTHING
    table[_TAGS.start : _TAGS.stop] = _TAG
    return table, tuple(look.encode() for look in several)


def _looks(twins: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """Yield the code points that do not look like `OTHER`, and what they look like."""
    for point in chain(*_POINTS):
        look = _find_look(chr(point), twins)
        if look is not None:
            yield point, look.upper() if chr(point).isupper() else look


def _find_look(character: str, twins: Mapping[str, str]) -> str | None:
    category = unicodedata.category(character)
    if character in _BREAKS:
        return "\n"
    if category in _INVISIBLE or character in _FILLERS:
        return ""
    if category[0] in _BETWEEN_WORDS:
        return _find_sign(character, twins)
    look = _find_letter(character, twins)
    return look if look is None or len(look) == 1 or look.isalpha() else " "  # such as "1."


def _find_sign(character: str, twins: Mapping[str, str]) -> str:
    """Of symbols only those are letters that were made of one, such as a circled A; © is none."""
    bare = _bare(character)
    if len(bare) == 1 and bare.isascii():
        return bare
    look = twins.get(character) or " "
    return (_find_name(character) or " ") if look.isalnum() or look == " " else look


def _find_letter(character: str, twins: Mapping[str, str]) -> str | None:
    """Look at it without width, style and accents, then as it is, then in the other case."""
    bare = _bare(character)
    if bare and bare.isascii():
        return bare
    found = (twins.get(other) for other in (character, bare, bare.upper()))
    return next(filter(None, found), None) or _find_name(character)


def _find_name(character: str) -> str | None:
    named = _NAMED.search(unicodedata.name(character, ""))
    return named[1].lower() if named else None


def _bare(text: str) -> str:
    """Normal form KD, without marks and without case."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join(each for each in plain if unicodedata.category(each) not in _INVISIBLE)


def _twins() -> dict[str, str]:
    """Characters that are not ASCII, and the ASCII character that each looks like."""
    listed = orjson.loads(files("confusable_homoglyphs").joinpath("confusables.json").read_bytes())
    pairs = ((key, _bare(each["c"])) for key, found in listed.items() if len(key) == 1 for each in found)
    return {key: look for key, look in pairs if len(look) == 1 and look in string.printable}

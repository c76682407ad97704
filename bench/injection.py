"""What the check for prompt injection costs beside tokenizing the same texts, one text or 32 at once.

Texts are passages of the novel, and passages with one letter in them that is not ASCII.

    .venv/bin/python bench/injection.py path/of/a/model/tokenizer.json
"""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from texts import open_supply
from tokenizers import Tokenizer

from embedsvc.injection import Detector

LENGTHS = (8, 16, 32, 128, 512)
"""Tokens of a text."""

TEXTS, AT_ONCE, ROUNDS = 320, 32, 15


def least_time(work: Callable[[Sequence[str]], object], texts: Sequence[str], at_once: int) -> float:
    """Return the microseconds a text, in the best of some rounds over texts that differ."""
    calls = [texts[at : at + at_once] for at in range(0, len(texts), at_once)]
    return min(_time(work, calls) for _ in range(ROUNDS)) / len(texts) * 1e6


def _time(work: Callable[[Sequence[str]], object], calls: Sequence[Sequence[str]]) -> float:
    start = time.perf_counter()
    for call in calls:
        work(call)
    return time.perf_counter() - start


def main(tokenizer_file: Path) -> None:
    """Print a line for each length."""
    passages = open_supply(tokenizer_file).passages
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.no_padding()
    find = Detector.load().find_all
    print("tokens  characters  at once  tokenize µs   check µs   of it  not ASCII µs   of it")
    for tokens in LENGTHS:
        texts = [passages.cut(tokens).text for _ in range(TEXTS)]
        accented = [f"{text} é" for text in texts]
        size = sum(map(len, texts)) / len(texts)
        for at_once in (1, AT_ONCE):
            whole = least_time(tokenizer.encode_batch_fast, texts, at_once)
            plain, other = (least_time(find, some, at_once) for some in (texts, accented))
            parts = f"{plain:11.2f}{plain / whole:8.1%}{other:14.2f}{other / whole:8.1%}"
            print(f"{tokens:6}{size:12.0f}{at_once:9}{whole:13.1f}{parts}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

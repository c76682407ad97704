"""Short texts that are never the same twice, so that no cache can answer for a model."""

import random
from collections.abc import Iterator

VOCABULARY = """
the order was sent back because its label could not be read by our scanner please ask when a new one
will arrive at this address we need it before friday and would like to pay with the same card as last
month invoice number account customer service reply problem printer cable battery screen return refund
"""
WORDS = VOCABULARY.split()
SHORTEST, LONGEST = 6, 14
"""Words of one text: with special tokens about 8 to 16 tokens."""


def short_texts(seed: int = 0) -> Iterator[str]:
    """Endless sentences of common words."""
    source = random.Random(seed)
    while True:
        yield " ".join(source.choices(WORDS, k=source.randint(SHORTEST, LONGEST)))

"""What OpenAI asks for the same, in US dollars for a million tokens (https://openai.com/api/pricing)."""

SMALL = 0.02
"""text-embedding-3-small."""

LARGE = 0.13
"""text-embedding-3-large."""


def cost(tokens: int, price: float) -> float:
    """What tokens cost, in US dollars."""
    return tokens * price / 1_000_000

"""prices: what OpenAI asks for the same tokens."""

import pytest

from embedsvc import prices


@pytest.mark.parametrize(
    ("tokens", "small", "large"), [(0, 0, 0), (1_000_000, 0.02, 0.13), (1_500_000_000, 30, 195)]
)
def test_a_million_tokens_cost_two_cents_with_the_small_model_and_thirteen_with_the_large(
    tokens, small, large
):
    assert prices.cost(tokens, prices.SMALL) == pytest.approx(small)
    assert prices.cost(tokens, prices.LARGE) == pytest.approx(large)

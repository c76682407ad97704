"""A stand-in for OpenAI, and what calls it."""

import pytest
from remote import Providers
from support.openai_server import run_openai


@pytest.fixture
def openai():
    """A stand-in that nothing is wrong with, yet."""
    with run_openai() as running:
        yield running


@pytest.fixture
async def providers(openai, tmp_path):
    """Opens providers that call it."""
    async with Providers(openai, tmp_path) as opened:
        yield opened

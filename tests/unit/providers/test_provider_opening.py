"""providers: what the settings say of them, and what is opened."""

import os
import subprocess
import sys

import pytest
from remote import NAME, Providers, embed
from support.openai_server import run_openai

from embedsvc.config import Settings, load
from embedsvc.errors import ConfigurationError, ProviderDownError
from embedsvc.metrics import Metrics
from embedsvc.providers.opening import open_providers

FILE = """
[providers.openai]
key = "file:/run/secrets/openai_key"

[providers.openai.models."text-embedding-3-large"]
dimensions = 3072
allow_dimensions = true

[providers.openai.models."text-embedding-3-small"]
dimensions = 1536

[providers.lab]
url = "http://gpu-box:8000/v1"

[providers.lab.models."BAAI/bge-m3"]
dimensions = 1024
normalized = false
max_tokens = 512
"""


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    """No variables of whoever runs the tests."""
    for name in os.environ:
        if name.startswith(("EMBEDSVC_", "OPENAI_")):
            monkeypatch.delenv(name)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "embedsvc.toml"
    path.write_text(FILE)
    return path


@pytest.fixture
def settings(file):
    return load(file)


async def test_models_are_known_by_their_providers_in_the_order_of_the_settings(settings):
    async with open_providers(settings, {}, Metrics().providers) as models:
        assert list(models) == [
            "openai/text-embedding-3-large",
            "openai/text-embedding-3-small",
            "lab/BAAI/bge-m3",
        ]
        assert tuple(models) == settings.known_models[-3:]


async def test_a_model_is_what_the_settings_say(settings):
    async with open_providers(settings, {}, Metrics().providers) as models:
        large, _, other = models.values()
    assert (large.dimensions, large.tokenizer.max_tokens, large.card.allows_dimensions) == (3072, 8191, True)
    assert (other.dimensions, other.tokenizer.max_tokens, other.card.allows_dimensions) == (1024, 512, False)
    assert (large.card.files.normalized, other.card.files.normalized) == (True, False)
    assert (large.devices, other.devices) == (("openai",), ("lab",))
    assert not any(
        model.card.primary or model.card.aliases or model.card.dimensions for model in (large, other)
    )


async def test_no_two_models_share_a_space(settings):
    async with open_providers(settings, {}, Metrics().providers) as models:
        spaces = [model.card.space for model in models.values()]
    assert len(set(spaces)) == 3
    assert "https://api.openai.com/v1" in spaces[0]
    assert "text-embedding-3-large" in spaces[0]


async def test_calls_go_to_the_provider_by_its_own_name_for_a_model(tmp_path):
    with run_openai() as openai:
        async with Providers(openai, tmp_path) as providers:
            model = await providers.open({"BAAI/bge-m3": {"dimensions": 8}}, "lab")
            await embed(model, "hello")
        assert [request.body["model"] for request in openai.requests] == ["BAAI/bge-m3"]


async def test_without_providers_there_are_none():
    async with open_providers(Settings(), {}, Metrics().providers) as models:
        assert models == {}


def test_without_providers_the_sdk_is_not_even_imported():
    code = "import sys, embedsvc.providers.opening, embedsvc.app; print('openai' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


async def test_all_is_let_go_of_when_they_are_closed(tmp_path):
    with run_openai() as openai:
        async with Providers(openai, tmp_path) as providers:
            model = await providers.open()
            await embed(model, "hello")
        with pytest.raises(RuntimeError, match="closed"):
            await embed(model, "hello")


@pytest.mark.parametrize("variable", ["OPENAI_API_KEY", "OPENAI_ADMIN_KEY"])
def test_a_key_in_the_environment_stops_the_start(file, variable, monkeypatch):
    monkeypatch.setenv(variable, "sk-environment")
    with pytest.raises(ConfigurationError, match=r"providers\.NAME\.key to file:PATH") as caught:
        load(file)
    assert variable in str(caught.value)
    assert "sk-environment" not in str(caught.value)


def test_without_a_provider_it_does_not(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-environment")
    assert load().providers == {}


def test_keys_are_secrets_of_the_configuration(settings):
    assert str(settings.references["providers.openai.key"]) == "file:/run/secrets/openai_key"
    assert "providers.lab.key" not in settings.references


async def test_a_key_that_is_no_word_stops_the_start(tmp_path):
    with run_openai() as openai:
        async with Providers(openai, tmp_path) as providers:
            providers.key_file.write_text("sk-two words")
            with pytest.raises(
                ConfigurationError, match=r"providers\.openai\.key .* one word of ASCII"
            ) as caught:
                await providers.open()
            assert "two" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "a/b", "a.b", "a b", "-a", "é", "a" * 64])
def test_a_provider_has_a_plain_name(name):
    with pytest.raises(ValueError, match="pattern"):
        Settings(providers={name: {"models": {"m": {"dimensions": 8}}}})


@pytest.mark.parametrize("url", ["ftp://host/v1", "https://user@host/v1", "https://host/v1?key=x", "host/v1"])
def test_a_url_is_one_and_has_no_secret_in_it(url):
    with pytest.raises(ValueError, match=r"openai\.url"):
        Settings(providers={"openai": {"url": url, "models": {"m": {"dimensions": 8}}}})


def test_the_name_that_callers_use():
    assert (
        NAME
        in Settings(
            providers={"openai": {"models": {"text-embedding-3-small": {"dimensions": 8}}}}
        ).known_models
    )


async def test_who_signed_its_certificate_must_be_trusted(state, tmp_path):
    with run_openai(pair=(state.path("edge.crt"), state.path("edge.key"))) as openai:
        async with Providers(openai, tmp_path) as providers:
            stranger = await providers.open(name="stranger")
            with pytest.raises(ProviderDownError):
                await embed(stranger, "hello")
            known = await providers.open(ca=str(state.path("ca.crt")))
            assert (await embed(known, "hello")).shape == (1, 8)
    assert len(openai.embedded) == 1


@pytest.mark.parametrize("content", [None, "no certificate"])
async def test_a_ca_that_is_none_stops_the_start(content, tmp_path):
    path = tmp_path / "ca.crt"
    if content:
        path.write_text(content)
    with run_openai() as openai:
        async with Providers(openai, tmp_path) as providers:
            with pytest.raises(ConfigurationError, match=r"providers\.openai\.ca"):
                await providers.open(ca=str(path))

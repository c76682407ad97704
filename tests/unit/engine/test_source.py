"""source: a model's card, from the catalog, its files and the settings."""

import json

import pytest

from embedsvc.config import EngineSettings, ModelOverrides, ModelSettings, Settings
from embedsvc.engine import fake
from embedsvc.engine.catalog import CATALOG, OPENAI_NAMES
from embedsvc.engine.fake import FakeEncoder
from embedsvc.engine.fingerprint import fingerprint
from embedsvc.engine.source import open_source

MINI, BGE = "all-MiniLM-L6-v2", "bge-large-en-v1.5"


def settings(encoder="sentence-transformers", **models):
    return Settings(
        engine=EngineSettings(encoder=encoder), models=ModelSettings(**{"primary": MINI, **models})
    )


def test_the_primary_model_answers_to_openai_s_names_and_the_others_do_not():
    chosen = settings("fake", primary=MINI, fallback=BGE)
    primary, other = open_source(MINI, chosen).card, open_source(BGE, chosen).card
    assert primary.primary
    assert set(OPENAI_NAMES) <= set(primary.aliases)
    assert not other.primary
    assert not set(OPENAI_NAMES) & set(other.aliases)


def test_a_model_answers_to_its_repository_and_to_configured_aliases():
    chosen = settings("fake", settings={MINI: ModelOverrides(aliases=("mini", "small"))})
    aliases = open_source(MINI, chosen).card.aliases
    assert {"sentence-transformers/all-MiniLM-L6-v2", "mini", "small"} <= set(aliases)


@pytest.mark.parametrize("allowed", [True, False])
def test_dimensions_are_cut_where_the_operator_allows_it(allowed):
    chosen = settings("fake", settings={MINI: ModelOverrides(allow_dimensions=allowed)})
    assert open_source(MINI, chosen).card.allows_dimensions is allowed


@pytest.mark.parametrize(("configured", "tokens"), [(None, 256), (64, 64), (512, 256)])
def test_a_configured_length_lowers_the_model_s_own_and_never_raises_it(tmp_path, configured, tokens):
    chosen = settings(folder=tmp_path, settings={MINI: ModelOverrides(max_tokens=configured)})
    source = open_source(MINI, chosen)
    assert source.tokenizer.max_tokens == source.card.files.max_tokens == tokens


def test_the_fake_encoder_needs_no_files():
    source = open_source("anything", settings("fake", primary="anything"))
    assert isinstance(source.build("cpu"), FakeEncoder)
    assert source.card.files.revision == "fake"


def test_a_card_and_a_vocabulary_need_no_weights(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 32}))
    (folder / "tokenizer.json").write_text(fake.tokenizer().to_str())
    source = open_source("mine", settings(primary="mine", folder=tmp_path))
    assert source.tokenizer.max_tokens == 32
    assert source.card.name == "mine"


@pytest.fixture
def mine(tmp_path):
    """The folder of two models of the same files."""
    for name in ("mine", "twin"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 32, "hidden_size": 8}))
        (folder / "tokenizer.json").write_text(fake.tokenizer().to_str())
        (folder / "model.safetensors").write_bytes(b"these")
    return tmp_path


def card(folder, name="mine", devices=("cpu",), encoder="auto", precision="auto", **models):
    engine = EngineSettings(encoder=encoder, precision=precision)
    chosen = ModelSettings(**{"primary": "mine", "fallback": "twin", "folder": folder, **models})
    return open_source(name, Settings(engine=engine, models=chosen), devices).card


def test_what_is_said_of_a_model_of_a_folder_is_read_from_it(mine):
    files = card(mine).files
    assert (files.dimensions, files.weights_bytes) == (8, 5)
    assert files.revision == f"folder-{fingerprint(mine / 'mine')}"


@pytest.mark.parametrize(
    "other",
    [
        {"name": "twin"},
        {"encoder": "onnx"},
        {"devices": ("cuda:0",)},
        {"devices": ("cpu", "cuda:0")},
        {"devices": ("cuda:0",), "precision": "bfloat16"},
        {"precision": "int8"},
        {"settings": {"mine": ModelOverrides(max_tokens=31)}},
    ],
)
def test_whatever_vectors_depend_on_makes_another_space(mine, other):
    assert card(mine, **other).space != card(mine).space


@pytest.mark.parametrize(
    "other",
    [
        {"devices": ("cpu", "cpu")},
        {"precision": "float32"},
        {"primary": "twin", "fallback": "mine"},
        {"settings": {"mine": ModelOverrides(max_tokens=32, aliases=("ours",), allow_dimensions=True)}},
    ],
)
def test_and_nothing_else_does(mine, other):
    assert card(mine, **other).space == card(mine).space


def test_other_weights_or_another_vocabulary_in_the_folder_make_another_space(mine):
    spaces = [card(mine).space]
    for name in ("model.safetensors", "config_sentence_transformers.json"):
        (mine / "mine" / name).write_text("{}")
        spaces.append(card(mine).space)
    assert len(set(spaces)) == 3
    assert card(mine, "twin").space == card(mine, "twin").space


def test_the_space_of_a_packaged_model_has_its_revision(tmp_path):
    source = open_source(MINI, settings(folder=tmp_path))
    assert CATALOG[MINI].revision in source.card.space

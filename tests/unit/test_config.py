"""config: frozen settings from a file and the environment, every mistake named."""

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from embedsvc.config import Settings, load
from embedsvc.errors import ConfigurationError


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    """No variables of whoever runs the tests, and no file in the working folder."""
    for name in os.environ:
        if name.startswith("EMBEDSVC_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "some.toml"
        path.write_text(text)
        return path

    return write


def test_the_defaults_are_those_of_the_design():
    settings = load()
    assert settings == Settings()
    assert settings.models.served == ("all-mpnet-base-v2", "all-MiniLM-L6-v2")
    assert (settings.limits.max_text_chars, settings.limits.max_inputs) == (8192, 2048)
    assert settings.limits.max_request_bytes == 1024 * 1024
    assert (settings.server.port, settings.metrics.port) == (50051, 9464)
    assert (settings.edge.port, settings.edge.admin_port) == (8080, 9901)


@pytest.mark.parametrize("shipped", ["embedsvc.toml", "deploy/embedsvc.toml"])
def test_the_files_that_are_shipped_load(shipped):
    assert load(Path(__file__).parents[2] / shipped).models.primary


def test_a_file_says_what_differs_from_the_defaults(file):
    settings = load(
        file("""
            [server]
            port = 50052
            [engine]
            devices = ["cuda:0", "cuda:1"]
            [models]
            primary = "bge-large-en-v1.5"
            [models.settings."bge-large-en-v1.5"]
            max_tokens = 128
            aliases = ["bge"]
        """)
    )
    assert (settings.server.port, settings.server.host) == (50052, "127.0.0.1")
    assert settings.engine.devices == ("cuda:0", "cuda:1")
    assert settings.models.settings["bge-large-en-v1.5"].aliases == ("bge",)


def test_the_environment_wins_over_the_file_key_by_key(file, monkeypatch):
    monkeypatch.setenv("EMBEDSVC_SERVER__PORT", "50053")
    settings = load(file('[server]\nport = 50052\nhost = "0.0.0.0"'))
    assert (settings.server.port, settings.server.host) == (50053, "0.0.0.0")


def test_lists_and_tables_in_the_environment_are_json(monkeypatch):
    monkeypatch.setenv("EMBEDSVC_ENGINE__DEVICES", '["cpu", "cpu"]')
    monkeypatch.setenv("EMBEDSVC_MODELS__SETTINGS", '{"all-MiniLM-L6-v2": {"aliases": ["mini"]}}')
    settings = load()
    assert settings.engine.devices == ("cpu", "cpu")
    assert settings.models.settings["all-MiniLM-L6-v2"].aliases == ("mini",)


def test_the_file_is_the_named_one_or_the_variable_s_or_that_of_the_working_folder(tmp_path, monkeypatch):
    for port, name in enumerate(["embedsvc.toml", "variable.toml", "named.toml"], start=1):
        (tmp_path / name).write_text(f"server.port = {port}")
    assert load().server.port == 1
    monkeypatch.setenv("EMBEDSVC_CONFIG", str(tmp_path / "variable.toml"))
    assert load().server.port == 2
    assert load(tmp_path / "named.toml").server.port == 3


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("port = 1", "port: no such setting"),
        ("[severs]", "severs: no such setting"),
        ("[server]\nprot = 1", "server.prot: no such setting"),
        (
            '[models.settings."all-MiniLM-L6-v2"]\nmax_token = 8',
            "all-MiniLM-L6-v2.max_token: no such setting",
        ),
    ],
)
def test_an_unknown_key_is_named(file, text, name):
    with pytest.raises(ConfigurationError) as caught:
        load(file(text))
    assert name in str(caught.value)
    assert "some.toml" in str(caught.value)


@pytest.mark.parametrize(
    ("section", "setting", "value"),
    [
        ("server", "port", "0"),
        ("server", "port", "65536"),
        ("server", "port", '"http"'),
        ("server", "reflection", '"maybe"'),
        ("server", "drain_seconds", "0"),
        ("server", "keepalive_seconds", "nan"),
        ("metrics", "port", "-1"),
        ("limits", "max_inputs", "0"),
        ("limits", "max_text_chars", "1.5"),
        ("limits", "truncation", '"middle"'),
        ("engine", "encoder", '"magic"'),
        ("engine", "batch_texts", "31"),
        ("engine", "batch_tokens", "0"),
        ("engine", "tokenizer_threads", "0"),
        ("engine", "devices", '"cpu"'),
        ("engine", "devices", "[]"),
        ("models", "primary", '""'),
        ("models", "also", "[1]"),
        ("log", "level", '"loud"'),
        ("edge", "tls_port", "70000"),
    ],
)
def test_an_impossible_value_is_named(file, section, setting, value):
    with pytest.raises(ConfigurationError, match=rf"{section}\.{setting}"):
        load(file(f"[{section}]\n{setting} = {value}"))


@pytest.mark.parametrize("tokens", [7, 513])
def test_an_impossible_setting_of_one_model_is_named(file, tokens):
    with pytest.raises(ConfigurationError, match=r"models\.settings\.all-MiniLM-L6-v2\.max_tokens"):
        load(file(f'[models.settings."all-MiniLM-L6-v2"]\nmax_tokens = {tokens}'))


def test_settings_of_a_model_that_is_not_served_are_a_mistake(file):
    with pytest.raises(ConfigurationError, match=r'settings\."gte-large" is for a model that is not served'):
        load(file('[models.settings."gte-large"]\nmax_tokens = 64'))


def test_every_mistake_is_told_at_once(file):
    with pytest.raises(ConfigurationError, match=r"server\.port.*server\.prot|server\.prot.*server\.port"):
        load(file("[server]\nport = 0\nprot = 1"))


@pytest.mark.parametrize("name", ["EMBEDSVC_API_KEY", "EMBEDSVC_SEVER__PORT", "EMBEDSVC_"])
def test_an_unknown_variable_is_named(monkeypatch, name):
    monkeypatch.setenv(name, "1")
    with pytest.raises(ConfigurationError, match=f"environment variable {name}: no such setting"):
        load()


@pytest.mark.parametrize(
    ("name", "value", "setting"),
    [
        ("EMBEDSVC_SERVER__PROT", "1", r"server\.prot"),
        ("EMBEDSVC_SERVER__PORT", "many", r"server\.port"),
        ("EMBEDSVC_SERVER__PORT__DEEPER", "1", r"server\.port"),
        ("EMBEDSVC_SERVER", "50051", r"server"),
        ("EMBEDSVC_ENGINE__DEVICES", "cpu", r"engine"),
        ("EMBEDSVC_MODELS__SETTINGS", "{", r"models"),
    ],
)
def test_an_impossible_variable_is_named(monkeypatch, name, value, setting):
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=setting):
        load()


def test_a_secret_in_the_environment_is_not_repeated(monkeypatch):
    monkeypatch.setenv("EMBEDSVC_API_KEY", "emb_secret")
    with pytest.raises(ConfigurationError) as caught:
        load()
    assert "emb_secret" not in str(caught.value)


@pytest.mark.parametrize("content", [b"[server", b"\xff\xfe", b"server.port = 1\nserver.port = 2"])
def test_a_file_that_is_not_toml_is_named(tmp_path, content):
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"configuration file .*broken\.toml"):
        load(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    for path in (tmp_path / "missing.toml", tmp_path):
        with pytest.raises(ConfigurationError, match=f"configuration file {path}"):
            load(path)


def test_settings_cannot_be_changed():
    settings = load()
    with pytest.raises(ValidationError, match="frozen"):
        settings.server.port = 1
    with pytest.raises(ValidationError, match="frozen"):
        settings.server = settings.server


def test_a_model_is_served_once_the_primary_first(file):
    text = (
        '[models]\nprimary = "e5-large-v2"\nfallback = "gte-large"\nalso = ["gte-large", "e5-large-v2", "x"]'
    )
    assert load(file(text)).models.served == ("e5-large-v2", "gte-large", "x")


@pytest.mark.parametrize("name", ["e5-large-v2", "gte-large"])
def test_lazy_models_are_served_beside_the_primary_one(file, name):
    models = '[models]\nprimary = "e5-large-v2"\nfallback = "x"\n'
    assert load(file(models + 'lazy = ["x"]')).models.lazy == ("x",)
    with pytest.raises(ConfigurationError, match=f"models: .*lazy: {name} must be a model that is served"):
        load(file(models + f'lazy = ["{name}"]'))


def test_lazy_models_need_one_process(file):
    models = '[models]\nlazy = ["all-MiniLM-L6-v2"]\n[server]\nprocesses = '
    assert load(file(models + "1")).models.lazy
    with pytest.raises(ConfigurationError, match=r"models\.lazy needs server\.processes = 1"):
        load(file(models + "2"))

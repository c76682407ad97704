"""The cache of graphs: made once, never stale, never half written."""

import os
import threading

import pytest

from embedsvc.engine.onnx_cache import GraphCache, Recipe
from embedsvc.errors import ConfigurationError


class Kitchen:
    """Makes graphs of the given bytes, and counts them."""

    def __init__(self, content=b"graph"):
        self.content = content
        self.made = 0

    def make(self, path):
        self.made += 1
        path.write_bytes(self.content)

    def recipe(self, made_from="weights"):
        return Recipe("model-float32", made_from, self.make)


@pytest.fixture
def kitchen():
    return Kitchen()


@pytest.fixture
def cache(tmp_path):
    return GraphCache(tmp_path / "not" / "there yet")


def served(cache, recipe):
    with cache.open(recipe) as graph:
        return graph.read_bytes()


def test_a_graph_is_made_once(cache, kitchen):
    assert served(cache, kitchen.recipe()) == served(cache, kitchen.recipe()) == b"graph"
    assert kitchen.made == 1


def test_a_graph_of_something_else_is_replaced(cache, kitchen, tmp_path):
    served(cache, kitchen.recipe())
    kitchen.content = b"newer"
    assert served(cache, kitchen.recipe("other weights")) == b"newer"
    assert len(list(tmp_path.rglob("*.onnx"))) == 1


@pytest.mark.parametrize("ending", ["onnx", "json"])
@pytest.mark.parametrize("damage", ["cut", "changed", "lost"])
def test_what_is_damaged_is_made_anew(cache, kitchen, tmp_path, ending, damage):
    served(cache, kitchen.recipe())
    (path,) = tmp_path.rglob(f"*.{ending}")
    content = path.read_bytes()
    if damage == "lost":
        path.unlink()
    else:
        path.write_bytes(content[:2] if damage == "cut" else b"[" + content[1:])
    assert served(cache, kitchen.recipe()) == b"graph"
    assert kitchen.made == 2


def test_nothing_is_left_of_a_graph_that_could_not_be_made(cache, kitchen, tmp_path):
    def fail(path):
        path.write_bytes(b"half")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        served(cache, Recipe("model-float32", "weights", fail))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert served(cache, kitchen.recipe()) == b"graph"


def test_two_that_ask_at_once_make_one(cache, kitchen):
    threads = [threading.Thread(target=served, args=(cache, kitchen.recipe())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kitchen.made == 1


def test_a_folder_that_cannot_be_written_is_named_with_its_setting(tmp_path, kitchen):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ConfigurationError, match=r"models\.cache: .*/file/graphs"):
        served(GraphCache(tmp_path / "file" / "graphs"), kitchen.recipe())


def test_a_disk_that_is_full_is_said(cache):
    def fill(path):
        raise OSError(28, os.strerror(28))

    with pytest.raises(ConfigurationError, match=r"models\.cache: .*No space left"):
        served(cache, Recipe("model-float32", "weights", fill))


def test_a_folder_that_holds_the_graph_need_not_be_writable(cache, kitchen, monkeypatch):
    served(cache, kitchen.recipe())

    def refuse(*arguments, **options):
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr("embedsvc.engine.onnx_cache.TemporaryDirectory", refuse)
    assert served(cache, kitchen.recipe()) == b"graph"
    with pytest.raises(ConfigurationError, match="Permission denied"):
        served(cache, kitchen.recipe("other weights"))

"""fingerprint: other files that vectors may depend on, another fingerprint."""

import pytest

from embedsvc.engine.fingerprint import fingerprint, weigh


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "m"
    (folder / "1_Pooling").mkdir(parents=True)
    for name in ("config.json", "modules.json", "vocab.txt", "1_Pooling/config.json"):
        (folder / name).write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def test_it_is_the_content_and_not_the_place_or_the_time_that_counts(folder, tmp_path):
    before = fingerprint(folder)
    assert len(before) == 16
    moved = folder.rename(tmp_path / "elsewhere")
    (moved / "config.json").write_text("{}")
    assert fingerprint(moved) == before


@pytest.mark.parametrize(
    "name",
    ["model.safetensors", "1_Pooling/config.json", "vocab.txt", "2_Dense/model.safetensors", "spiece.model"],
)
def test_a_file_that_changes_or_comes_changes_it(folder, name):
    before = fingerprint(folder)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"another")
    assert fingerprint(folder) != before


def test_weights_of_a_module_that_are_a_pickle_count_where_they_are_loaded(folder):
    dense = folder / "2_Dense"
    dense.mkdir()
    (dense / "pytorch_model.bin").write_bytes(b"dense")
    before = fingerprint(folder)
    assert weigh(folder) == len(b"weightsdense")
    (dense / "pytorch_model.bin").write_bytes(b"other")
    assert fingerprint(folder) != before
    (dense / "model.safetensors").write_bytes(b"safe")  # which is loaded in its place
    safe = fingerprint(folder)
    (dense / "pytorch_model.bin").unlink()
    assert fingerprint(folder) == safe
    assert weigh(folder) == len(b"weightssafe")


def test_a_file_that_is_gone_or_has_another_name_changes_it(folder):
    whole = fingerprint(folder)
    (folder / "vocab.txt").rename(folder / "words.txt")
    renamed = fingerprint(folder)
    (folder / "words.txt").unlink()
    assert len({whole, renamed, fingerprint(folder)}) == 3


@pytest.mark.parametrize("name", ["README.md", "pytorch_model.bin", ".cache/state.json", ".hidden.json"])
def test_what_no_vector_depends_on_does_not(folder, name):
    before = fingerprint(folder)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"whatever")
    assert fingerprint(folder) == before


def test_links_are_followed(folder, tmp_path):
    before = fingerprint(folder)
    linked = tmp_path / "linked"
    linked.mkdir()
    for name in ("config.json", "modules.json", "vocab.txt", "1_Pooling", "model.safetensors"):
        (linked / name).symlink_to(folder / name)
    assert fingerprint(linked) == before
    assert weigh(linked) == len(b"weights")


def test_the_bytes_of_all_weights_count(folder):
    assert weigh(folder) == 7
    (folder / "2_Dense").mkdir()
    (folder / "2_Dense" / "model.safetensors").write_bytes(b"more")
    assert weigh(folder) == 11

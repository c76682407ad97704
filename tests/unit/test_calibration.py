"""calibration: files of ranges, and the texts that the shipped one is of."""

import json

import numpy as np
import pytest

from embedsvc import calibration
from embedsvc.calibration import calibration_of, read, shipped_texts, write
from embedsvc.errors import ConfigurationError

RANGES = np.sort(np.random.default_rng(0).standard_normal((2, 384)).astype(np.float32), axis=0)
GOOD = {"model": "m", "revision": "r", "texts": 3, "lowest": [-1, -0.5], "highest": [1, 0.25]}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deeper" / "calibrations" / "m.json"


def test_what_was_written_is_read_to_the_last_bit(path):
    write(path, calibration_of("m", "r", RANGES), texts=1000)
    found = read(path)
    assert (found.model, found.revision, found.dimensions) == ("m", "r", 384)
    assert found.ranges.tobytes() == RANGES.tobytes()
    assert [entry.name for entry in path.parent.iterdir()] == ["m.json"]
    assert json.loads(path.read_text())["texts"] == 1000


def test_a_step_is_a_255th_of_the_range(path):
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(GOOD))
    found = read(path)
    assert found.starts.tolist() == [-1, -0.5]
    np.testing.assert_array_equal(found.steps, np.float32([2, 0.75]) / np.float32(255))
    assert found.steps.dtype == np.float32


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"null",
        json.dumps({**GOOD, "lowest": [-1]}).encode(),
        json.dumps({**GOOD, "lowest": [2, 0]}).encode(),
        json.dumps({**GOOD, "lowest": -1, "highest": 1}).encode(),
        json.dumps({**GOOD, "lowest": ["a", "b"]}).encode(),
        json.dumps({**GOOD, "highest": [1, 1e39]}).encode(),
        json.dumps({**GOOD, "lowest": [[1], [2]]}).encode(),
        json.dumps({name: value for name, value in GOOD.items() if name != "revision"}).encode(),
        json.dumps({**GOOD, "lowest": [], "highest": []}).encode(),
    ],
)
def test_another_file_is_refused_by_its_name(path, content):
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=f"calibration {path}: "):
        read(path)


def test_a_file_that_is_not_there_is_named(path):
    with pytest.raises(ConfigurationError, match=f"calibration {path}: FileNotFoundError"):
        read(path)


def test_the_shipped_one_is_of_a_whole_model():
    found = read(calibration.DATA / "calibrations" / "all-MiniLM-L6-v2.json")
    assert found.model == "all-MiniLM-L6-v2"
    assert found.dimensions == 384
    assert (found.ranges[0] < found.ranges[1]).all()


def test_shipped_texts_go_from_a_word_to_more_than_any_model_reads():
    texts = shipped_texts()
    words = sorted(len(text.split()) for text in texts)
    assert len(texts) == len(set(texts)) > 3000
    assert words[0] == 1
    assert words[-1] > 300
    assert all(text.strip() and len(text) <= 8192 and "\x00" not in text for text in texts)


def test_texts_in_most_alphabets_are_among_them():
    letters = set("".join(shipped_texts()))
    assert letters >= {*"azßéñż0{🎉", *"п東图مमπ내"}

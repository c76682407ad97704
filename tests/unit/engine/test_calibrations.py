"""calibrations: which file is a model's, and that one of other weights stops the start."""

import numpy as np
import pytest

from embedsvc.calibration import DATA, calibration_of, read, write
from embedsvc.config import EngineSettings, ModelOverrides, ModelSettings, Settings
from embedsvc.engine.calibrations import find, place
from embedsvc.engine.catalog import CATALOG
from embedsvc.engine.engine import open_engine
from embedsvc.engine.source import open_source
from embedsvc.errors import ConfigurationError
from embedsvc.metrics import Metrics

MINI = "all-MiniLM-L6-v2"
REVISION = CATALOG[MINI].revision


def settings(folder, **overrides):
    own = {MINI: ModelOverrides(**overrides)} if overrides else {}
    return ModelSettings(primary=MINI, fallback="", calibrations=folder, settings=own)


def keep(path, *, model=MINI, revision=REVISION, dimensions=384, highest=1.0):
    ranges = np.float32([[-1] * dimensions, [highest] * dimensions])
    write(path, calibration_of(model, revision, ranges), texts=100)
    return path


def test_the_shipped_one_counts_where_there_is_no_other(tmp_path):
    found = find(MINI, REVISION, settings(tmp_path))
    assert found.ranges.tobytes() == read(DATA / "calibrations" / f"{MINI}.json").ranges.tobytes()
    assert found.revision == REVISION


def test_the_shipped_one_is_not_for_other_weights_of_the_same_name(tmp_path):
    assert find(MINI, "folder", settings(tmp_path)) is None


@pytest.mark.parametrize("name", ["all-mpnet-base-v2", "mine", "org/mine"])
def test_a_model_may_have_none(tmp_path, name):
    assert find(name, "r", settings(tmp_path)) is None


@pytest.mark.parametrize("name", ["mine", "org/mine"])
def test_one_is_found_in_the_folder_by_its_name(tmp_path, name):
    keep(tmp_path / f"{name}.json", model=name, revision="folder", dimensions=8)
    assert find(name, "folder", settings(tmp_path)).dimensions == 8


def test_the_one_in_the_folder_counts_before_the_shipped_one(tmp_path):
    keep(tmp_path / f"{MINI}.json", highest=2.0)
    assert find(MINI, REVISION, settings(tmp_path)).ranges.max() == 2.0


def test_the_configured_one_counts_before_the_one_in_the_folder(tmp_path):
    keep(tmp_path / f"{MINI}.json", highest=2.0)
    chosen = settings(tmp_path, calibration=keep(tmp_path / "mine.json", highest=3.0))
    assert place(MINI, chosen) == tmp_path / "mine.json"
    assert find(MINI, REVISION, chosen).ranges.max() == 3.0


def test_a_configured_one_that_is_not_there_stops_the_start(tmp_path):
    with pytest.raises(ConfigurationError, match=r"none\.json: FileNotFoundError"):
        find(MINI, REVISION, settings(tmp_path, calibration=tmp_path / "none.json"))


@pytest.mark.parametrize("other", [{"revision": "another"}, {"model": "all-mpnet-base-v2"}])
def test_one_of_other_weights_stops_the_start_and_names_both(tmp_path, other):
    path = keep(tmp_path / f"{MINI}.json", **other)
    of = {"model": MINI, "revision": REVISION, **other}
    said = (
        f"calibration {path}: it is of {of['model']} at {of['revision']}, and {MINI} is served at {REVISION}"
    )
    with pytest.raises(ConfigurationError, match=f"{said}.*`embedsvc calibrate {MINI}`"):
        find(MINI, REVISION, settings(tmp_path))


def test_a_card_has_the_calibration_of_its_weights(tmp_path):
    chosen = Settings(models=settings(tmp_path))
    assert open_source(MINI, chosen).card.calibration.revision == REVISION


def test_vectors_that_mean_nothing_have_none(tmp_path):
    keep(tmp_path / f"{MINI}.json")
    chosen = Settings(engine=EngineSettings(encoder="fake"), models=settings(tmp_path))
    assert open_source(MINI, chosen).card.calibration is None


async def test_one_of_other_dimensions_stops_the_start(tmp_path):
    keep(tmp_path / f"{MINI}.json", dimensions=768)
    chosen = Settings(engine=EngineSettings(devices=("cpu",)), models=settings(tmp_path))
    with pytest.raises(ConfigurationError, match="is for 768 dimensions, and its vectors have 384"):
        async with open_engine(chosen, Metrics()):
            pass

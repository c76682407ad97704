"""The packed encoder: sentence-transformers' vectors, without its padding."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tiny_models
import torch
from batches import LENGTHS, batch_of, cosines

from embedsvc.config import Settings
from embedsvc.engine.packed import PackedEncoder
from embedsvc.engine.packing import SLACK, pack, round_up
from embedsvc.engine.reference import ReferenceEncoder
from embedsvc.engine.source import open_source
from embedsvc.engine.weights import find_architecture
from embedsvc.errors import ConfigurationError


@pytest.fixture(scope="module", params=tiny_models.CATALOG_SHAPES, ids=lambda shape: shape.name)
def folder(request, tmp_path_factory):
    return tiny_models.build_published(request.param, tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_vectors_are_those_of_the_reference(folder, lengths):
    encoder, reference = PackedEncoder(folder, find_architecture(folder)), ReferenceEncoder(folder, "cpu")
    batch = batch_of(lengths)
    assert cosines(encoder.encode(batch), reference.encode(batch)) == pytest.approx(1, abs=1e-5)


def test_a_vector_does_not_depend_on_its_batch(folder):
    encoder = PackedEncoder(folder, find_architecture(folder))
    batch = batch_of([40, 3, 17, 41, 90, 16, 18])
    alone = np.concatenate([encoder.encode([tokens]) for tokens in batch])
    assert encoder.encode(batch) == pytest.approx(alone, abs=1e-4)


def test_side_by_side_in_its_lanes_batches_are_what_they_are_alone(folder):
    encoder = PackedEncoder(folder, find_architecture(folder))
    batches = [batch_of(lengths) for lengths in ([5], [40, 3, 17], [90, 16, 18, 2], [7, 7])]
    with ThreadPoolExecutor(encoder.lanes) as lanes:
        computed = list(lanes.map(encoder.encode_in_lane, batches))
    assert 1 <= encoder.lanes <= torch.get_num_threads()
    for vectors, batch in zip(computed, batches, strict=True):
        assert vectors == pytest.approx(encoder.encode(batch), abs=1e-4)


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_every_token_is_packed_once_and_in_its_place(lengths):
    batch = batch_of(lengths)
    packed = pack(batch)
    rows = sum(lengths)
    assert rows <= len(packed.ids) == len(packed.positions) == round_up(rows)
    texts = torch.split(packed.ids[:rows], packed.lengths.tolist())
    assert [text.tolist() for text in texts] == [batch[at] for at in packed.order]
    places = torch.split(packed.positions[:rows], packed.lengths.tolist())
    assert all(place.tolist() == list(range(len(place))) for place in places)


def test_rows_are_of_few_numbers_and_little_more_than_tokens():
    assert all(tokens <= round_up(tokens) < tokens + 4 for tokens in range(1, 64))
    assert all(tokens <= round_up(tokens) <= tokens * 17 / 16 for tokens in range(64, 4097))
    assert len({round_up(tokens) for tokens in range(1, 1025)}) < 90


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_attention_finds_every_row_once_and_pads_by_little(lengths):
    packed = pack(batch_of(lengths))
    rows = []
    for group in packed.groups:
        every = torch.arange(group.rows.start, group.rows.stop)
        found = every if group.gather is None else group.gather[group.real]
        assert found.tolist() == every.tolist()
        assert group.shape[0] * group.shape[1] - len(every) <= SLACK * group.shape[0]
        rows += found.tolist()
    assert rows == list(range(sum(lengths)))


def edited(folder, file, **values):
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("config.json", {"model_type": "roberta"}),
        ("config.json", {"hidden_act": "relu"}),
        ("config.json", {"position_embedding_type": "relative_key"}),
        ("1_Pooling/config.json", {"pooling_mode_max_tokens": True}),
    ],
)
def test_what_it_cannot_compute_is_left_to_sentence_transformers(tmp_path, file, values):
    folder = tiny_models.build_published(tiny_models.CATALOG_SHAPES[0], tmp_path)
    assert find_architecture(folder) is not None
    edited(folder, file, **values)
    assert find_architecture(folder) is None


def settings_for(folder, encoder):
    models = {"primary": "m", "fallback": "", "settings": {"m": {"path": folder}}}
    return Settings(engine={"encoder": encoder}, models=models)


@pytest.mark.parametrize(
    ("encoder", "built"),
    [("auto", PackedEncoder), ("packed", PackedEncoder), ("sentence-transformers", ReferenceEncoder)],
)
def test_the_configuration_chooses(folder, encoder, built):
    assert type(open_source("m", settings_for(folder, encoder)).build("cpu")) is built


def test_a_model_that_packed_cannot_compute_is_refused_where_it_is_forced(tmp_path):
    folder = tiny_models.build_published(tiny_models.CATALOG_SHAPES[0], tmp_path)
    edited(folder, "config.json", hidden_act="relu")
    assert type(open_source("m", settings_for(folder, "auto")).build("cpu")) is ReferenceEncoder
    with pytest.raises(ConfigurationError, match=r"engine\.encoder"):
        open_source("m", settings_for(folder, "packed")).build("cpu")

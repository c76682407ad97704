"""Attention over a packed batch: every way gives what each text alone would."""

import warnings
from itertools import accumulate

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from embedsvc.engine.attention import flex, grouped, varlen
from embedsvc.engine.places import find_places
from embedsvc.engine.positions import distance_bias, pair_bias

ROWS, HEADS, HEAD, LONGEST = 384, 2, 16, 200
LENGTHS = [[7], [16, 17, 19, 30], [1, 1, 40, 130, 200], [128, 128, 128]]


@pytest.fixture(autouse=True)
def _inference():
    with torch.inference_mode():
        yield


@pytest.fixture
def batch():
    torch.manual_seed(0)
    return torch.randn(ROWS, 3, HEADS, HEAD).unbind(1)


@pytest.fixture(scope="module")
def bias():
    random = torch.Generator().manual_seed(0)
    return distance_bias(
        {
            "embeddings.position_embeddings.weight": torch.zeros(LONGEST + 2, 1),
            "encoder.relative_attention_bias.weight": torch.randn(32, HEADS, generator=random),
        }
    )


def places_of(lengths):
    starts = list(accumulate(lengths, initial=0))
    starts += [starts[-1]] * 3
    return find_places(torch.tensor(starts, dtype=torch.int32), ROWS, LONGEST)


def alone(batch, lengths, bias=None):
    """Each text by itself."""
    texts = zip(*(part[: sum(lengths)].split(lengths) for part in batch), strict=True)
    return torch.cat(
        [
            scaled_dot_product_attention(
                *(part.transpose(0, 1)[None] for part in text),
                attn_mask=None if bias is None else pair_bias(bias, len(text[0])),
            )[0].transpose(0, 1)
            for text in texts
        ]
    )


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("biased", [False, True])
def test_grouped_attention_is_each_text_s_own(batch, bias, lengths, biased):
    bias = bias if biased else None
    way = grouped(bias)
    attended = way.attend(*batch, way.prepare(places_of(lengths), lengths))
    assert attended[: sum(lengths)] == pytest.approx(alone(batch, lengths, bias), abs=1e-5)
    assert attended[sum(lengths) :].count_nonzero() == 0
    assert not way.static


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_flex_attention_is_each_text_s_own_with_its_bias(batch, bias, lengths):
    way = flex(bias)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is slow uncompiled
        attended = way.attend(*batch, way.prepare(places_of(lengths), []))
    assert attended[: sum(lengths)] == pytest.approx(alone(batch, lengths, bias), abs=1e-5)
    assert attended.isfinite().all()
    assert way.static


def test_varlen_attention_is_asked_for_every_text_at_once(batch):
    way, lengths = varlen(), [16, 17, 30]
    query, key, value = (part.to("meta", torch.float16) for part in batch)
    places = places_of(lengths)
    on_meta = places._replace(starts=places.starts.to("meta"))
    attended = way.attend(query, key, value, way.prepare(on_meta, []))
    assert (attended.shape, attended.dtype) == (query.shape, torch.float16)
    assert way.static


def test_the_function_of_a_layer_s_attention_can_be_compiled_whole(batch, bias):
    way = flex(bias)
    whole = torch.compile(way.attend, fullgraph=True, backend="eager")
    known = way.prepare(places_of([16, 17]), [])
    assert whole(*batch, known)[:33] == pytest.approx(alone(batch, [16, 17], bias), abs=1e-5)

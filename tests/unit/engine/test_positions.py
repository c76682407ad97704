"""What a model adds for a token's place: transformers' own numbers."""

import pytest
import torch
from transformers.models.mpnet.modeling_mpnet import MPNetEncoder

from embedsvc.engine.positions import (
    BUCKETS,
    FARTHEST,
    distance_bias,
    pair_bias,
    position_vectors,
    relative_bias,
)

LONGEST = 300


@pytest.fixture
def weights():
    torch.manual_seed(0)
    return {
        "embeddings.position_embeddings.weight": torch.randn(LONGEST + 2, 4),
        "encoder.relative_attention_bias.weight": torch.randn(BUCKETS, 3),
    }


def test_the_bias_of_a_pair_is_that_of_its_bucket(weights):
    places = torch.arange(LONGEST)
    buckets = MPNetEncoder.relative_position_bucket(places - places[:, None], BUCKETS, FARTHEST)
    theirs = weights["encoder.relative_attention_bias.weight"][buckets].permute(2, 0, 1)[None]
    assert torch.equal(relative_bias(weights), theirs)


@pytest.mark.parametrize("longest", [1, 40, LONGEST])
def test_fewer_places_have_the_first_of_the_biases(weights, longest):
    every = relative_bias(weights)
    assert torch.equal(pair_bias(distance_bias(weights), longest), every[:, :, :longest, :longest])


def test_mpnet_s_places_begin_behind_its_padding(weights):
    vectors = weights["embeddings.position_embeddings.weight"]
    assert torch.equal(position_vectors(weights, "mpnet"), vectors[2:])


def test_bert_s_places_have_its_first_token_type_in_them(weights):
    types = torch.randn(2, 4)
    typed = weights | {"embeddings.token_type_embeddings.weight": types}
    vectors = weights["embeddings.position_embeddings.weight"]
    assert torch.equal(position_vectors(typed, "bert"), vectors + types[0])

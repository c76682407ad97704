"""MPNet's relative positions: transformers' own buckets."""

import pytest
import torch
from transformers.models.mpnet.modeling_mpnet import MPNetEncoder

from embedsvc.engine.relative import BUCKETS, FARTHEST, distance_bias, pair_bias

LONGEST = 300


def test_the_bias_of_a_pair_is_that_of_its_bucket():
    table = torch.randn(BUCKETS, 3)
    places = torch.arange(LONGEST)
    buckets = MPNetEncoder.relative_position_bucket(places - places[:, None], BUCKETS, FARTHEST)
    theirs = table[buckets].permute(2, 0, 1)[None]
    assert torch.equal(pair_bias(distance_bias(table, LONGEST), LONGEST), theirs)


@pytest.mark.parametrize("longest", [1, 40, LONGEST])
def test_fewer_places_have_the_first_of_the_biases(longest):
    by_distance = distance_bias(torch.randn(BUCKETS, 3), LONGEST)
    every = pair_bias(by_distance, LONGEST)
    assert torch.equal(pair_bias(by_distance, longest), every[:, :, :longest, :longest])

"""Linear layers prepacked for oneDNN: the same numbers, in the same places."""

import pytest
import torch
from torch import nn

from embedsvc.engine.prepack import PrepackedLinear, prepack


@pytest.mark.parametrize("shape", [(1, 48), (7, 48), (3, 5, 48)])
@pytest.mark.parametrize("bias", [True, False])
def test_it_computes_what_the_linear_layer_computes(shape, bias):
    linear, inputs = nn.Linear(48, 20, bias=bias), torch.randn(shape)
    with torch.inference_mode():
        assert torch.allclose(PrepackedLinear(linear)(inputs), linear(inputs), atol=1e-5)


def test_every_float32_linear_layer_of_a_model_is_replaced_and_no_other():
    class Special(nn.Linear):
        """A subclass may compute something else."""

    model = nn.Sequential(nn.Linear(4, 4), nn.ModuleDict({"inner": nn.Linear(4, 4)}), nn.LayerNorm(4))
    model.append(Special(4, 4))
    model.append(nn.Linear(4, 4, dtype=torch.float64))
    prepack(model)
    found = [type(module) for module in model.modules()][1:]
    assert found == [PrepackedLinear, nn.ModuleDict, PrepackedLinear, nn.LayerNorm, Special, nn.Linear]

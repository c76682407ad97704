"""Faster linear layers on a CPU: oneDNN's own matrix product, with weights laid out for it beforehand.

`torch.nn.Linear` in float32 goes through MKL, which lays the weights out anew at every call. The operators
are those that torch.compile emits for frozen models (torch/_inductor/mkldnn_ir.py). docs/performance.md
has figures.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear

ONEDNN: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]


class Linear:
    """inputs @ weight.T + bias in float32, then GELU where wanted; torch's numbers to about 1e-6."""

    def __init__(self, weight: Tensor, bias: Tensor | None, *, activate: bool = False) -> None:
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight, None) if ONEDNN else weight  # noqa: SLF001
        self._bias = bias
        self._activate = activate

    def __call__(self, inputs: Tensor) -> Tensor:
        """Compute [..., outputs] from [..., inputs]."""
        if ONEDNN:
            activation, algorithm = ("gelu", "none") if self._activate else ("none", "")
            output: Tensor = torch.ops.mkldnn._linear_pointwise(  # noqa: SLF001
                inputs, self._weight, self._bias, activation, [], algorithm
            )
            return output
        output = linear(inputs, self._weight, self._bias)
        return gelu(output) if self._activate else output


class PrepackedLinear(nn.Module):
    """`Linear` in the place of a torch.nn.Linear."""

    def __init__(self, replaced: nn.Linear) -> None:
        super().__init__()
        self._linear = Linear(replaced.weight.detach(), replaced.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        """See torch.nn.Linear."""
        return self._linear(inputs)


def prepack(model: nn.Module) -> None:
    """Replace every float32 linear layer of a model on the CPU."""
    for module in model.modules():
        for name, child in module.named_children():
            if type(child) is nn.Linear and child.weight.dtype is torch.float32:
                setattr(module, name, PrepackedLinear(child))

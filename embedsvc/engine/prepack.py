"""Faster linear layers on a CPU: oneDNN's own matrix product, with weights laid out for it beforehand.

`torch.nn.Linear` in float32 goes through MKL, which lays the weights out anew at every call. The operators
are those that torch.compile emits for frozen models (torch/_inductor/mkldnn_ir.py). docs/performance.md
has figures.
"""

import torch
from torch import Tensor, nn


class PrepackedLinear(nn.Module):
    """A linear layer for inference on a CPU in float32; the same numbers to about 1e-6."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach()
        self.packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, None)  # noqa: SLF001
        self.bias = linear.bias

    def forward(self, inputs: Tensor) -> Tensor:
        """See torch.nn.Linear."""
        output: Tensor = torch.ops.mkldnn._linear_pointwise(  # noqa: SLF001
            inputs, self.packed, self.bias, "none", [], ""
        )
        return output


def prepack(model: nn.Module) -> None:
    """Replace every float32 linear layer of a model on the CPU, where torch has oneDNN."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return
    for module in model.modules():
        for name, child in module.named_children():
            if type(child) is nn.Linear and child.weight.dtype is torch.float32:
                setattr(module, name, PrepackedLinear(child))

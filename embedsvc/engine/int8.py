"""Linear layers in int8 on a CPU: a scale for each output, and one for each token as it comes.

Weights are quantized once, activations at each call, each token by its own largest magnitude: so a vector
does not depend on the texts beside it. The product is oneDNN's, with sums of 32 bits. docs/performance.md has
figures.
"""

import torch
from torch import Tensor

LARGEST = 127
"""Of the integers: both signs reach as far, so there is no zero point."""

BLOCK = 256
"""Tokens that are computed at once: what lies between stays small, where the allocator would give it back to
the system after every use, and fetch it again a page at a time (five times slower at 1,024 tokens)."""


class Int8Linear:
    """inputs @ weight.T + bias, then GELU where wanted; float32 in and out, int8 between."""

    def __init__(self, weight: Tensor, bias: Tensor, *, activate: bool = False) -> None:
        quantized, scales = _quantize(weight)
        self._weight = quantized.T.contiguous()
        self._scales = scales.flatten()
        self._bias = bias
        self._activate = activate

    def __call__(self, inputs: Tensor) -> Tensor:
        """Compute [tokens, outputs] from [tokens, inputs]."""
        output = torch.empty(len(inputs), len(self._bias))
        for first in range(0, len(inputs), BLOCK):
            rows = slice(first, first + BLOCK)
            self._compute(inputs[rows], output[rows])
        return output

    def _compute(self, inputs: Tensor, output: Tensor) -> None:
        quantized, scales = _quantize(inputs)
        sums = torch._int_mm(quantized, self._weight)  # noqa: SLF001 - no public operator multiplies int8
        torch.mul(sums, scales, out=output)
        output.mul_(self._scales).add_(self._bias)
        if self._activate:
            torch.ops.aten.gelu_(output)


def _quantize(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return int8 of the same shape, and float32 [rows, 1] that it is to be multiplied with."""
    scales = rows.abs().amax(dim=1, keepdim=True) / LARGEST
    scales.clamp_(min=torch.finfo(torch.float32).tiny)  # a row of zeros stays one
    return (rows / scales).round_().to(torch.int8), scales

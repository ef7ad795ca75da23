"""A frozen layer and every member's low-rank product on top of it: one node of autograd per layer.

Written out by hand because taking an output apart by members and putting it together again, forwards and backwards, would
copy it four times, and because the gradient of the input is one sum, which the products add to where it lies. Shapes: N tokens,
I inputs, O outputs, R rank.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from peft.utils.integrations import dequantize_module_weight
from torch import Tensor, nn


@dataclass(frozen=True)
class Span:
    """The tokens of one member, and the scale of its product."""

    start: int
    stop: int
    scaling: float


def layer_with_products(
    layer: nn.Module, x_NI: Tensor, seen_NI: Tensor, spans: Sequence[Span], weights: Sequence[Tensor]
) -> Tensor:
    """Return the frozen layer's output with s·x·Aᵀ·Bᵀ added into each span; shape (N, O).

    Args:
        layer: a linear layer, possibly of 4-bit weights; it learns nothing.
        x_NI: its input.
        seen_NI: what the members see of the input: the same tensor, or what is left after their dropout.
        spans: tokens of each member; spans do not overlap.
        weights: A (R, I) and B (O, R) of each span in turn, in the dtype of the input.
    """
    dropped = None if seen_NI is x_NI else seen_NI
    return cast(Tensor, _Products.apply(x_NI, dropped, layer, tuple(spans), *weights))  # type: ignore[no-untyped-call]


def _weight(layer: nn.Module, dtype: torch.dtype) -> Tensor:
    """Return the frozen weight, shape (O, I); of a quantised layer a fresh copy."""
    weight = cast(Tensor, dequantize_module_weight(layer)).to(dtype)
    return weight if isinstance(layer, nn.Linear) else weight.t()  # GPT-2's layers hold it the other way round


class _Products(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x_NI: Tensor, dropped_NI: Tensor | None, layer: nn.Module, spans: tuple[Span, ...], *weights: Tensor
    ) -> Tensor:
        out_NO = layer(x_NI)
        seen_NI = x_NI if dropped_NI is None else dropped_NI
        inner: list[Tensor] = []
        for span, a_RI, b_OR in zip(spans, weights[::2], weights[1::2], strict=True):
            inner.append(seen_NI[span.start : span.stop] @ a_RI.t())
            out_NO[span.start : span.stop].addmm_(inner[-1], b_OR.t(), alpha=span.scaling)
        ctx.layer, ctx.spans, ctx.is_dropped = layer, spans, dropped_NI is not None
        ctx.save_for_backward(seen_NI, *inner, *weights)
        return cast(Tensor, out_NO)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        gradient_NO, spans = gradients[0], ctx.spans
        seen_NI, *rest = ctx.saved_tensors
        inner, weights = rest[: len(spans)], rest[len(spans) :]
        x_NI = gradient_NO @ _weight(ctx.layer, gradient_NO.dtype) if ctx.needs_input_grad[0] else None
        dropped_NI = torch.zeros_like(seen_NI) if ctx.needs_input_grad[1] else None
        sum_NI = dropped_NI if ctx.is_dropped else x_NI
        found: list[Tensor] = []
        for span, inner_NR, a_RI, b_OR in zip(spans, inner, weights[::2], weights[1::2], strict=True):
            own_NO = gradient_NO[span.start : span.stop]
            inner_gradient_NR = (own_NO @ b_OR).mul_(span.scaling)
            if sum_NI is not None:
                sum_NI[span.start : span.stop].addmm_(inner_gradient_NR, a_RI)
            found.append(inner_gradient_NR.t() @ seen_NI[span.start : span.stop])
            found.append((own_NO.t() @ inner_NR).mul_(span.scaling))
        return x_NI, dropped_NI, None, None, *found

"""Every member's low-rank product, added into the base's output where its own tokens lie: one node of autograd per layer.

Written out by hand because taking an output apart by members and putting it together again, forwards and backwards, would
copy it four times. Shapes: N tokens, I inputs, O outputs, R rank.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor


@dataclass(frozen=True)
class Span:
    """The tokens of one member, and the scale of its product."""

    start: int
    stop: int
    scaling: float


def add_products(base_NO: Tensor, x_NI: Tensor, spans: Sequence[Span], weights: Sequence[Tensor]) -> Tensor:
    """Add s·x·Aᵀ·Bᵀ into each span of the base's output, in place; return it.

    Args:
        base_NO: what the frozen layer made of the input; it is overwritten.
        x_NI: what the members see of the input (after their dropout).
        spans: tokens of each member; spans do not overlap.
        weights: A (R, I) and B (O, R) of each span in turn, in the dtype of ``x_NI``.
    """
    return cast(Tensor, _Products.apply(base_NO, x_NI, tuple(spans), *weights))  # type: ignore[no-untyped-call]


class _Products(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, base_NO: Tensor, x_NI: Tensor, spans: tuple[Span, ...], *weights: Tensor) -> Tensor:
        inner: list[Tensor] = []
        for span, a_RI, b_OR in zip(spans, weights[::2], weights[1::2], strict=True):
            inner.append(x_NI[span.start : span.stop] @ a_RI.t())
            base_NO[span.start : span.stop].addmm_(inner[-1], b_OR.t(), alpha=span.scaling)
        ctx.mark_dirty(base_NO)
        ctx.spans = spans
        ctx.save_for_backward(x_NI, *inner, *weights)
        return base_NO

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        gradient_NO, spans = gradients[0], ctx.spans
        x_NI, *rest = ctx.saved_tensors
        inner, weights = rest[: len(spans)], rest[len(spans) :]
        x_gradient_NI = _room(x_NI, spans) if ctx.needs_input_grad[1] else None
        found: list[Tensor] = []
        for span, inner_NR, a_RI, b_OR in zip(spans, inner, weights[::2], weights[1::2], strict=True):
            own_NO = gradient_NO[span.start : span.stop]
            inner_gradient_NR = (own_NO @ b_OR).mul_(span.scaling)
            if x_gradient_NI is not None:
                torch.mm(inner_gradient_NR, a_RI, out=x_gradient_NI[span.start : span.stop])
            found.append(inner_gradient_NR.t() @ x_NI[span.start : span.stop])
            found.append((own_NO.t() @ inner_NR).mul_(span.scaling))
        return gradient_NO, x_gradient_NI, None, *found


def _room(x_NI: Tensor, spans: Sequence[Span]) -> Tensor:
    """Return room for a gradient of the input; zeros where no member is."""
    covered = sum(span.stop - span.start for span in spans) == len(x_NI)
    return torch.empty_like(x_NI) if covered else torch.zeros_like(x_NI)

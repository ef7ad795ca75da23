"""Root-mean-square norms with a frozen weight, as one node of autograd: half the passes over memory of the written-out form.

Shapes: N tokens, D features.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn


def lean_norms(model: nn.Module) -> Mapping[nn.Module, Callable[[Tensor], Tensor]]:
    """Return a leaner forward for each of the model's norms in float32 that is known to compute x / rms(x) x weight."""
    norms = [module for module in model.modules() if type(module).__name__.endswith("RMSNorm")]
    return {
        norm: _forward(norm)
        for norm in norms
        if _is_usual(cast(Any, type(norm))) and cast(Tensor, norm.weight).dtype == torch.float32
    }


def _forward(norm: Any) -> Callable[[Tensor], Tensor]:
    def forward(x: Tensor) -> Tensor:
        return cast(Tensor, _Norm.apply(x, norm.weight, norm.variance_epsilon))  # type: ignore[no-untyped-call]

    return forward


@cache
def _is_usual(kind: Any) -> bool:
    """Tell whether this class computes what `_Norm` does: tried out, as a name is no proof (Gemma adds 1 to its weight)."""
    try:
        norm = kind(8, eps=0.1)
        norm.weight.data.copy_(torch.linspace(0.5, 2.0, 8))
        x = torch.linspace(-1.0, 3.0, 24).view(3, 8)
        return bool(torch.allclose(norm(x), _forward(norm)(x), atol=1e-6))
    except (TypeError, AttributeError, RuntimeError):
        return False


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_D: Tensor, eps: float) -> Tensor:
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        scale = length.square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, scale, weight_D)
        return torch.mul(x, scale).mul_(weight_D)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        x, scale, weight_D = ctx.saved_tensors
        weighted = gradients[0] * weight_D
        along = (weighted * x).sum(-1, keepdim=True).mul_(scale).mul_(scale).div_(x.shape[-1])
        return weighted.addcmul_(x, along, value=-1).mul_(scale), None, None

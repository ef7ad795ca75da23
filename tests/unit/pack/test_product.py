"""The one node of autograd that is written out by hand, against autograd itself."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from loramill.pack.product import Span, layer_with_products

SPANS = (Span(0, 3, 2.0), Span(3, 4, 0.25), Span(6, 9, -1.5))
"""Members of unequal length and scale; tokens 4, 5 and 9 are nobody's."""
ALL = (Span(0, 6, 0.5), Span(6, 7, 3.0), Span(7, 10, 1.0))
RANKS, TOKENS, INPUTS, OUTPUTS = (1, 4, 2), 10, 5, 7


def drawn(*sizes: tuple[int, int], seed: int = 1) -> list[Tensor]:
    """Numbers in float64, so that nothing hides in rounding."""
    chance = torch.Generator().manual_seed(seed)
    return [torch.randn(size, generator=chance, dtype=torch.float64, requires_grad=True) for size in sizes]


def frozen(*, bias: bool) -> nn.Linear:
    torch.manual_seed(4)
    return nn.Linear(INPUTS, OUTPUTS, bias=bias, dtype=torch.float64).requires_grad_(False)


def plainly(
    layer: nn.Linear, x_NI: Tensor, seen_NI: Tensor, spans: Sequence[Span], weights: Sequence[Tensor]
) -> Tensor:
    """What the sum is, in words of autograd."""
    found_NO = layer(x_NI)
    for span, a_RI, b_OR in zip(spans, weights[::2], weights[1::2], strict=True):
        own = slice(span.start, span.stop)
        added_NO = found_NO[own] + span.scaling * seen_NI[own] @ a_RI.t() @ b_OR.t()
        found_NO = torch.cat([found_NO[: span.start], added_NO, found_NO[span.stop :]])
    return found_NO


@pytest.mark.parametrize("spans", [SPANS, SPANS[:1], ALL])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dropped", [False, True])
def test_output_and_every_gradient_are_autograds(spans: tuple[Span, ...], bias: bool, dropped: bool) -> None:
    layer = frozen(bias=bias)
    sizes = [size for rank, _ in zip(RANKS, spans, strict=False) for size in ((rank, INPUTS), (OUTPUTS, rank))]
    x_NI, above_NO, *weights = drawn((TOKENS, INPUTS), (TOKENS, OUTPUTS), *sizes)
    keep_NI = torch.rand(TOKENS, INPUTS, generator=torch.Generator().manual_seed(2)) > 0.3
    found = []
    for way in (layer_with_products, plainly):
        seen_NI = x_NI * keep_NI if dropped else x_NI
        out_NO = way(layer, x_NI, seen_NI, spans, weights)
        found.append([out_NO, *torch.autograd.grad(out_NO, [x_NI, *weights], above_NO.detach())])
    for ours, theirs in zip(*found, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-12)


def test_an_input_that_needs_no_gradient_gets_none() -> None:
    """The first layer reads embeddings, which nobody learns."""
    layer = frozen(bias=False)
    x_NI, *weights = drawn((TOKENS, INPUTS), *(s for r in RANKS for s in ((r, INPUTS), (OUTPUTS, r))))
    x_NI = x_NI.detach()
    found = [
        torch.autograd.grad(way(layer, x_NI, x_NI, SPANS, weights).sum(), weights)
        for way in (layer_with_products, plainly)
    ]
    assert all(torch.allclose(ours, theirs, atol=1e-12) for ours, theirs in zip(*found, strict=True))

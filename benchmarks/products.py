"""Three ways to give each member of a pack its own low-rank product, in one linear layer, forwards and backwards.

``python -m benchmarks.products [--device cpu|cuda]``; the last line is a JSON object with the fastest way at each size.
``slices`` is what `loramill.pack.product` does: each member's A and B over its own tokens. ``masked``: all A side by side, a
mask that carries the scales, all B side by side; two products, whatever K is. ``padded``: tokens and ranks padded to the
largest, two batched products. All three are checked to give equal outputs and gradients.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.contest import machine, table
from benchmarks.results import leave
from loramill.pack.product import Span, layer_with_products

RANKS = (4, 8, 16)
TOKENS = (240, 300, 330, 270)
"""Tokens of the members in turn; a step of a few short rows each."""
WIDTHS = ((256, 704), (1024, 3072))
REPEATS = 7

Way = Callable[["Layer", Tensor], Tensor]


@dataclass(frozen=True)
class Layer:
    """A frozen linear layer and what it knows of its members."""

    frozen: nn.Linear
    spans: tuple[Span, ...]
    weights: tuple[Tensor, ...]
    """A and B of each member in turn."""

    @property
    def pairs(self) -> list[tuple[Span, Tensor, Tensor]]:
        """Span, A and B of each member."""
        return list(zip(self.spans, self.weights[::2], self.weights[1::2], strict=True))


def slices(layer: Layer, x_NI: Tensor) -> Tensor:
    """Each member's product on its own tokens, added in place."""
    return layer_with_products(layer.frozen, x_NI, x_NI, layer.spans, layer.weights)


def masked(layer: Layer, x_NI: Tensor) -> Tensor:
    """Two products over all members; a mask keeps each token to its own columns."""
    mask_NR = torch.block_diag(
        *(x_NI.new_full((span.stop - span.start, len(a)), span.scaling) for span, a, _ in layer.pairs)
    )
    inner_NR = x_NI @ torch.cat(layer.weights[::2]).t()
    return torch.addmm(layer.frozen(x_NI), inner_NR * mask_NR, torch.cat(layer.weights[1::2], dim=1).t())


def padded(layer: Layer, x_NI: Tensor) -> Tensor:
    """Two batched products over members of equal length and rank; shorter ones are filled with zeros."""
    rank = max(len(a) for _, a, _ in layer.pairs)
    x_KLI = torch.nn.utils.rnn.pad_sequence([x_NI[span.start : span.stop] for span in layer.spans], batch_first=True)
    pad = torch.nn.functional.pad
    a_KIR = torch.stack([pad(a.t(), (0, rank - len(a))) for _, a, _ in layer.pairs])
    b_KRO = torch.stack([pad(b.t() * span.scaling, (0, 0, 0, rank - b.shape[1])) for span, _, b in layer.pairs])
    found_KLO = torch.bmm(torch.bmm(x_KLI, a_KIR), b_KRO)
    pieces = [own[: span.stop - span.start] for own, span in zip(found_KLO, layer.spans, strict=True)]
    return layer.frozen(x_NI) + torch.cat(pieces)


WAYS: dict[str, Way] = {"slices": slices, "masked": masked, "padded": padded}


def make(members: int, widths: tuple[int, int], device: str, dtype: torch.dtype) -> tuple[Layer, Tensor]:
    """Return a layer with members of mixed ranks, and an input."""
    chance = torch.Generator(device).manual_seed(0)

    def drawn(*size: int) -> Tensor:
        return torch.randn(*size, generator=chance, device=device, dtype=dtype).mul_(0.1).requires_grad_()

    inputs, outputs = widths
    ends = list(accumulate(TOKENS[k % len(TOKENS)] for k in range(members)))
    spans = tuple(Span(start, stop, 2.0) for start, stop in zip([0, *ends], ends, strict=False))
    ranks = [RANKS[k % len(RANKS)] for k in range(members)]
    weights = tuple(weight for rank in ranks for weight in (drawn(rank, inputs), drawn(outputs, rank)))
    frozen = nn.Linear(inputs, outputs, bias=False, device=device, dtype=dtype).requires_grad_(False)
    return Layer(frozen, spans, weights), drawn(ends[-1], inputs)


def once(way: Way, layer: Layer, x_NI: Tensor) -> tuple[float, list[Tensor]]:
    """Run forwards and backwards; return seconds, output and gradients."""
    _settle(x_NI)
    began = time.perf_counter()
    found_NO = way(layer, x_NI)
    gradients = torch.autograd.grad(found_NO.sum(), [x_NI, *layer.weights])
    _settle(x_NI)
    return time.perf_counter() - began, [found_NO.detach(), *gradients]


def _settle(tensor: Tensor) -> None:
    if tensor.is_cuda:
        torch.cuda.synchronize()


def compare(members: int, widths: tuple[int, int], device: str) -> dict[str, float]:
    """Return each way's milliseconds, in turns.

    Raises:
        AssertionError: they do not compute the same.
    """
    layer, x_NI = make(members, widths, device, torch.bfloat16 if device == "cuda" else torch.float32)
    first = once(slices, layer, x_NI)[1]
    for name, way in WAYS.items():
        for ours, theirs in zip(first, once(way, layer, x_NI)[1], strict=True):
            gap = (ours - theirs).abs().max() / ours.abs().max()
            assert gap < (0.05 if device == "cuda" else 1e-4), f"{name} computes something else"
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(REPEATS):
        for name, way in WAYS.items():
            seconds[name].append(once(way, layer, x_NI)[0])
    return {name: round(1000 * median(many), 3) for name, many in seconds.items()}


def main() -> None:
    """Compare the three ways at every size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--members", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    asked = parser.parse_args()
    sizes = [
        {"widths": widths, "members": members, "ms": compare(members, widths, asked.device)}
        for widths in WIDTHS
        for members in asked.members
    ]
    print("\n" + sizes_table(sizes) + "\n")
    fastest = [min(one["ms"], key=one["ms"].get) for one in sizes]
    leave("products", {"machine": machine(), "device": asked.device, "sizes": sizes, "fastest": fastest})


def sizes_table(sizes: Sequence[dict[str, Any]]) -> str:
    """Return every size as a line of a Markdown table, in milliseconds."""
    lines = [
        ["→".join(map(str, one["widths"])), one["members"], *(f"{one['ms'][name]:.2f}" for name in WAYS)]
        for one in sizes
    ]
    return table(["layer", "K", *(f"{name} ms" for name in WAYS)], lines)


if __name__ == "__main__":
    main()

"""Attention in which each row sees itself only, for rows that lie end to end.

On a CPU short rows are attended to one by one with plain matrix products: for rows of 60 to 300 tokens padded grids, which have
to be filled and emptied, and the fused kernel take 1.2 to 1.3 times as long (docs/speed.md). Long rows, and all rows on a GPU,
go through grids of rows of like length and the fused kernel, which leaves out what a causal row does not see.

Shapes: N tokens of all rows, R rows of one grid, L tokens of a (its longest) row, H heads, D features of one.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, cast

import torch
import torch.nn.functional as F  # noqa: N812 - the usual name
from torch import Tensor, nn

from loramill.errors import BaseModelError
from loramill.pack.rows import PackedRows

SHORT: Final = 320
"""Tokens of the longest row up to which plain products beat the fused kernel on a CPU: from about 360 on they lose."""


def attend_within_rows(
    module: nn.Module,
    query_1HND: Tensor,
    key_1HND: Tensor,
    value_1HND: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Causal attention within rows; shape (1, N, H, D)."""
    rows: PackedRows = options["packed_rows"]
    window, scale = options.get("sliding_window"), options.get("scaling")
    longest = max(rows.lengths)
    if window is not None and longest > window:
        raise BaseModelError(
            f"a row of {longest} tokens exceeds this base's attention window of {window}; "
            "lower learning.max_tokens to the window"
        )
    if query_1HND.device.type == "cpu" and longest <= SHORT:
        heads = query_1HND.shape[1]
        parts = (_as_many(heads_1HND, heads).squeeze(0) for heads_1HND in (query_1HND, key_1HND, value_1HND))
        size = query_1HND.shape[-1]
        attended_HND = _apply(_RowByRow, *parts, rows.lengths, size**-0.5 if scale is None else scale)
        return attended_HND.transpose(0, 1)[None], None
    return _in_grids(query_1HND, key_1HND, value_1HND, rows, scale), None


def _as_many(heads_1HND: Tensor, heads: int) -> Tensor:
    """Repeat each head that several queries share."""
    shared = heads // heads_1HND.shape[1]
    return heads_1HND if shared == 1 else heads_1HND[:, :, None].expand(-1, -1, shared, -1, -1).flatten(1, 2)


class _RowByRow(torch.autograd.Function):
    """Causal attention of one row after another, straight from and into the tokens that lie end to end.

    The chances of a row, L x L per head, are worked out again in the backward pass: they would be most of what is kept.
    """

    @staticmethod
    def forward(
        ctx: Any, query_HND: Tensor, key_HND: Tensor, value_HND: Tensor, lengths: tuple[int, ...], scale: float
    ) -> Tensor:
        out_HND = _end_to_end(query_HND)
        later_LL = _later(query_HND, max(lengths))
        for row in _slices(lengths):
            chances_HLL = _chances(query_HND[:, row], key_HND[:, row], later_LL, scale)
            out_HND[:, row] = torch.bmm(chances_HLL, value_HND[:, row])
        ctx.save_for_backward(query_HND, key_HND, value_HND)
        ctx.lengths, ctx.scale = lengths, scale
        return out_HND

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        query_HND, key_HND, value_HND = ctx.saved_tensors
        gradient_HND = gradients[0]
        found = [_end_to_end(query_HND) for _ in range(3)]
        later_LL = _later(query_HND, max(ctx.lengths))
        for row in _slices(ctx.lengths):
            query, key, value, gradient = (part[:, row] for part in (query_HND, key_HND, value_HND, gradient_HND))
            chances_HLL = _chances(query, key, later_LL, ctx.scale)
            found[2][:, row] = torch.bmm(chances_HLL.transpose(1, 2), gradient)
            scores_HLL = torch.bmm(gradient, value.transpose(1, 2))
            scores_HLL = torch._softmax_backward_data(scores_HLL, chances_HLL, -1, scores_HLL.dtype).mul_(ctx.scale)
            found[0][:, row] = torch.bmm(scores_HLL, key)
            found[1][:, row] = torch.bmm(scores_HLL.transpose(1, 2), query)
        return *found, None, None


def _later(like: Tensor, longest: int) -> Tensor:
    """Return what is added to scores so that no token listens to a later one; shape (L, L)."""
    return like.new_full((longest, longest), float("-inf")).triu_(1)


def _chances(query_HLD: Tensor, key_HLD: Tensor, later_LL: Tensor, scale: float) -> Tensor:
    """Return how much each token of a row listens to it and those before it; shape (H, L, L)."""
    heads, length, _ = query_HLD.shape
    later_HLL = later_LL[:length, :length].expand(heads, -1, -1)
    scores_HLL = torch.baddbmm(later_HLL, query_HLD, key_HLD.transpose(1, 2), alpha=scale)
    return torch.softmax(scores_HLL, -1)


def _end_to_end(like_HND: Tensor) -> Tensor:
    """Return room for (H, N, D) that lies in memory as (N, H, D): as the layers before and after have it."""
    heads, tokens, size = like_HND.shape
    return like_HND.new_empty(tokens, heads, size).transpose(0, 1)


def _slices(lengths: Sequence[int]) -> Iterator[slice]:
    start = 0
    for length in lengths:
        yield slice(start, start + length)
        start += length


def _in_grids(
    query_1HND: Tensor, key_1HND: Tensor, value_1HND: Tensor, rows: PackedRows, scale: float | None
) -> Tensor:
    """Pad rows into grids, here and nowhere else, and attend within each; shape (1, N, H, D)."""
    grids = zip(*(_padded(heads_1HND, rows) for heads_1HND in (query_1HND, key_1HND, value_1HND)), strict=True)
    attended = torch.cat([_attend(query, key, value, scale) for query, key, value in grids])
    _, heads, _, size = query_1HND.shape
    return _apply(Take, attended, rows.places_N).view(1, -1, heads, size)


def _attend(query_RHLD: Tensor, key_RHLD: Tensor, value_RHLD: Tensor, scale: float | None) -> Tensor:
    """Attend within each row of one grid; shape (R x L, H x D)."""
    shared = query_RHLD.shape[1] != key_RHLD.shape[1]
    attended_RHLD = F.scaled_dot_product_attention(
        query_RHLD, key_RHLD, value_RHLD, is_causal=True, scale=scale, enable_gqa=shared
    )
    return attended_RHLD.transpose(1, 2).flatten(2).flatten(0, 1)


def _padded(heads_1HND: Tensor, rows: PackedRows) -> list[Tensor]:
    """Lay the tokens of each row into its grid, zeros beyond its end; shapes (R, H, L, D)."""
    _, heads, _, size = heads_1HND.shape
    tokens = heads_1HND.squeeze(0).transpose(0, 1).flatten(1)  # (N, H x D)
    cells = _apply(_Put, tokens, rows.places_N, rows.cells).split([count * longest for count, longest in rows.grids])
    return [grid.view(*shape, heads, size).transpose(1, 2) for grid, shape in zip(cells, rows.grids, strict=True)]


def _apply(function: type[torch.autograd.Function], *arguments: Any) -> Tensor:
    return cast(Tensor, function.apply(*arguments))


class Take(torch.autograd.Function):
    """Take different rows of a matrix; autograd's own backward would add up as if rows could repeat, which is slow."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, places: Tensor) -> Tensor:
        """Take them."""
        ctx.save_for_backward(places)
        ctx.size = len(matrix)
        return matrix.index_select(0, places)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Put the gradient back where they came from."""
        (places,) = ctx.saved_tensors
        return gradients[0].new_zeros(ctx.size, gradients[0].shape[1]).index_copy_(0, places, gradients[0]), None


class _Put(torch.autograd.Function):
    """Put rows into different places of a matrix of zeros: the transpose of `Take`."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, places: Tensor, size: int) -> Tensor:
        ctx.save_for_backward(places)
        return matrix.new_zeros(size, matrix.shape[1]).index_copy_(0, places, matrix)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (places,) = ctx.saved_tensors
        return gradients[0].index_select(0, places), None, None

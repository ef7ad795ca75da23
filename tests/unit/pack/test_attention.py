"""Attention within rows, worked out by hand for short rows on a CPU, against the fused kernel row by row."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the usual name
from torch import Tensor, nn

from loramill.errors import BaseModelError
from loramill.pack import attention
from loramill.pack.rows import Batch, PackedRows, pack_rows
from loramill.prompts import Row

LENGTHS, SIZE = (17, 40, 2, 33), 16


def packed() -> PackedRows:
    rows = [Row(str(length), tuple(range(length)), 1) for length in LENGTHS]
    return pack_rows([Batch("a", rows[:1]), Batch("b", rows[1:])], torch.device("cpu"))


def one_by_one(query: Tensor, key: Tensor, value: Tensor, scale: float | None) -> Tensor:
    """What attention within rows is, in words of torch; shape (1, N, H, D)."""
    shared = query.shape[1] != key.shape[1]
    parts = zip(*(part.split(LENGTHS, dim=2) for part in (query, key, value)), strict=True)
    rows = [F.scaled_dot_product_attention(*row, is_causal=True, scale=scale, enable_gqa=shared) for row in parts]
    return torch.cat(rows, dim=2).transpose(1, 2)


@pytest.mark.parametrize("short", [512, 0])
@pytest.mark.parametrize("key_heads", [4, 2, 1])
@pytest.mark.parametrize("scale", [None, 0.3])
def test_output_and_gradients_are_those_of_each_row_alone(
    monkeypatch: pytest.MonkeyPatch, short: int, key_heads: int, scale: float | None
) -> None:
    monkeypatch.setattr(attention, "SHORT", short)
    chance = torch.Generator().manual_seed(0)
    shapes = [(1, sum(LENGTHS), heads, SIZE) for heads in (4, key_heads, key_heads)]
    query, key, value = (
        torch.randn(shape, generator=chance, dtype=torch.float64).transpose(1, 2).requires_grad_() for shape in shapes
    )
    above = torch.randn(shapes[0], generator=chance, dtype=torch.float64)
    ours, _ = attention.attend_within_rows(nn.Module(), query, key, value, None, packed_rows=packed(), scaling=scale)
    theirs = one_by_one(query, key, value, scale)
    assert torch.allclose(ours, theirs, atol=1e-12)
    found = (torch.autograd.grad(out, [query, key, value], above) for out in (ours, theirs))
    for mine, other in zip(*found, strict=True):
        assert torch.allclose(mine, other, atol=1e-12)


def test_a_row_longer_than_the_window_is_refused() -> None:
    heads = torch.zeros(1, 1, sum(LENGTHS), SIZE)
    with pytest.raises(BaseModelError, match="a row of 40 tokens exceeds this base's attention window of 39"):
        attention.attend_within_rows(nn.Module(), heads, heads, heads, None, packed_rows=packed(), sliding_window=39)

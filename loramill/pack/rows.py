"""Rows of many members laid end to end: no padding, no row sees another, and each token knows whose it is.

Shapes: N tokens of all rows together, R rows of one grid, L tokens of its longest row, T target tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

import torch
from torch import Tensor

from loramill.prompts import Row

FULL: Final = 0.75
"""Rows share a grid of attention if the shortest fills this much of it: the grids of rows of 60 to 300 tokens are then a tenth
larger than the rows, where one grid for all is up to twice as large (docs/memory.md)."""


@dataclass(frozen=True)
class Batch:
    """What one member brings to a forward pass."""

    member: str | None
    """The adapter's name; None is the bare base."""
    rows: Sequence[Row]
    first_row: int = 0
    """Place of ``rows[0]`` in the member's whole step; dropout depends on it, so that splitting a step changes nothing."""


@dataclass(frozen=True)
class Segment:
    """The tokens and targets of one member: they lie side by side."""

    member: str | None
    start: int
    stop: int
    first_target: int
    last_target: int


@dataclass(frozen=True)
class PackedRows:
    """Rows end to end, ready for one forward pass."""

    ids_1N: Tensor
    positions_1N: Tensor
    """Restart at 0 with each row."""
    lengths: tuple[int, ...]
    """Tokens of each row."""
    grids: tuple[tuple[int, int], ...]
    """R and L of each padded grid that attention works on: rows of like length, of whatever member, share one."""
    places_N: Tensor
    """Where each token stands in the grids, counted through them all."""
    rows_N: Tensor
    """Number of the row within its member's step."""
    asked_T: Tensor
    """Positions in N whose hidden state predicts a target."""
    targets_T: Tensor
    """The token ids to be predicted."""
    segments: tuple[Segment, ...]
    row_targets: tuple[int, ...]
    """Number of targets of each row."""

    @property
    def sizes(self) -> list[int]:
        """Tokens of each segment."""
        return [segment.stop - segment.start for segment in self.segments]

    @property
    def cells(self) -> int:
        """Places in all grids together."""
        return sum(rows * longest for rows, longest in self.grids)


def pack_rows(batches: Sequence[Batch], device: torch.device) -> PackedRows:
    """Lay the rows of all batches end to end.

    Raises:
        ValueError: there is no row.
    """
    rows = [row for batch in batches for row in batch.rows]
    if not rows:
        raise ValueError("pack_rows needs at least one row")
    lengths = torch.tensor([len(row.ids) for row in rows])
    starts = torch.cumsum(lengths, 0) - lengths
    positions_N = torch.cat([torch.arange(len(row.ids)) for row in rows])
    grids, cells = lay_grids([len(row.ids) for row in rows])
    asked = [
        torch.arange(row.prompt_length - 1, len(row.ids) - 1) + start for row, start in zip(rows, starts, strict=True)
    ]
    numbers = torch.tensor([batch.first_row + index for batch in batches for index in range(len(batch.rows))])
    ids_N = torch.tensor([token for row in rows for token in row.ids])
    asked_T = torch.cat(asked)
    return PackedRows(
        ids_1N=ids_N[None].to(device),
        positions_1N=positions_N[None].to(device),
        lengths=tuple(lengths.tolist()),
        grids=grids,
        places_N=(torch.tensor(cells).repeat_interleave(lengths) + positions_N).to(device),
        rows_N=numbers.repeat_interleave(lengths).to(device),
        asked_T=asked_T.to(device),
        targets_T=ids_N[asked_T + 1].to(device),
        segments=_segments(batches),
        row_targets=tuple(row.targets for row in rows),
    )


def lay_grids(lengths: Sequence[int]) -> tuple[tuple[tuple[int, int], ...], list[int]]:
    """Group rows of like length.

    Returns:
        R and L of each grid, the longest rows first; and for each row the cell in which it begins, counted through all grids.
    """
    groups: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if groups and lengths[row] >= FULL * lengths[groups[-1][0]]:
            groups[-1].append(row)
        else:
            groups.append([row])
    widths = {row: lengths[group[0]] for group in groups for row in group}
    begins = dict(zip(widths, accumulate(widths.values(), initial=0), strict=False))
    grids = tuple((len(group), lengths[group[0]]) for group in groups)
    return grids, [begins[row] for row in range(len(lengths))]


def _segments(batches: Sequence[Batch]) -> tuple[Segment, ...]:
    segments: list[Segment] = []
    token = target = 0
    for batch in batches:
        tokens = sum(len(row.ids) for row in batch.rows)
        targets = sum(row.targets for row in batch.rows)
        segments.append(Segment(batch.member, token, token + tokens, target, target + targets))
        token, target = token + tokens, target + targets
    return tuple(segments)

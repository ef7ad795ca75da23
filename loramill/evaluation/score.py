"""Losses of several models on the same rows, all in one pack."""

from collections.abc import Sequence
from statistics import fmean
from time import perf_counter
from typing import Final

import numpy as np
import torch

from loramill.evaluation.verdict import Losses
from loramill.pack.members import Pack
from loramill.pack.rows import Batch
from loramill.pack.speak import answer
from loramill.prompts import Row
from loramill.records import Record

TIMED: Final = 2
"""Questions that are asked alone to see how long an answer takes; a first one warms up and does not count."""


def row_losses(
    pack: Pack, members: Sequence[str | None], rows: Sequence[Row], tokens_per_pass: int
) -> dict[str | None, Losses]:
    """Return the mean target loss (nats per token) of every row under every member; None is the bare base.

    Each pass holds the same rows for all members.
    """
    losses: dict[str | None, list[float]] = {member: [] for member in members}
    with torch.no_grad():
        for chunk in _chunks(rows, tokens_per_pass // max(1, len(members))):
            parts = pack.losses([Batch(member, chunk) for member in members])
            for member, losses_T in zip(members, parts, strict=True):
                losses[member] += [part.mean().item() for part in losses_T.split([row.targets for row in chunk])]
    return {member: np.array(values) for member, values in losses.items()}


def seconds_per_answer(pack: Pack, member: str | None, records: Sequence[Record], max_new_tokens: int) -> float | None:
    """Return the mean time of an answer of one member to a question asked alone; none without questions."""
    times = []
    for record in [*records[:1], *records[:TIMED]]:
        start = perf_counter()
        answer(pack, member, record.asked, max_new_tokens, tools=record.tools)
        times.append(perf_counter() - start)
    return fmean(times[1:]) if times else None


def _chunks(rows: Sequence[Row], tokens: int) -> list[list[Row]]:
    """Cut rows into lists of at most ``tokens`` tokens, a row at least."""
    chunks: list[list[Row]] = [[]]
    for row in rows:
        if chunks[-1] and sum(len(other.ids) for other in chunks[-1]) + len(row.ids) > tokens:
            chunks.append([])
        chunks[-1].append(row)
    return chunks

"""Many conversations of many members continued at once, each by its likeliest token, until each has ended by itself.

What is likeliest obeys the base's own ``repetition_penalty`` (generation_config.json), as transformers and vLLM do: they read
the same file and count the prompt's tokens as said, too. Of that file only this and the stop tokens are obeyed.

Keys and values of every token are worked out once and kept. A sequence that has ended is taken out when enough of them have:
cutting the memory costs more than a few useless tokens. Members share a pass as in training.

Shapes: R sequences, N tokens of a pass, H heads, C places that a sequence has in memory, D features, V vocabulary.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, Final

import torch
import torch.nn.functional as F  # noqa: N812 - the usual name
from torch import Tensor, nn

from loramill.pack.attention import attend_within_rows
from loramill.pack.forward import LOGITS, Route, hidden_states, routed
from loramill.pack.members import Pack
from loramill.pack.rows import Batch, PackedRows, pack_rows
from loramill.prompts import Row

ENOUGH: Final = 0.75
"""Sequences are carried along until no more than this share of them still goes on."""


@dataclass(frozen=True)
class Prompt:
    """What one member is given before it speaks."""

    member: str | None
    ids: tuple[int, ...]


@dataclass
class KeyValues:
    """Keys and values of every sequence so far, for each attention layer: shape (R, H, C, D)."""

    room: int
    """Places of a sequence (C)."""
    lengths_R: Tensor
    """Tokens known of each sequence."""
    rows_N: Tensor
    """To which sequence each token of the prompts belongs."""
    said_RV: Tensor | None = None
    """Which tokens each sequence holds; none where repeating one costs nothing."""
    grids: dict[nn.Module, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def read(self, layer: nn.Module, rows: PackedRows, *heads_1HND: Tensor) -> None:
        """Take in keys and values of whole prompts."""
        self.grids[layer] = tuple(self._grid(part, rows.positions_1N[0]) for part in heads_1HND)  # type: ignore[assignment]

    def add(self, layer: nn.Module, *heads_1HRD: Tensor) -> tuple[Tensor, Tensor]:
        """Take in one token of each sequence; return all keys and values up to the longest sequence's end."""
        places = torch.arange(len(self.lengths_R), device=self.lengths_R.device)
        used = int(self.lengths_R.max()) + 1
        for grid, new in zip(self.grids[layer], heads_1HRD, strict=True):
            grid[places, :, self.lengths_R] = new[0].transpose(0, 1)
        keys, values = self.grids[layer]
        return keys[:, :, :used], values[:, :, :used]

    def seen(self, window: int | None) -> Tensor:
        """Return which places the newest token of each sequence sees, shape (R, 1, 1, used)."""
        last_R1 = self.lengths_R[:, None]
        places = torch.arange(int(self.lengths_R.max()) + 1, device=self.lengths_R.device)
        seen = places <= last_R1
        return (seen if window is None else seen & (places > last_R1 - window))[:, None, None]

    def keep(self, places: Sequence[int]) -> None:
        """Forget all sequences but these."""
        if len(places) < len(self.lengths_R):
            kept = torch.tensor(places, device=self.lengths_R.device)
            self.lengths_R = self.lengths_R[kept]
            self.said_RV = None if self.said_RV is None else self.said_RV[kept]
            self.grids = {layer: (keys[kept], values[kept]) for layer, (keys, values) in self.grids.items()}

    def _grid(self, heads_1HND: Tensor, positions_N: Tensor) -> Tensor:
        _, heads, _, size = heads_1HND.shape
        grid = heads_1HND.new_zeros(len(self.lengths_R), heads, self.room, size)
        grid[self.rows_N, :, positions_N] = heads_1HND[0].transpose(0, 1)
        return grid


def continue_all(
    pack: Pack,
    prompts: Sequence[Prompt],
    max_new_tokens: int,
    stops: Collection[int],
    on_token: Callable[[int, int], None],
) -> list[list[int]]:
    """Return the token ids that follow each prompt, its stop token included if it came to that.

    Args:
        pack: the base with all members.
        prompts: what is continued.
        max_new_tokens: the longest continuation.
        stops: the tokens that end one.
        on_token: called with a prompt's number and its next token.
    """
    said: list[list[int]] = [[] for _ in prompts]
    live = sorted(range(len(prompts)), key=lambda number: prompts[number].member or "")

    def note(tokens_R: Tensor) -> None:
        for number, token in zip(live, tokens_R.tolist(), strict=True):
            if goes_on(number):
                said[number].append(token)
                on_token(number, token)

    def goes_on(number: int) -> bool:
        return len(said[number]) < max_new_tokens and not (said[number] and said[number][-1] in stops)

    with torch.inference_mode():
        rows = _rows(pack, [prompts[number] for number in live])
        past = _nothing_yet(pack, rows, max_new_tokens)
        note(tokens_R := _read(pack, rows, past))
        while going := [place for place, number in enumerate(live) if goes_on(number)]:
            past.keep(going)
            live, tokens_R = [live[place] for place in going], tokens_R[going]
            rows = _rows(pack, [Prompt(prompts[number].member, (0,)) for number in live])
            with routed(pack.base.model, Route(rows, {}), attend=_attend):
                while sum(map(goes_on, live)) > ENOUGH * len(live):
                    note(tokens_R := _step(pack, rows, tokens_R, past))
    return said


def _rows(pack: Pack, prompts: Sequence[Prompt]) -> PackedRows:
    """Lay prompts end to end; nothing in them is learnt."""
    batches = [
        Batch(member, [Row("", prompt.ids, len(prompt.ids)) for prompt in own])
        for member, own in groupby(prompts, key=lambda prompt: prompt.member)
    ]
    return pack_rows(batches, pack.base.device)


def _nothing_yet(pack: Pack, rows: PackedRows, max_new_tokens: int) -> KeyValues:
    lengths_R = torch.tensor(rows.lengths, device=rows.ids_1N.device)
    rows_N = torch.arange(len(lengths_R), device=lengths_R.device).repeat_interleave(lengths_R)
    said_RV = None
    if pack.base.repetition_penalty != 1.0:
        vocabulary = len(pack.base.model.get_output_embeddings().weight)
        said_RV = torch.zeros(len(lengths_R), vocabulary, dtype=torch.bool, device=lengths_R.device)
        said_RV[rows_N, rows.ids_1N[0]] = True
    return KeyValues(max(rows.lengths) + max_new_tokens, lengths_R, rows_N, said_RV)


def _read(pack: Pack, rows: PackedRows, past: KeyValues) -> Tensor:
    """Run the prompts; return the first token of each continuation."""
    with routed(pack.base.model, Route(rows, {}), attend=_attend):
        hidden_1ND = hidden_states(pack.base.model, rows, past=past)
    return _likeliest(pack, hidden_1ND[0, past.lengths_R.cumsum(0) - 1], past.said_RV)


def _step(pack: Pack, rows: PackedRows, tokens_R: Tensor, past: KeyValues) -> Tensor:
    """Run one token of each sequence; return the next ones."""
    rows = replace(rows, ids_1N=tokens_R[None], positions_1N=past.lengths_R[None])
    hidden_1RD = hidden_states(pack.base.model, rows, past=past)
    past.lengths_R = past.lengths_R + 1
    return _likeliest(pack, hidden_1RD[0], past.said_RV)


def _likeliest(pack: Pack, hidden_RD: Tensor, said_RV: Tensor | None) -> Tensor:
    """Return the likeliest next token of each sequence, and note it as said."""
    head = pack.base.model.get_output_embeddings()
    chunk = max(1, LOGITS // len(head.weight))
    if said_RV is None:
        return torch.cat([head(part).argmax(-1) for part in hidden_RD.split(chunk)])
    parts = zip(hidden_RD.split(chunk), said_RV.split(chunk), strict=True)
    times = pack.base.repetition_penalty
    tokens_R = torch.cat([with_penalty(head(part), said, times).argmax(-1) for part, said in parts])
    said_RV[torch.arange(len(tokens_R), device=tokens_R.device), tokens_R] = True
    return tokens_R


def with_penalty(logits_RV: Tensor, said_RV: Tensor, times: float) -> Tensor:
    """Make tokens that were said less likely: positive logits are divided, negative ones multiplied (Keskar et al., 2019).

    In float32, as transformers does it: in bfloat16 a small penalty often ends in a tie.
    """
    logits_RV = logits_RV.float()
    return torch.where(said_RV, torch.where(logits_RV < 0, logits_RV * times, logits_RV / times), logits_RV)


def _attend(
    module: nn.Module,
    query_1HND: Tensor,
    key_1HND: Tensor,
    value_1HND: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attend within the prompts when they are read, afterwards to all that is known of each sequence."""
    past: KeyValues = options["past"]
    if module not in past.grids:
        past.read(module, options["packed_rows"], key_1HND, value_1HND)
        return attend_within_rows(module, query_1HND, key_1HND, value_1HND, attention_mask, **options)
    keys_RHCD, values_RHCD = past.add(module, key_1HND, value_1HND)
    attended_RH1D = F.scaled_dot_product_attention(
        query_1HND.permute(2, 1, 0, 3),
        keys_RHCD,
        values_RHCD,
        attn_mask=past.seen(options.get("sliding_window")),
        scale=options.get("scaling"),
        enable_gqa=query_1HND.shape[1] != key_1HND.shape[1],
    )
    return attended_RH1D.permute(2, 0, 1, 3), None

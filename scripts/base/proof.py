"""Prove on the token ids that were learnt, not on what was meant to be learnt, that no row of a domain is among them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scripts.base.screen import domain_texts, index, likeness
from scripts.base.tokens import SPECIALS, load_shelf

SHELVES = ("reading", "talking")
TURN = re.compile("|".join([rf"{re.escape(SPECIALS[1])}\w+\n", *map(re.escape, SPECIALS)]))


@dataclass(frozen=True)
class Nearest:
    """The text that was learnt and is most like a row of a domain."""

    likeness: float
    text: str
    texts: int
    """How many were looked at."""


def nearest_learnt(text: Path, data: Path) -> Nearest:
    """Compare all that the shelves in ``text`` hold with everything said in the rows below ``data``, as they are now."""
    known = index(domain_texts(data))
    learnt = sorted({each for name in SHELVES for each in learnt_texts(text, name)})
    found = max((likeness(each, known), each) for each in learnt)
    return Nearest(found[0], found[1], len(learnt))


def learnt_texts(text: Path, shelf: str) -> Iterator[str]:
    """Yield each turn and each line of a shelf's documents, as their token ids say them."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(text / "tokenizer")
    held = load_shelf(text / f"{shelf}.npz")
    for ids in np.split(held.ids, held.ends[:-1]):
        for turn in TURN.split(str(tokenizer.decode(ids.tolist()))):
            yield from {each.strip() for each in (turn, *turn.split("\n")) if each.strip()}

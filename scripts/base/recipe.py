"""The numbers of the base, in one place."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """Numbers that make the base; a checkpoint refuses another shape."""

    vocabulary: int = 5120
    characters: int = 2800
    """Characters that get a token of their own; a rarer one is its bytes."""
    longest_token: int = 6
    """Characters of a token: a phrase longer than that is a memory, not a word."""
    width: int = 256
    layers: int = 4
    heads: int = 4
    feed_forward: int = 704
    context: int = 2048
    """Positions that the finished model accepts; it has seen ``block`` of them."""
    block: int = 1024
    """Tokens of one training sequence."""
    micro: int = 2
    """Sequences of one forward pass: few, so that the logits stay in the processor's cache."""
    accumulate: int = 2
    """Forward passes of one optimizer step."""
    matrix_rate: float = 0.015
    """Learning rate of Muon, for the matrices inside the layers."""
    other_rate: float = 0.003
    """Learning rate of AdamW, for embeddings and norms."""
    weight_decay: float = 0.05
    warm_steps: int = 40
    settle: float = 0.75
    """Share of the time budget at which the learning rate begins to fall and the text turns to dialogue."""
    floor: float = 0.03
    """Share of the learning rate that is left at the end."""
    seed: int = 20240501

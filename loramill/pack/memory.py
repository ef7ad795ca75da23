"""What a training pass needs of memory, from the base's shape alone: before anything is loaded.

It counts what `loramill.pack.forward` keeps alive for the backward pass, tensor by tensor; a test holds it against what
autograd really saved. Shapes: N tokens of a pass, G cells of the padded grids that attention works on, T targets.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

LOGITS: Final = 2**23
"""Most logits that exist at a time, as in `loramill.pack.forward`."""
FLOAT: Final = 4
"""Bytes of a float32: adapters, gradients and optimizer state are kept in it whatever the base's dtype."""
KEPT_BY_HEAP: Final = 1.9
"""On a CPU glibc keeps freed blocks of odd sizes: so much more than what is alive was measured."""
EXACT_HEAP: Final = "MALLOC_MMAP_THRESHOLD_"
"""With 65536 in this variable before Python starts, glibc gives every block back; training was 8 to 13 % slower."""
RESERVE: Final = {"cuda": 800 * 2**20, "mps": 600 * 2**20, "cpu": 700 * 2**20}
"""Bytes that the process takes before any tensor: libraries and, on CUDA, the context."""


@dataclass(frozen=True)
class BaseShape:
    """The numbers of a decoder that decide its memory and its work."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    feed_forward: int
    tied: bool
    normed_heads: bool
    """Queries and keys are normalised per head, as in Qwen3."""

    @property
    def linears(self) -> tuple[tuple[int, int], ...]:
        """Inputs and outputs of a layer's linear maps: query, key, value, output, gate, up, down."""
        queries, keys = self.heads * self.head_size, self.kv_heads * self.head_size
        return (
            (self.width, queries),
            (self.width, keys),
            (self.width, keys),
            (queries, self.width),
            (self.width, self.feed_forward),
            (self.width, self.feed_forward),
            (self.feed_forward, self.width),
        )

    @property
    def layer_weights(self) -> int:
        """Weights of all layers' linear maps: those that every token meets."""
        return self.layers * sum(inputs * outputs for inputs, outputs in self.linears)

    @property
    def weights(self) -> int:
        """All weights; the small ones of norms are left out."""
        return self.layer_weights + self.vocabulary * self.width * (1 if self.tied else 2)

    def adapter_weights(self, rank: int) -> int:
        """Weights of a LoRA adapter on every linear map but the head."""
        return self.layers * rank * sum(inputs + outputs for inputs, outputs in self.linears)


@dataclass(frozen=True)
class PassSize:
    """How much one forward and backward pass holds."""

    tokens: int
    grid: int
    """Cells of the padded grids: see `loramill.pack.rows.lay_grids`."""
    targets: int


@dataclass(frozen=True)
class Memory:
    """Bytes of a training at its peak, by what they hold."""

    base: int
    adapters: int
    """Weights, gradients and AdamW's two moments."""
    activations: int
    """What the backward pass needs of every layer."""
    working: int
    """The logits' chunk and one layer's intermediate results."""
    reserve: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.base + self.adapters + self.activations + self.working + self.reserve


def shape_of_config(config: Mapping[str, Any]) -> BaseShape | None:
    """Read the shape from a ``config.json``; none where it is not a dense decoder of the usual kind."""
    if any(key in config for key in ("num_experts", "num_local_experts", "n_routed_experts")):
        return None
    try:
        heads, width = int(config["num_attention_heads"]), int(config["hidden_size"])
        return BaseShape(
            vocabulary=int(config["vocab_size"]),
            width=width,
            layers=int(config["num_hidden_layers"]),
            heads=heads,
            kv_heads=int(config.get("num_key_value_heads") or heads),
            head_size=int(config.get("head_dim") or width // heads),
            feed_forward=int(config["intermediate_size"]),
            tied=bool(config.get("tie_word_embeddings", False)),
            normed_heads=str(config.get("model_type", "")).startswith("qwen3"),
        )
    except (KeyError, TypeError, ValueError):
        return None


def estimate(
    shape: BaseShape,
    size: PassSize,
    *,
    ranks: Sequence[int],
    dropout: bool,
    dtype_bytes: int,
    device: str,
    checkpointing: bool = False,
) -> Memory:
    """Return the memory that training needs at its peak.

    Args:
        shape: the base.
        size: the largest pass.
        ranks: one LoRA rank per member of the pack, each on every linear map.
        dropout: whether adapters drop inputs: the mask and the masked inputs of each linear map are kept then.
        dtype_bytes: bytes of one of the base's weights (2 for bfloat16).
        device: ``cuda``, ``mps`` or ``cpu``.
        checkpointing: whether decoder layers are computed again in the backward pass.
    """
    kept = kept_for_backward(
        shape, size, max(ranks), dropout=dropout, dtype_bytes=dtype_bytes, checkpointing=checkpointing
    )
    adapters = sum(shape.adapter_weights(rank) for rank in ranks) * 4 * FLOAT
    return Memory(
        base=shape.weights * dtype_bytes,
        adapters=adapters,
        activations=int(kept * (KEPT_BY_HEAP if device == "cpu" and EXACT_HEAP not in os.environ else 1.0)),
        working=_working(shape, size, dtype_bytes),
        reserve=RESERVE[device],
    )


def kept_for_backward(
    shape: BaseShape, size: PassSize, rank: int, *, dropout: bool, dtype_bytes: int, checkpointing: bool = False
) -> int:
    """Return the bytes that autograd keeps between forward and backward; with checkpointing, while one layer is recomputed."""
    width, queries, keys = shape.width, shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    norms = 2 * width + (queries + keys if shape.normed_heads else 0)
    inputs = 2 * sum(ins for ins, _ in shape.linears) if dropout else 2 * width + queries + shape.feed_forward
    per_token = dtype_bytes * (inputs + len(shape.linears) * rank + 3 * shape.feed_forward) + FLOAT * norms
    per_grid_token = dtype_bytes * (2 * queries + 2 * keys)
    layer = size.tokens * per_token + size.grid * per_grid_token
    layers = layer + shape.layers * size.tokens * width * dtype_bytes if checkpointing else shape.layers * layer
    return layers + size.tokens * width * FLOAT + size.targets * width * dtype_bytes


def _working(shape: BaseShape, size: PassSize, dtype_bytes: int) -> int:
    logits = min(LOGITS, size.targets * shape.vocabulary) * (dtype_bytes + 2 * FLOAT)
    widest = max(max(ins, outs) for ins, outs in shape.linears)
    return max(logits, size.tokens * widest * 4 * FLOAT)

"""The packed forward: one frozen base, many adapters, one pass.

Only this file knows how adapters share a pass. The base model's linear layers run once over all N tokens; each member's
A and B run over its own tokens, which lie side by side (on CPUs this beat one masked product over all adapters and padded
batched products at every size measured; see ``benchmarks/``). A member's numbers never meet another's, so one that
overflows cannot touch its neighbours. Attention runs row by row. The head runs on target positions only, in chunks.

Shapes: N tokens of all rows, R rows, L tokens of the longest row, H heads, D features, T targets, V vocabulary.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F  # noqa: N812 - the usual name
from peft.utils.integrations import dequantize_module_weight
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from loramill.errors import BaseModelError
from loramill.pack.dropout import keep_mask, token_keys
from loramill.pack.methods import lora_layers
from loramill.pack.rows import PackedRows, Segment

ATTENTION = "loramill_rows"
LOGITS = 2**22
"""Most logits that exist at a time: 16 MB in float32."""


@dataclass(frozen=True)
class Draw:
    """Where a member's dropout stands; None in its place means evaluation."""

    seed: int
    step: int


@dataclass(frozen=True)
class Route:
    """What every layer needs to know in one pass."""

    rows: PackedRows
    keys: Mapping[str, Tensor]
    """Dropout keys of each member that is being trained, one per token of its segment."""


def token_losses(model: PreTrainedModel, rows: PackedRows, draws: Mapping[str, Draw]) -> Tensor:
    """Return the negative log-likelihood of every target, shape (T,), in nats.

    Args:
        model: the base, with PEFT's LoRA layers in place if any row has a member.
        rows: rows of all members end to end.
        draws: dropout of the members that are being trained; the others are evaluated.
    """
    keys = {
        segment.member: _keys(rows, segment, draws[segment.member])
        for segment in rows.segments
        if segment.member is not None and segment.member in draws
    }
    with _routed(model, Route(rows, keys)):
        hidden_1ND = hidden_states(model, rows)
    return head_losses(model.get_output_embeddings(), _apply(_Take, hidden_1ND[0], rows.asked_T), rows.targets_T)


def hidden_states(model: PreTrainedModel, rows: PackedRows) -> Tensor:
    """Run the decoder without its head; shape (1, N, D)."""
    decoder = cast(Callable[..., Any], model.base_model)
    output = decoder(input_ids=rows.ids_1N, position_ids=rows.positions_1N, use_cache=False, packed_rows=rows)
    return cast(Tensor, output.last_hidden_state)


def head_losses(head: nn.Module, hidden_TD: Tensor, targets_T: Tensor) -> Tensor:
    """Return the loss of each target; at most `LOGITS` logits exist at a time, and none is kept for the backward pass."""
    return _apply(_HeadLosses, hidden_TD, head.weight, head.bias, targets_T)


def check_packed_forward(model: PreTrainedModel, rows: PackedRows) -> None:
    """Prove on two rows that the packed forward computes what the model itself computes.

    Raises:
        BaseModelError: it does not; this architecture does something that packing does not know.
    """
    with torch.no_grad(), _routed(model, Route(rows, {})):
        ours = model.get_output_embeddings()(hidden_states(model, rows))[0].float()
    for start, stop in _row_bounds(rows):
        with torch.no_grad():
            theirs = model(input_ids=rows.ids_1N[:, start:stop], use_cache=False).logits[0].float()
        gap = (ours[start:stop] - theirs).abs().max().item()
        allowed = (0.05 if theirs.abs().max() < 1 else 0.05 * theirs.abs().max().item()) if _is_half(model) else 1e-3
        if not gap <= allowed:
            raise BaseModelError(
                f"{type(model).__name__} computes other logits packed than alone (difference {gap:.2g}, allowed "
                f"{allowed:.2g}): this architecture cannot be trained exactly here; report it with the model's name"
            )


def _is_half(model: PreTrainedModel) -> bool:
    return model.dtype in {torch.bfloat16, torch.float16}


def _row_bounds(rows: PackedRows) -> Iterator[tuple[int, int]]:
    start = 0
    for length in rows.lengths:
        yield start, start + length
        start += length


def _keys(rows: PackedRows, segment: Segment, draw: Draw) -> Tensor:
    tokens = slice(segment.start, segment.stop)
    return token_keys(draw.seed, draw.step, rows.rows_N[tokens], rows.positions_1N[0, tokens])


@contextmanager
def _routed(model: PreTrainedModel, route: Route) -> Iterator[None]:
    """Let every LoRA layer follow ``route`` and attention stay within rows, for one pass."""
    ALL_ATTENTION_FUNCTIONS.register(ATTENTION, _attend_within_rows)
    layers = lora_layers(model)
    before = model.config._attn_implementation
    model.config._attn_implementation = ATTENTION
    try:
        for number, layer in enumerate(layers):
            layer.forward = _lora_forward(layer, number, route)
        yield
    finally:
        model.config._attn_implementation = before
        for layer in layers:
            vars(layer).pop("forward", None)


def _lora_forward(layer: Any, number: int, route: Route) -> Callable[..., Tensor]:
    """Return a forward for one of PEFT's LoRA layers: the base once, then each member on its own tokens."""

    def forward(x_1ND: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        sizes = route.rows.sizes
        bases = layer.base_layer(x_1ND, *args, **kwargs)[0].split(sizes)
        parts = [
            _with_adapter(layer, number, route, segment.member, base_ND, x_ND)
            for segment, base_ND, x_ND in zip(route.rows.segments, bases, x_1ND[0].split(sizes), strict=True)
        ]
        return torch.cat(parts)[None]

    return forward


def _with_adapter(layer: Any, number: int, route: Route, member: str | None, base_ND: Tensor, x_ND: Tensor) -> Tensor:
    if member is None or member not in layer.lora_A:
        return base_ND
    share = layer.lora_dropout[member].p if member in route.keys and hasattr(layer.lora_dropout[member], "p") else 0.0
    if share > 0.0:
        keep = keep_mask(route.keys[member], number, x_ND.shape[1], share)
        x_ND = x_ND * (keep * (1.0 / (1.0 - share))).to(x_ND.dtype)
    a, b = layer.lora_A[member].weight.to(x_ND.dtype), layer.lora_B[member].weight.to(x_ND.dtype)
    if member in layer.lora_magnitude_vector:
        return _with_magnitude(layer, member, base_ND, F.linear(F.linear(x_ND, a), b))
    return torch.addmm(base_ND, F.linear(x_ND, a), b.t(), alpha=layer.scaling[member])


def _with_magnitude(layer: Any, member: str, base_ND: Tensor, change_ND: Tensor) -> Tensor:
    """DoRA: each output of W + s·B·A is brought to a learnt magnitude; the norm takes no gradient, as in its paper."""
    base = layer.get_base_layer()
    with torch.no_grad():
        norm_D = _row_norms(base, layer.lora_A[member].weight, layer.lora_B[member].weight, layer.scaling[member])
    times_D = (layer.lora_magnitude_vector[member].weight / norm_D).to(base_ND.dtype)
    plain_ND = base_ND if base.bias is None else base_ND - base.bias
    whole_ND = times_D * torch.add(plain_ND, change_ND, alpha=layer.scaling[member])
    return cast(Tensor, whole_ND if base.bias is None else whole_ND + base.bias)


def _row_norms(base: nn.Module, a_RI: Tensor, b_OR: Tensor, scaling: float) -> Tensor:
    """Return the norm of each row of W + s·B·A, shape (O,), without making that matrix."""
    weight_OI = dequantize_module_weight(base).to(a_RI.dtype)
    square_O = weight_OI.square().sum(1)
    square_O += 2 * scaling * (b_OR * (weight_OI @ a_RI.t())).sum(1)
    square_O += scaling**2 * (b_OR @ (a_RI @ a_RI.t()) * b_OR).sum(1)
    return cast(Tensor, square_O.clamp_min(0).sqrt())


def _attend_within_rows(
    module: nn.Module,
    query_1HND: Tensor,
    key_1HND: Tensor,
    value_1HND: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Causal attention in which each row sees itself only; rows are padded here and nowhere else."""
    rows: PackedRows = options["packed_rows"]
    window = options.get("sliding_window")
    longest = rows.shape[1]
    if window is not None and longest > window:
        raise BaseModelError(
            f"a row of {longest} tokens exceeds this base's attention window of {window}; "
            "lower learning.max_tokens to the window"
        )
    query, key, value = (_padded(heads_1HND, rows) for heads_1HND in (query_1HND, key_1HND, value_1HND))
    attended_RHLD = F.scaled_dot_product_attention(
        query,
        key,
        value,
        is_causal=True,
        scale=options.get("scaling"),
        enable_gqa=query.shape[1] != key.shape[1],
    )
    attended = attended_RHLD.transpose(1, 2).flatten(2).flatten(0, 1)  # (R x L, H x D)
    heads, size = attended_RHLD.shape[1], attended_RHLD.shape[3]
    return _apply(_Take, attended, rows.places_N).view(1, -1, heads, size), None


def _padded(heads_1HND: Tensor, rows: PackedRows) -> Tensor:
    """Lay the tokens of each row into a grid, zeros beyond its end; shape (R, H, L, D)."""
    _, heads, _, size = heads_1HND.shape
    tokens = heads_1HND[0].transpose(0, 1).flatten(1)  # (N, H x D)
    grid = _apply(_Put, tokens, rows.places_N, rows.shape[0] * rows.shape[1])
    return grid.view(*rows.shape, heads, size).transpose(1, 2)


def _apply(function: type[torch.autograd.Function], *arguments: Any) -> Tensor:
    return cast(Tensor, function.apply(*arguments))


class _HeadLosses(torch.autograd.Function):
    """Cross-entropy of a frozen head, whose gradient is worked out while the logits are at hand.

    A target's loss depends on its own hidden state only, so the backward pass is that gradient times a number per target.
    """

    @staticmethod
    def forward(ctx: Any, hidden_TD: Tensor, weight_VD: Tensor, bias_V: Tensor | None, targets_T: Tensor) -> Tensor:
        losses_T = hidden_TD.new_empty(len(hidden_TD), dtype=torch.float32)
        gradient_TD = torch.empty_like(hidden_TD) if ctx.needs_input_grad[0] else None
        chunk = max(1, LOGITS // len(weight_VD))
        for start in range(0, len(hidden_TD), chunk):
            part = slice(start, start + chunk)
            chances = F.log_softmax(F.linear(hidden_TD[part], weight_VD, bias_V).float(), dim=1)
            targets = targets_T[part, None]
            losses_T[part] = -chances.gather(1, targets)[:, 0]
            if gradient_TD is not None:
                chances.exp_().scatter_add_(1, targets, torch.full_like(targets, -1, dtype=chances.dtype))
                gradient_TD[part] = chances.to(weight_VD.dtype) @ weight_VD
        ctx.save_for_backward(gradient_TD)
        return losses_T

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient_TD,) = ctx.saved_tensors
        return gradient_TD * gradients[0][:, None].to(gradient_TD.dtype), None, None, None


class _Take(torch.autograd.Function):
    """Take different rows of a matrix; autograd's own backward would add up as if rows could repeat, which is slow."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(places)
        ctx.size = len(matrix)
        return matrix.index_select(0, places)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (places,) = ctx.saved_tensors
        return gradients[0].new_zeros(ctx.size, gradients[0].shape[1]).index_copy_(0, places, gradients[0]), None


class _Put(torch.autograd.Function):
    """Put rows into different places of a matrix of zeros: the transpose of `_Take`."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, places: Tensor, size: int) -> Tensor:
        ctx.save_for_backward(places)
        return matrix.new_zeros(size, matrix.shape[1]).index_copy_(0, places, matrix)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (places,) = ctx.saved_tensors
        return gradients[0].index_select(0, places), None, None

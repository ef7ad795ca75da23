"""The packed forward: one frozen base, many adapters, one pass.

Only this file knows how adapters share a pass. The base model's linear layers run once over all N tokens; each member's
A and B run over its own tokens, which lie side by side (on CPUs this beats padded batched products, and from eight members on
one masked product over all adapters; ``python -m benchmarks.products``). A member's numbers never meet another's, so one that
overflows cannot touch its neighbours. Attention runs row by row. The head runs on target positions only, in chunks. Where the
plan says so, a decoder layer keeps its input only and is computed again in the backward pass.

Shapes: N tokens of all rows, D features, T targets, V vocabulary.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F  # noqa: N812 - the usual name
from peft.utils.integrations import dequantize_module_weight
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from loramill.errors import BaseModelError
from loramill.pack.attention import Take, attend_within_rows
from loramill.pack.dropout import keep_mask, token_keys
from loramill.pack.methods import lora_layers
from loramill.pack.norm import lean_norms
from loramill.pack.product import Span, layer_with_products
from loramill.pack.rows import PackedRows, Segment

ATTENTION = "loramill_rows"
LOGITS = 2**23
"""Most logits of one piece of the head's work: 32 MB. At a vocabulary of 150,000 half as many take 1.3 times as long."""


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


def token_losses(
    model: PreTrainedModel, rows: PackedRows, draws: Mapping[str, Draw], *, checkpointing: bool = False
) -> Tensor:
    """Return the negative log-likelihood of every target, shape (T,), in nats.

    Args:
        model: the base, with PEFT's LoRA layers in place if any row has a member.
        rows: rows of all members end to end.
        draws: dropout of the members that are being trained; the others are evaluated.
        checkpointing: keep each decoder layer's input only and compute the rest again when gradients are asked for; losses
            and gradients stay the same.
    """
    keys = {
        segment.member: _keys(rows, segment, draws[segment.member])
        for segment in rows.segments
        if segment.member is not None and segment.member in draws
    }
    with routed(model, Route(rows, keys), checkpointing=checkpointing and torch.is_grad_enabled()):
        hidden_1ND = hidden_states(model, rows)
    return head_losses(model.get_output_embeddings(), _apply(Take, hidden_1ND.squeeze(0), rows.asked_T), rows.targets_T)


def hidden_states(model: PreTrainedModel, rows: PackedRows, **options: Any) -> Tensor:
    """Run the decoder without its head; shape (1, N, D). Attention is handed the options."""
    decoder = cast(Callable[..., Any], model.base_model)
    output = decoder(
        input_ids=rows.ids_1N, position_ids=rows.positions_1N, use_cache=False, packed_rows=rows, **options
    )
    return cast(Tensor, output.last_hidden_state)


def head_losses(head: nn.Module, hidden_TD: Tensor, targets_T: Tensor) -> Tensor:
    """Return the loss of each target; at most `LOGITS` logits exist at a time, and none is kept for the backward pass."""
    return _apply(_HeadLosses, hidden_TD, head.weight, head.bias, targets_T)


def check_packed_forward(model: PreTrainedModel, rows: PackedRows) -> None:
    """Prove on two rows that the packed forward computes what the model itself computes.

    Raises:
        BaseModelError: it does not; this architecture does something that packing does not know.
    """
    with torch.no_grad(), routed(model, Route(rows, {})):
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
def routed(
    model: PreTrainedModel, route: Route, *, checkpointing: bool = False, attend: Callable[..., Any] | None = None
) -> Iterator[None]:
    """Let every LoRA layer follow ``route`` and attention stay within rows, or go as ``attend`` says."""
    ALL_ATTENTION_FUNCTIONS.register(ATTENTION, attend or attend_within_rows)
    forwards: dict[nn.Module, Forward] = {**lean_norms(model)}
    forwards |= {layer: _lora_forward(layer, number, route) for number, layer in enumerate(lora_layers(model))}
    outer = {layer: _checkpointed(model, layer, forwards) for layer in decoder_layers(model)} if checkpointing else {}
    with _taking(model, forwards | outer):
        yield


def decoder_layers(model: PreTrainedModel) -> list[nn.Module]:
    """Return the blocks that the decoder is a stack of."""
    count = model.config.get_text_config().num_hidden_layers
    stacks = (stack for stack in model.base_model.modules() if isinstance(stack, nn.ModuleList))
    return next((list(stack) for stack in stacks if len(stack) == count), [])


Forward = Callable[..., Any]


def _checkpointed(model: PreTrainedModel, layer: nn.Module, forwards: Mapping[nn.Module, Forward]) -> Forward:
    """Return a forward that keeps the layer's input only; it is run again, on the same route, when this pass is over."""
    plain = layer.forward
    inner = {module: forwards[module] for module in layer.modules() if module in forwards}

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _taking(model, inner)

    def forward(*args: Any, **kwargs: Any) -> Any:
        # our dropout has no state that would have to be restored
        return checkpoint(plain, *args, use_reentrant=False, preserve_rng_state=False, context_fn=contexts, **kwargs)

    return forward


@contextmanager
def _taking(model: PreTrainedModel, forwards: Mapping[nn.Module, Forward]) -> Iterator[None]:
    """Let these modules run these forwards, and attention ours."""
    before = model.config._attn_implementation
    model.config._attn_implementation = ATTENTION
    try:
        for module, forward in forwards.items():
            module.forward = forward
        yield
    finally:
        model.config._attn_implementation = before
        for module in forwards:
            vars(module).pop("forward", None)


def _lora_forward(layer: Any, number: int, route: Route) -> Callable[..., Tensor]:
    """Return a forward for one of PEFT's LoRA layers: the base once, then each member on its own tokens."""
    here = [segment for segment in route.rows.segments if segment.member in layer.lora_A]
    with_norm = any(segment.member in layer.lora_magnitude_vector for segment in here)

    def forward(x_1ND: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if not here:
            return cast(Tensor, layer.base_layer(x_1ND, *args, **kwargs))
        plain_ND = x_1ND.squeeze(0)
        x_ND = _dropped(layer, number, route, plain_ND)
        if with_norm:
            return _piece_by_piece(layer, route, layer.base_layer(plain_ND, *args, **kwargs), x_ND).unsqueeze(0)
        spans = [Span(segment.start, segment.stop, layer.scaling[segment.member]) for segment in here]
        weights = [weight for segment in here for weight in _factors(layer, str(segment.member), x_ND.dtype)]
        return layer_with_products(layer.base_layer, plain_ND, x_ND, spans, weights).unsqueeze(0)

    return forward


def _factors(layer: Any, member: str, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    return layer.lora_A[member].weight.to(dtype), layer.lora_B[member].weight.to(dtype)


def _dropped(layer: Any, number: int, route: Route, x_ND: Tensor) -> Tensor:
    """Return the input as the members see it: each drops its own share, those without dropout nothing."""
    shares = {name: getattr(layer.lora_dropout[name], "p", 0.0) for name in route.keys if name in layer.lora_A}
    if not any(shares.values()):
        return x_ND
    kept = []
    for segment in route.rows.segments:
        if share := shares.get(str(segment.member), 0.0):
            keep = keep_mask(route.keys[str(segment.member)], number, x_ND.shape[1], share)
            kept.append((keep * (1.0 / (1.0 - share))).to(x_ND.dtype))
        else:
            kept.append(x_ND.new_ones(segment.stop - segment.start, x_ND.shape[1]))
    return x_ND * torch.cat(kept)


def _piece_by_piece(layer: Any, route: Route, base_ND: Tensor, x_ND: Tensor) -> Tensor:
    """The same for passes with DoRA, whose outputs are scaled as a whole."""
    pieces = []
    for segment in route.rows.segments:
        own = slice(segment.start, segment.stop)
        if segment.member is None or segment.member not in layer.lora_A:
            pieces.append(base_ND[own])
            continue
        a_RI, b_OR = _factors(layer, segment.member, x_ND.dtype)
        inner_NR = F.linear(x_ND[own], a_RI)
        if segment.member in layer.lora_magnitude_vector:
            pieces.append(_with_magnitude(layer, segment.member, base_ND[own], F.linear(inner_NR, b_OR)))
        else:
            pieces.append(torch.addmm(base_ND[own], inner_NR, b_OR.t(), alpha=layer.scaling[segment.member]))
    return torch.cat(pieces)


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

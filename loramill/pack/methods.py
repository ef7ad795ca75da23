"""Methods of adaptation by one word, and how each fits into a pack.

LoRA, rsLoRA, DoRA and LoRA+ differ in a scale, a norm or a rate and share a pack as they are. PiSSA, OLoRA and EVA are other
first weights. PiSSA and OLoRA are usually made by taking their first product out of the base's weights, which no neighbour
could share; here the base stays as it is and the adapter carries that product a second time, negated and held still: the same
function, exported as a plain LoRA of twice the rank.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, cast

import torch
from peft import LoraConfig
from peft.utils.integrations import dequantize_module_weight
from torch import Tensor, nn

from loramill.config import Method
from loramill.pack.rows import Batch
from loramill.prompts import Row

CARRIED: frozenset[Method] = frozenset({"pissa", "olora"})
"""Methods whose first product is carried twice instead of being taken out of the base."""
BEGIN_AT_ZERO: frozenset[Method] = frozenset({"lora", "rslora", "lora-plus", "eva", "qlora"})
"""Methods whose fresh adapter leaves every number of the base as it is, to the last bit: B is zero."""
LORA_PLUS = 16.0
"""LoRA+: how much faster B learns than A (Hayou et al., 2024)."""
EVA_TOKENS = 4096
"""Tokens of training rows whose inputs EVA looks at."""


@dataclass(frozen=True)
class Shape:
    """What an adapter is, before it has learnt anything."""

    rank: int
    alpha: float
    dropout: float = 0.0
    target_modules: tuple[str, ...] = ("all-linear",)
    seed: int = 0
    """Seed of its first weights."""
    method: Method = "lora"

    @property
    def copies(self) -> int:
        """How often the first product is carried: the exported rank is ``rank`` times this."""
        return 2 if self.method in CARRIED else 1

    def rate_of(self, key: str) -> float:
        """Return by what the learning rate of one weight is multiplied."""
        return LORA_PLUS if self.method == "lora-plus" and "lora_B" in key else 1.0


def peft_config(shape: Shape, base: str) -> LoraConfig:
    """Return PEFT's configuration of an adapter."""
    modules = shape.target_modules
    return LoraConfig(
        r=shape.rank * shape.copies,
        lora_alpha=cast(int, shape.alpha * shape.copies),
        lora_dropout=shape.dropout,
        target_modules="all-linear" if modules == ("all-linear",) else list(modules),
        use_rslora=shape.method == "rslora",
        use_dora=shape.method == "dora",
        task_type="CAUSAL_LM",
        base_model_name_or_path=base,
    )


def carry_first_product(model: nn.Module, name: str, shape: Shape) -> None:
    """Give a PiSSA or OLoRA member its first weights: the product that learns, and its negation that stays.

    For a base weight W (O, I) and scale s: PiSSA splits the ``rank`` largest singular directions of W into s·B·A, OLoRA takes
    the first columns of its QR decomposition.
    """
    for layer in lora_layers(model, name):
        a, b = layer.lora_A[name].weight, layer.lora_B[name].weight
        first_b, first_a = FIRST[shape.method](_frozen_weight(layer), shape.rank)
        if shape.method == "pissa":
            first_b, first_a = (part / layer.scaling[name] ** 0.5 for part in (first_b, first_a))
        with torch.no_grad():
            a.copy_(torch.cat([first_a, first_a]))
            b.copy_(torch.cat([first_b, -first_b], dim=1))
        a.register_hook(_still(slice(shape.rank, None), slice(None)))
        b.register_hook(_still(slice(None), slice(shape.rank, None)))


def explained_variance(forward: Callable[[Batch], Any], model: nn.Module, name: str, rows: Sequence[Row]) -> None:
    """Give an EVA member its first A: in each layer the directions in which its inputs vary most (Paischer et al., 2024).

    Args:
        forward: runs rows through the bare base.
        model: the model with the member on it.
        name: the member.
        rows: training rows; the first `EVA_TOKENS` tokens of them are looked at.
    """
    batch = Batch(None, list(_first_rows(rows, EVA_TOKENS)))
    with torch.no_grad(), ExitStack() as stack:
        for layer in lora_layers(model, name):
            handle = layer.base_layer.register_forward_pre_hook(_directions_into(layer.lora_A[name].weight))
            stack.callback(handle.remove)
        forward(batch)


def lora_layers(model: nn.Module, name: str | None = None) -> list[Any]:
    """Return PEFT's LoRA layers, of one member or of all."""
    layers = [module for module in model.modules() if isinstance(getattr(module, "lora_A", None), nn.ModuleDict)]
    return [layer for layer in layers if name is None or name in cast(Any, layer).lora_A]


def _frozen_weight(layer: Any) -> Tensor:
    """Return W in float32, also where the base holds it in 4 bits."""
    return cast(Tensor, dequantize_module_weight(layer.get_base_layer())).detach().float()


def _principal(weight_OI: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    u, s, v = torch.svd_lowrank(weight_OI, q=min(rank + 8, *weight_OI.shape), niter=16)
    root = s[:rank].sqrt()
    return u[:, :rank] * root, (v[:, :rank] * root).t()


def _orthonormal(weight_OI: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    q, r = torch.linalg.qr(weight_OI)
    return q[:, :rank], r[:rank]


FIRST: dict[Method, Callable[[Tensor, int], tuple[Tensor, Tensor]]] = {"pissa": _principal, "olora": _orthonormal}


def _still(*part: slice) -> Callable[[Tensor], Tensor]:
    """Return a gradient hook that keeps one part of a weight from learning."""

    def hook(gradient: Tensor) -> Tensor:
        kept = gradient.clone()
        kept[part] = 0.0
        return kept

    return hook


def _directions_into(a_RI: Tensor) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen_NI = inputs[0].flatten(0, -2).float()
        rank = min(len(a_RI), *seen_NI.shape)
        _, _, v = torch.svd_lowrank(seen_NI, q=min(rank + 8, *seen_NI.shape), niter=8)
        a_RI[:rank] = v[:, :rank].t().to(a_RI.dtype)

    return hook


def _first_rows(rows: Sequence[Row], tokens: int) -> Iterator[Row]:
    used = 0
    for row in rows:
        if used and used + len(row.ids) > tokens:
            return
        used += len(row.ids)
        yield row

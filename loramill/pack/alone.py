"""Methods that change more than a product beside a layer: IA3, prefix tuning and AdaLoRA, each a pack of one.

They run through PEFT's own forward on padded rows and the same training loop. Members of one kind may hang on the base side by
side and take turns; only LoRA's kin share a pass.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
import torch.nn.functional as F  # noqa: N812 - the usual name
from peft import AdaLoraConfig, IA3Config, PeftConfig, PeftModel, PrefixTuningConfig
from torch import Tensor

from loramill.config import Method
from loramill.errors import AdapterError
from loramill.pack.methods import Shape
from loramill.prompts import Row

ALONE: frozenset[Method] = frozenset({"adalora", "ia3", "prefix"})
"""Methods that cannot share a pass."""
KINDS = {"ADALORA", "IA3", "PREFIX_TUNING"}
"""PEFT's names for them."""
IA3_MODULES = ("k_proj", "v_proj", "down_proj")
"""What IA3's paper scales: keys, values and the inner activations."""


def alone_config(shape: Shape, base: str, steps: int) -> PeftConfig:
    """Return PEFT's configuration; prefix tuning takes ``rank`` as its number of virtual tokens.

    Raises:
        AdapterError: AdaLoRA has too few steps to let go of ranks.
    """
    return _CONFIGS[shape.method](shape, {"task_type": "CAUSAL_LM", "base_model_name_or_path": base}, steps)


def plain_losses(model: PeftModel, rows: Sequence[Row]) -> Tensor:
    """Return the loss of every target, shape (T,), in nats, from PEFT's own forward on padded rows."""
    longest = max(len(row.ids) for row in rows)
    grid = torch.zeros(len(rows), longest, dtype=torch.long)
    seen = torch.zeros_like(grid)
    for place, row in enumerate(rows):
        grid[place, : len(row.ids)] = torch.tensor(row.ids)
        seen[place, : len(row.ids)] = 1
    logits = model(input_ids=grid.to(model.device), attention_mask=seen.to(model.device), use_cache=False).logits
    losses = []
    for place, row in enumerate(rows):
        asked = logits[place, row.prompt_length - 1 : len(row.ids) - 1].float()
        targets = torch.tensor(row.ids[row.prompt_length :], device=asked.device)
        losses.append(F.cross_entropy(asked, targets, reduction="none"))
    return torch.cat(losses)


def penalty(model: PeftModel, name: str) -> Tensor | None:
    """Return AdaLoRA's pull towards orthonormal factors (Zhang et al., 2023), or nothing for the other methods."""
    config = model.peft_config[name]
    if not isinstance(config, AdaLoraConfig):
        return None
    factors = [w for key, w in model.named_parameters() if f".{name}" in key and ("lora_A" in key or "lora_B" in key)]
    tall = [factor if factor.shape[0] >= factor.shape[1] else factor.t() for factor in factors]
    gaps = [torch.linalg.norm(f.t() @ f - torch.eye(f.shape[1], device=f.device, dtype=f.dtype)) for f in tall]
    return cast(Tensor, config.orth_reg_weight * torch.stack(gaps).mean())


def after_step(model: PeftModel, name: str, step: int) -> None:
    """Let AdaLoRA move its budget of ranks between layers; it reads the step's gradients."""
    if isinstance(model.peft_config[name], AdaLoraConfig):
        cast(Any, model.base_model).update_and_allocate(step)


@contextmanager
def whole_ranks(config: PeftConfig) -> Iterator[None]:
    """Keep PEFT from cutting AdaLoRA's weights to its present budget: ranks let go are zeros in them, and may come back."""
    if not isinstance(config, AdaLoraConfig):
        yield
        return
    pattern, config.rank_pattern = config.rank_pattern, None
    try:
        yield
    finally:
        config.rank_pattern = pattern


def _adalora(shape: Shape, common: dict[str, Any], steps: int) -> PeftConfig:
    calm = steps // 4
    if steps < 8:
        raise AdapterError(f"adalora needs at least 8 optimizer steps to move its ranks, this course has {steps}")
    return AdaLoraConfig(
        init_r=shape.rank + (shape.rank + 1) // 2,
        target_r=shape.rank,
        lora_alpha=cast(int, shape.alpha),
        lora_dropout=shape.dropout,
        target_modules=_modules(shape),
        total_step=steps,
        tinit=calm,
        tfinal=calm,
        deltaT=max(1, steps // 50),
        **common,
    )


def _ia3(shape: Shape, common: dict[str, Any], steps: int) -> PeftConfig:
    named = list(IA3_MODULES) if shape.target_modules == ("all-linear",) else list(shape.target_modules)
    inner = [name for name in named if name.endswith("down_proj")]
    return IA3Config(target_modules=named, feedforward_modules=inner, **common)


def _prefix(shape: Shape, common: dict[str, Any], steps: int) -> PeftConfig:
    return PrefixTuningConfig(num_virtual_tokens=shape.rank, **common)


def _modules(shape: Shape) -> str | list[str]:
    return "all-linear" if shape.target_modules == ("all-linear",) else list(shape.target_modules)


_CONFIGS: dict[Method, Callable[[Shape, dict[str, Any], int], PeftConfig]] = {
    "adalora": _adalora,
    "ia3": _ia3,
    "prefix": _prefix,
}

"""The one loop that makes the base: visible, resumable, driven by the clock.

The matrices inside the layers learn by Muon, embeddings and norms by AdamW. A pause of the process costs time and nothing
else; a kill costs what came after the last checkpoint.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from loramill.errors import TrainingError
from scripts.base import checkpoint
from scripts.base.course import Place, progress, rate_factor, take
from scripts.base.history import HISTORY, Progress, append_line, forget_lines_after
from scripts.base.recipe import Recipe

CHECKPOINT_SECONDS = 180.0
REPORT_STEPS = 10
SHAPE = ("vocabulary", "width", "layers", "heads", "feed_forward")
"""What a checkpoint must have in common with the recipe; the other numbers may change on the way."""
SHELVES = ("reading", "talking")
CHECKPOINTS = "checkpoints"
LEVEL = "level"
"""Folder of the state just after the learning rate began to fall: what a longer training goes on from."""


@dataclass
class Run:
    """A training under way; everything but the modules is plain and goes into the checkpoint."""

    recipe: Recipe
    model: LlamaForCausalLM
    optimizers: list[torch.optim.Optimizer]
    step: int = 0
    tokens: int = 0
    spent: float = 0.0
    """Seconds trained, over all sessions."""
    places: dict[str, Place] = field(default_factory=lambda: dict.fromkeys(SHELVES, Place()))


def train(
    text: Path,
    folder: Path,
    recipe: Recipe,
    deadline: float,
    report: Callable[[Progress], None],
    stopped: Callable[[], bool] = lambda: False,
) -> Run:
    """Train until ``deadline``, going on from the newest checkpoint in ``folder``; leave a last checkpoint.

    Args:
        text: what `scripts.base.prepare.prepare` left.
        folder: for checkpoints and ``history.jsonl``.
        recipe: the numbers.
        deadline: seconds since the epoch at which the learning rate reaches its floor.
        report: called every few steps.
        stopped: asked before each step; once true, the training ends early, in order.
    """
    run = start(folder, recipe)
    forget_lines_after(folder / HISTORY, run.step)
    saved, shelf = time.time(), None
    for line in _steps(run, text, deadline, stopped):
        if shelf == SHELVES[0] and line.shelf == SHELVES[1]:
            checkpoint.save(folder / LEVEL, run.step, state_of(run))
        shelf = line.shelf
        if run.step % REPORT_STEPS == 0:
            append_line(folder / HISTORY, line)
            report(line)
        if time.time() - saved > CHECKPOINT_SECONDS:
            checkpoint.save(folder / CHECKPOINTS, run.step, state_of(run))
            saved = time.time()
    checkpoint.save(folder / CHECKPOINTS, run.step, state_of(run))
    return run


def start(folder: Path, recipe: Recipe) -> Run:
    """Return a new run, or the one that the newest checkpoint holds.

    Raises:
        TrainingError: the checkpoint's model has another shape.
    """
    torch.manual_seed(recipe.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = LlamaForCausalLM(llama_config(recipe)).train()
    model.to(device)
    run = Run(recipe, model, make_optimizers(model, recipe))
    state = checkpoint.load_latest(folder / CHECKPOINTS)
    if state is not None:
        made = {name: state["recipe"][name] for name in SHAPE}
        if made != {name: getattr(recipe, name) for name in SHAPE}:
            raise TrainingError(
                f"{folder} holds a model of another shape ({made}); take another folder, or delete this one"
            )
        _restore(run, state)
    return run


def go_back_to_level(folder: Path) -> None:
    """Make the state before the learning rate fell the newest checkpoint.

    Raises:
        TrainingError: there is no such state yet.
    """
    found = checkpoint.newest(folder / LEVEL)
    if found is None:
        raise TrainingError(
            f"{folder} holds no {LEVEL}/ checkpoint: its learning rate has not begun to fall; leave out --extend"
        )
    for later in checkpoint.checkpoints(folder / CHECKPOINTS):
        later.unlink()
    found.rename(folder / CHECKPOINTS / found.name)


def llama_config(recipe: Recipe) -> LlamaConfig:
    """Return the architecture; end-of-text is token 0, the stop token 2."""
    return LlamaConfig(
        vocab_size=recipe.vocabulary,
        hidden_size=recipe.width,
        intermediate_size=recipe.feed_forward,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=recipe.context,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=2,
        pad_token_id=0,
    )


def make_optimizers(model: torch.nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Return Muon for the matrices inside the layers, AdamW for the rest."""
    named = list(model.named_parameters())
    matrices = [weight for name, weight in named if weight.ndim == 2 and ".layers." in name]
    others = [weight for name, weight in named if weight.ndim != 2 or ".layers." not in name]
    return [
        torch.optim.Muon(matrices, lr=recipe.matrix_rate, weight_decay=recipe.weight_decay, adjust_lr_fn="original"),
        torch.optim.AdamW(others, lr=recipe.other_rate, betas=(0.9, 0.95), weight_decay=0.0, fused=True),
    ]


def state_of(run: Run) -> dict[str, Any]:
    """Return all that `start` needs to go on."""
    return {
        "recipe": asdict(run.recipe),
        "model": run.model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in run.optimizers],
        "rng": torch.get_rng_state(),
        "counters": {"step": run.step, "tokens": run.tokens, "spent": run.spent},
        "places": {name: asdict(place) for name, place in run.places.items()},
    }


def _restore(run: Run, state: dict[str, Any]) -> None:
    run.model.load_state_dict(state["model"])
    for optimizer, saved in zip(run.optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    torch.set_rng_state(state["rng"])
    run.step, run.tokens, run.spent = (state["counters"][name] for name in ("step", "tokens", "spent"))
    run.places = {name: Place(**place) for name, place in state["places"].items()}


def _steps(run: Run, text: Path, deadline: float, stopped: Callable[[], bool]) -> Iterator[Progress]:
    """Take steps until the deadline; yield after each, with means since the last line of the log."""
    began, before = time.time(), run.spent
    rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in make_optimizers(run.model, run.recipe)]
    losses: list[float] = []
    since = began
    while (now := time.time()) < deadline and not stopped():
        run.spent = before + now - began
        share = progress(run.spent, deadline - now)
        shelf = SHELVES[share >= run.recipe.settle]
        factor = rate_factor(run.step, share, run.recipe)
        _set_rates(run.optimizers, rates, factor)
        losses.append(train_step(run, text / f"{shelf}.npz", shelf))
        speed = len(losses) * step_tokens(run.recipe) / (time.time() - since)
        yield Progress(run.step, run.tokens, run.spent, share, shelf, sum(losses) / len(losses), speed, factor)
        if run.step % REPORT_STEPS == 0:
            losses, since = [], time.time()


def _set_rates(optimizers: list[torch.optim.Optimizer], rates: list[list[float]], factor: float) -> None:
    for optimizer, own in zip(optimizers, rates, strict=True):
        for group, rate in zip(optimizer.param_groups, own, strict=True):
            group["lr"] = rate * factor


def step_tokens(recipe: Recipe) -> int:
    """Return the tokens of one optimizer step."""
    return recipe.block * recipe.micro * recipe.accumulate


def train_step(run: Run, path: Path, shelf: str) -> float:
    """Take one optimizer step on the next tokens of a shelf; return the loss, nats per token."""
    recipe = run.recipe
    ids, run.places[shelf] = take(path, run.places[shelf], step_tokens(recipe), recipe.seed)
    blocks = torch.from_numpy(ids.astype("int64")).view(recipe.accumulate, recipe.micro, recipe.block)
    total = sum(_backward(run.model, micro, recipe.accumulate) for micro in blocks)
    torch.nn.utils.clip_grad_norm_(run.model.parameters(), 1.0)
    for optimizer in run.optimizers:
        optimizer.step()
        optimizer.zero_grad()
    run.step += 1
    run.tokens += step_tokens(recipe)
    return total


def _backward(model: LlamaForCausalLM, blocks_BT: Tensor, parts: int) -> float:
    blocks_BT = blocks_BT.to(model.device)
    loss = model(input_ids=blocks_BT, labels=blocks_BT, use_cache=False).loss / parts
    loss.backward()
    return float(loss.item())

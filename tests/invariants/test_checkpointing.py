"""Gradient checkpointing and the layout of attention change time and memory, and not one number."""

from pathlib import Path

import pytest
import torch

from loramill.config import Base
from loramill.pack import rows as layout
from loramill.pack.base import load_base
from loramill.pack.forward import Draw, decoder_layers, token_losses
from loramill.pack.members import Pack
from loramill.pack.methods import Shape
from loramill.pack.rows import Batch, pack_rows
from tests.factories import rows

Numbers = tuple[torch.Tensor, dict[str, torch.Tensor]]


def company(folder: Path, dtype: str = "float32") -> tuple[Pack, list[Batch], dict[str, Draw]]:
    """Three members of unequal rank, dropout and layers, and rows that nobody learns from."""
    base = load_base(Base(source=str(folder), device="cpu", dtype=dtype), folder.parent)  # type: ignore[arg-type]
    pack = Pack(base)
    shapes = {
        "a": Shape(4, 8, 0.3, seed=1),
        "b": Shape(2, 8, 0.1, ("q_proj", "down_proj"), seed=2),
        "c": Shape(8, 8, 0.2, seed=3, method="dora"),
    }
    some = rows(base, 12)
    for number, (name, shape) in enumerate(shapes.items()):
        pack.add(name, shape)
        chance = torch.Generator().manual_seed(number)
        weights = pack.weights(name)
        drawn = {key: torch.randn(value.shape, generator=chance).abs() * 0.1 for key, value in weights.items()}
        pack.set_weights(name, drawn)
    batches = [Batch(name, some[3 * place : 3 * place + 3], place) for place, name in enumerate(shapes)]
    return pack, [*batches, Batch(None, some[9:])], {name: Draw(seed, 5) for seed, name in enumerate(shapes)}


def numbers(pack: Pack, batches: list[Batch], draws: dict[str, Draw], *, checkpointing: bool = False) -> Numbers:
    """Return every target's loss and every weight's gradient."""
    weights = {key: weight for name in pack.names for key, weight in pack.parameters(name).items()}
    losses = token_losses(pack.base.model, pack_rows(batches, pack.base.device), draws, checkpointing=checkpointing)
    gradients = torch.autograd.grad(losses.square().sum(), list(weights.values()))
    return losses.detach(), dict(zip(weights, gradients, strict=True))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_checkpointing_changes_no_bit(tiny_folder: Path, dtype: str) -> None:
    pack, batches, draws = company(tiny_folder, dtype)
    plain, plain_gradients = numbers(pack, batches, draws)
    again, gradients = numbers(pack, batches, draws, checkpointing=True)
    assert torch.equal(plain, again)
    assert all(torch.equal(plain_gradients[key], gradients[key]) for key in plain_gradients)
    assert all(gradient.abs().max() > 0 for gradient in gradients.values())


def test_a_layer_is_computed_again_with_its_members_and_its_dropout(tiny_folder: Path) -> None:
    """The second run, after the pass is over, takes the packed route; nothing of it stays behind."""
    pack, batches, draws = company(tiny_folder)
    layers = decoder_layers(pack.base.model)
    assert len(layers) == pack.base.model.config.num_hidden_layers
    runs: list[int] = []
    handle = layers[0].self_attn.q_proj.base_layer.register_forward_hook(lambda *_: runs.append(1))  # type: ignore[union-attr, operator]
    numbers(pack, batches, draws, checkpointing=True)
    assert len(runs) == 2
    with torch.no_grad():
        token_losses(pack.base.model, pack_rows(batches, pack.base.device), draws, checkpointing=True)
    assert len(runs) == 3
    handle.remove()  # type: ignore[union-attr]
    assert not [module for module in pack.base.model.modules() if "forward" in vars(module)]
    assert pack.base.model.config._attn_implementation != "loramill_rows"


def test_checkpointing_keeps_less_for_the_backward_pass(tiny_folder: Path) -> None:
    pack, batches, draws = company(tiny_folder)
    packed = pack_rows(batches, pack.base.device)
    kept: dict[bool, int] = {}
    for checkpointing in (False, True):
        seen: dict[int, int] = {}

        def note(tensor: torch.Tensor, seen: dict[int, int] = seen) -> torch.Tensor:
            seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            losses = token_losses(pack.base.model, packed, draws, checkpointing=checkpointing)  # noqa: F841 - keeps the graph
        kept[checkpointing] = sum(seen.values())
    assert kept[True] < kept[False] / 3


@pytest.mark.parametrize("full", [0.0, 0.5, 1.0])
def test_rows_may_share_grids_of_attention_in_any_way(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, full: float
) -> None:
    """One grid for all rows, a few, or one for each length: the same losses and gradients."""
    pack, batches, draws = company(tiny_folder)
    losses, gradients = numbers(pack, batches, draws)
    monkeypatch.setattr(layout, "FULL", full)
    other, other_gradients = numbers(pack, batches, draws)
    assert torch.allclose(losses, other, atol=1e-5)
    assert all(torch.allclose(gradients[key], other_gradients[key], atol=1e-4) for key in gradients)

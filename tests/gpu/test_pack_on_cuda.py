"""On CUDA the pack keeps its word: a member in company is the member alone, and losses are the model's own."""

from pathlib import Path
from typing import Any

import pytest
import torch

from loramill.config import Base
from loramill.pack.base import load_base
from loramill.pack.members import Pack
from loramill.pack.methods import Shape
from loramill.pack.rows import Batch
from loramill.prompts import Row
from loramill.training.loop import Outcome, fit
from tests.factories import course, rows

PLENTY = 10**6


def on_cuda(folder: Path, dtype: Any = "bfloat16", *, four_bit: bool = False) -> Pack:
    return Pack(load_base(Base(source=str(folder), device="cuda", dtype=dtype, four_bit=four_bit), folder.parent))


def learnt(outcome: Outcome) -> float:
    """By how many nats per token the training loss fell."""
    losses = outcome.progress.train_losses
    return losses[0] - losses[-1]


@pytest.mark.parametrize(("dtype", "gap"), [("float32", 2e-3), ("bfloat16", 0.02)])
def test_a_member_in_a_pack_is_the_member_alone(tiny_folder: Path, dtype: str, gap: float) -> None:
    """In bfloat16 products round otherwise in other company; the gap stays far below what is learnt."""
    pack = on_cuda(tiny_folder, dtype)
    some = rows(pack.base, 19)
    courses = [
        course("a", some, epochs=12),
        course("b", some[::-1], shape=Shape(8, 8, 0.2, seed=2), learning_rate=2e-3, seed=2, epochs=12),
        course("c", some, shape=Shape(2, 8, 0.0, ("q_proj", "v_proj"), seed=3), learning_rate=1e-2, batch=5, epochs=20),
    ]
    together = fit(pack, courses, tokens_per_pass=PLENTY)
    for one in courses:
        alone = fit(pack, [one], tokens_per_pass=PLENTY)[one.name]
        assert learnt(alone) > 5 * gap
        assert together[one.name].progress.train_losses == pytest.approx(alone.progress.train_losses, abs=gap)
        assert together[one.name].progress.validation_losses == pytest.approx(alone.progress.validation_losses, abs=gap)
        if dtype == "float32":
            for key, weight in alone.best.items():
                assert torch.allclose(together[one.name].best[key], weight, atol=gap), (one.name, key)


@pytest.mark.parametrize(("dtype", "mean", "most"), [("float32", 1e-5, 1e-3), ("bfloat16", 0.02, 0.3)])
def test_target_losses_are_the_models_own(tiny_folder: Path, dtype: str, mean: float, most: float) -> None:
    """Row by row through the model itself: with a member that changes what the base says, and without one."""
    pack = on_cuda(tiny_folder, dtype)
    pack.add("a", Shape(4, 8))
    chance = torch.Generator().manual_seed(9)
    drawn = {key: torch.randn(value.shape, generator=chance) * 0.1 for key, value in pack.weights("a").items()}
    pack.set_weights("a", drawn)
    some = rows(pack.base, 6)
    with torch.no_grad():
        packed = dict(zip(("a", None), pack.losses([Batch("a", some), Batch(None, some)]), strict=True))
    assert not torch.allclose(packed["a"], packed[None], atol=most)
    for name, losses in packed.items():
        gaps = (losses - own_losses(pack, name, some)).abs()
        assert gaps.mean().item() < mean
        assert gaps.max().item() < most


def own_losses(pack: Pack, name: str | None, some: list[Row]) -> torch.Tensor:
    found = []
    with pack.speaking(name) as model, torch.no_grad():
        for row in some:
            ids = torch.tensor([row.ids], device="cuda")
            asked = model(input_ids=ids, use_cache=False).logits[0, row.prompt_length - 1 : -1].float()
            found.append(torch.nn.functional.cross_entropy(asked, ids[0, row.prompt_length :], reduction="none"))
    return torch.cat(found)


@pytest.mark.filterwarnings("ignore")  # bitsandbytes warns while it is imported
def test_four_bit_weights_carry_an_adapter_that_learns(tiny_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    pack = on_cuda(tiny_folder, four_bit=True)
    assert any(weight.dtype == torch.uint8 for weight in pack.base.model.parameters()), "nothing is held in 4 bits"
    some = rows(pack.base, 19)
    shapes = {"a": Shape(4, 8, 0.1, seed=1, method="qlora"), "b": Shape(8, 8, seed=2, method="qlora")}
    outcomes = fit(
        pack, [course(name, some, shape=shape, epochs=12) for name, shape in shapes.items()], tokens_per_pass=PLENTY
    )
    for name, outcome in outcomes.items():
        assert outcome.progress.status == "finished"
        assert learnt(outcome) > 0.1, name
    pack.add("a", shapes["a"])
    pack.set_weights("a", outcomes["a"].best)
    pack.save("a", tmp_path / "adapter")
    assert (tmp_path / "adapter/adapter_model.safetensors").is_file()

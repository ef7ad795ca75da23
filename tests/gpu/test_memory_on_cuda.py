"""Memory on CUDA: the plan is what the allocator saw, and real exhaustion halves the pass with the same loss."""

import gc

import pytest
import torch

from benchmarks.memory import Point, compared, measure
from loramill.pack.base import LoadedBase
from loramill.pack.members import Pack
from loramill.pack.methods import Shape
from loramill.pack.plan import MemoryPlan
from loramill.prompts import Row
from loramill.training import loop
from loramill.training.course import Course
from loramill.training.loop import Silence, fit

PLENTY = 10**6
NEEDED = 12 * 2**30


@pytest.fixture(autouse=True)
def _room() -> None:
    gc.collect()
    torch.cuda.empty_cache()
    if torch.cuda.mem_get_info()[0] < NEEDED:
        pytest.skip("needs 12 GiB of free GPU memory")


@pytest.mark.parametrize("members", [1, 8])
@pytest.mark.parametrize("tokens", [1024, 16384])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_plan_is_within_15_percent_of_the_peak(members: int, tokens: int, checkpointing: bool) -> None:
    point = Point("qwen3-0.6b", members, tokens, checkpointing)
    found = compared(point, "cuda", measure(point, "cuda"))
    assert abs(found["error"]) < 0.15, found


class Notes(Silence):
    def __init__(self) -> None:
        self.said: list[str] = []

    def on_note(self, text: str) -> None:
        self.said.append(text)


def wide() -> Pack:
    """A base in float32 whose activations, not its weights, fill the card."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=6400, hidden_size=1024, intermediate_size=2816, num_hidden_layers=8, num_attention_heads=16
    )
    model = LlamaForCausalLM(config)
    model.requires_grad_(False)
    model.to("cuda")  # type: ignore[arg-type]
    return Pack(LoadedBase(model.eval(), None, "wide", "random", {}))


def test_running_out_of_memory_halves_the_pass_with_the_same_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    pack = wide()
    rows = [Row(f"r{n}", tuple((7 * n + t) % 900 for t in range(400 + n)), 100) for n in range(9)]
    one = Course("a", Shape(8, 16, seed=1), tuple(rows[:8]), tuple(rows[8:]), 1e-3, 2, 8, seed=1)
    monkeypatch.setattr(loop, "plan_training", lambda *_: MemoryPlan(PLENTY, 1, checkpointing=False))
    torch.cuda.reset_peak_memory_stats()
    plain = fit(pack, [one], tokens_per_pass=PLENTY)["a"]
    peak, held = torch.cuda.max_memory_allocated(), torch.cuda.memory_allocated()
    notes = Notes()
    torch.cuda.empty_cache()
    whole = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((held + 0.8 * (peak - held)) / whole)
    try:
        halved = fit(pack, [one], tokens_per_pass=PLENTY, listener=notes)["a"]
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    said = [note for note in notes.said if note.startswith("out of memory")]
    assert said
    assert said[0].endswith("the loss stays the same")
    assert halved.progress.train_losses == pytest.approx(plain.progress.train_losses, abs=1e-3)
    assert halved.progress.validation_losses == pytest.approx(plain.progress.validation_losses, abs=1e-3)

"""What each process of `test_processes` runs: ``python -m tests.integration.worker <base> <out> <mode>...``."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.distributed.tensor import DTensor

from loramill.pack.forward import Draw
from loramill.pack.members import Pack
from loramill.pack.methods import Shape
from loramill.pack.rows import Batch
from loramill.training.course import Course
from loramill.training.loop import Outcome, Silence, fit
from loramill.training.processes import join, leave, rank
from tests.factories import rows, tiny_base


class Changing(Silence):
    """Prunes one member after its first epoch and lets another into its place."""

    def __init__(self, following: Course) -> None:
        self._following = following

    def on_epoch(self, name: str, epoch: int, validation_loss: float) -> bool:
        return name == "pruned" and epoch == 1

    def on_end(self, outcome: Outcome) -> list[Course]:
        return [self._following] if outcome.course.name == "pruned" else []


def train(pack: Pack, *, is_main: bool = True) -> dict[str, Outcome]:
    """Train members with different batches; towards the end one row per step is left. Only the main process knows them."""
    some = tuple(rows(pack.base, 14))

    def course(name: str, batch: int, epochs: int, seed: int) -> Course:
        shape = Shape(rank=2 * seed, alpha=8, dropout=0.1, seed=seed)
        return Course(name, shape, some[:10], some[10:], 5e-3, epochs, batch, seed, patience=100)

    courses = [course("three", 3, 3, 1), course("one", 1, 1, 2), course("pruned", 4, 5, 3)]
    listener = Changing(course("later", 2, 1, 4))
    return fit(pack, courses if is_main else (), tokens_per_pass=200, listener=listener if is_main else None)


def main(base: Path, out: Path, modes: Sequence[str]) -> None:
    join()
    for mode in modes:
        if mode == "memory" and rank() == 1:
            _run_out_of_memory_once()
        _leave(train_on(base), out / mode)
    leave()


def _leave(trained: tuple[Pack, dict[str, Outcome]], out: Path) -> None:
    """Write what this process ended with."""
    pack, outcomes = trained
    out.mkdir(exist_ok=True)
    for name, outcome in outcomes.items():
        save_file(dict(outcome.best), str(out / f"{name}.{rank()}.safetensors"))
        (out / f"{name}.{rank()}.json").write_text(json.dumps(vars(outcome.progress)), encoding="utf-8")
    (out / f"held.{rank()}.txt").write_text(str(_held(pack)), encoding="utf-8")


def train_on(base: Path) -> tuple[Pack, dict[str, Outcome]]:
    pack = Pack(tiny_base(base))
    return pack, train(pack, is_main=rank() == 0)


def _held(pack: Pack) -> float:
    """Return the share of the decoder layers' weights that lies in this process."""
    weights = [weight for key, weight in pack.base.model.named_parameters() if ".layers." in key]
    here = [weight.to_local() if isinstance(weight, DTensor) else weight for weight in weights]
    return sum(weight.numel() for weight in here) / sum(weight.numel() for weight in weights)


def _run_out_of_memory_once() -> None:
    plain, passes = Pack.losses, iter(range(1000))

    def losses(self: Pack, batches: Sequence[Batch], draws: Mapping[str, Draw] | None = None) -> list[Tensor]:
        if next(passes) in (0, 9):
            raise torch.OutOfMemoryError
        return plain(self, batches, draws)

    Pack.losses = losses  # type: ignore[method-assign]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])

"""One member while it is being trained: its optimizer, its progress, its best weights so far."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from loramill.pack.members import Pack
from loramill.pack.methods import BEGIN_AT_ZERO
from loramill.training.course import Course

Status = Literal["training", "paused", "finished", "stopped early", "pruned", "diverged"]


@dataclass
class Progress:
    """What a checkpoint keeps of a member besides its tensors."""

    step: int = 0
    status: Status = "training"
    best_epoch: int = 0
    best_loss: float = float("inf")
    train_losses: list[float] = field(default_factory=list)
    """Per step, nats per target token."""
    rates: list[float] = field(default_factory=list)
    """Learning rate per step."""
    validation_losses: list[float] = field(default_factory=list)
    """Before the first step, then after each epoch, or at each of the course's own checks."""
    norms: list[float] = field(default_factory=list)
    """Per step, the norm of the gradient before it was clipped."""


class Student:
    """A course being followed."""

    def __init__(self, pack: Pack, course: Course) -> None:
        self.course = course
        self.pack = pack
        self.progress = Progress()
        pack.add(course.name, course.shape, course.train, course.steps)
        if course.start is not None:
            pack.set_weights(course.name, course.start)
        named = pack.parameters(course.name)
        self.parameters = list(named.values())
        rates = {key: course.shape.rate_of(key) for key in named}
        groups = [
            {"params": [weight for key, weight in named.items() if rates[key] == times], "times": times}
            for times in sorted(set(rates.values()))
        ]
        self.optimizer = torch.optim.AdamW(
            groups, lr=course.learning_rate, weight_decay=course.weight_decay, foreach=True
        )
        self.best = pack.weights(course.name)

    @property
    def name(self) -> str:
        """The member's name in the pack."""
        return self.course.name

    @property
    def is_training(self) -> bool:
        """Whether there are steps left to take."""
        return self.progress.status == "training"

    @property
    def adds_nothing(self) -> bool:
        """Whether it is still, exactly, the base: fresh, and of a method that begins with a product of zero."""
        return self.progress.step == 0 and self.course.start is None and self.course.shape.method in BEGIN_AT_ZERO

    @property
    def epoch(self) -> int:
        """Epochs behind it; of a course with validations of its own, these."""
        return self.course.checks_by(self.progress.step)

    @property
    def ends_epoch(self) -> bool:
        """Whether a validation is due after the step just taken."""
        return self.epoch > self.course.checks_by(self.progress.step - 1)

    def step(self, loss: float) -> None:
        """Take one optimizer step with the gradients at hand; a loss or gradient that is not finite ends the course."""
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.course.clip, foreach=True)
        if not (torch.isfinite(norm) and torch.isfinite(torch.tensor(loss))):
            self.progress.status = "diverged"
        else:
            rate = self.course.rate(self.progress.step)
            for group in self.optimizer.param_groups:
                group["lr"] = rate * group["times"]
            self.optimizer.step()
            self.progress.rates.append(rate)
            self.progress.train_losses.append(loss)
            self.progress.norms.append(float(norm))
            self.progress.step += 1
            self.pack.after_step(self.name, self.progress.step)
        self.optimizer.zero_grad(set_to_none=True)

    def judge(self, validation_loss: float) -> None:
        """Note a validation loss; keep the weights if they are the best, stop when patience or epochs are used up."""
        progress = self.progress
        progress.validation_losses.append(validation_loss)
        if validation_loss < progress.best_loss:
            progress.best_loss, progress.best_epoch = validation_loss, self.epoch
            self.best = self.pack.weights(self.name)
        if progress.step >= self.course.steps:
            progress.status = "finished"
        elif self.epoch == self.course.until:
            progress.status = "paused"
        elif self.epoch - progress.best_epoch >= self.course.patience:
            progress.status = "stopped early"

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors that a checkpoint needs."""
        state = {f"weight/{key}": value for key, value in self.pack.weights(self.name).items()}
        state |= {f"best/{key}": value for key, value in self.best.items()}
        for index, parameter in enumerate(self.parameters):
            for key, value in self.optimizer.state.get(parameter, {}).items():
                state[f"adam/{index}/{key}"] = value.detach().cpu().clone()
        return state

    def restore(self, progress: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """Continue from what `tensors` and `facts` gave."""
        self.progress = Progress(**progress)
        if self.progress.status == "paused" and self.epoch != self.course.until:
            self.progress.status = "training"
        self.best = _under(tensors, "best/")
        self.pack.set_weights(self.name, _under(tensors, "weight/"))
        for index, parameter in enumerate(self.parameters):
            state = _under(tensors, f"adam/{index}/")
            if state:
                self.optimizer.state[parameter] = {
                    key: value.to(parameter.device) if key != "step" else value for key, value in state.items()
                }

    def facts(self) -> dict[str, Any]:
        """Return the progress as plain values."""
        return asdict(self.progress)


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}

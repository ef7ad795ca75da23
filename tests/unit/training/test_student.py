"""One optimizer step: the member's own rate, decay, clip and doubt."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from loramill.pack.members import Pack
from loramill.pack.methods import Shape
from loramill.training.course import Course
from loramill.training.student import Student
from tests.factories import rows

HELD = list[torch.Tensor]


@pytest.fixture
def join(pack: Pack) -> Iterator[Any]:
    """Let members join; they are taken off when the test is over."""
    some = rows(pack.base, 6)

    def make(name: str = "a", **changes: Any) -> Student:
        facts: dict[str, Any] = {"learning_rate": 1e-2, "epochs": 5, "batch": 2, "seed": 1, "warmup": 0.2} | changes
        shape = facts.pop("shape", Shape(2, 4, seed=1))
        return Student(pack, Course(name, shape, tuple(some[:4]), tuple(some[4:]), **facts))

    yield make
    for name in pack.names:
        pack.remove(name)


def held(student: Student) -> HELD:
    return [weight.detach().clone() for weight in student.parameters]


def step(student: Student, gradient: float) -> None:
    for weight in student.parameters:
        weight.grad = torch.full_like(weight, gradient)
    student.step(1.0)


def test_each_step_is_taken_at_the_courses_rate(join: Any) -> None:
    """Adam's first steps along a constant gradient are as long as the rate."""
    student = join()
    for number in range(4):
        before = held(student)
        step(student, 1e-3)
        moved = max((old - new).abs().max().item() for old, new in zip(before, held(student), strict=True))
        assert moved == pytest.approx(student.course.rate(number), rel=1e-2)


def test_lora_plus_moves_b_sixteen_times_as_far(join: Any) -> None:
    student = join(shape=Shape(2, 4, seed=1, method="lora-plus"))
    before = dict(zip(student.pack.parameters("a"), held(student), strict=True))
    step(student, 1e-3)
    rate = student.course.rate(0)
    for key, weight in student.pack.parameters("a").items():
        moved = (weight.detach() - before[key]).abs().max().item()
        assert moved == pytest.approx(rate * (16 if "lora_B" in key else 1), rel=1e-2)


def test_weights_decay_by_rate_times_decay(join: Any) -> None:
    student = join(weight_decay=0.5)
    before = held(student)
    step(student, 0.0)
    kept = 1 - student.course.rate(0) * 0.5
    assert all(torch.allclose(new, old * kept) for old, new in zip(before, held(student), strict=True))


def test_a_gradient_is_clipped_to_the_members_own_norm(join: Any) -> None:
    """Adam remembers a tenth of the first gradient; another member's large one does not count."""
    student, neighbour = join(clip=0.25), join("b")
    for weight in neighbour.parameters:
        weight.grad = torch.full_like(weight, 100.0)
    step(student, 3.0)
    remembered = torch.cat([student.optimizer.state[weight]["exp_avg"].flatten() for weight in student.parameters])
    assert remembered.norm().item() == pytest.approx(0.1 * 0.25, rel=1e-3)
    assert student.progress.norms[0] == pytest.approx(3.0 * len(remembered) ** 0.5, rel=1e-3)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_ends_the_course_before_it_does_harm(join: Any, bad: float) -> None:
    student = join()
    before = held(student)
    step(student, bad)
    assert (student.progress.status, student.progress.step) == ("diverged", 0)
    assert all(torch.equal(old, new) for old, new in zip(before, held(student), strict=True))
    assert all(weight.grad is None for weight in student.parameters)

"""Step ``retrain`` of a night: several domains on one base in one pack, each trained twice at once.

One member goes on from the champion with the new rows and some of the old, one begins from scratch with all rows. The one with
the lower loss on the validation rows becomes the challenger; the test rows judge that one alone, later.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from prefect import task
from prefect.cache_policies import NO_CACHE

from loramill.config import Plan, read_settings
from loramill.errors import AdapterError, LoramillError
from loramill.tracking import continue_diary, find
from tasks.progress import TrainingBar, say
from tasks.train import check_finite, note_training, still_here, stored_weights, training_facts, write_adapter

if TYPE_CHECKING:
    from loramill.pack.members import Pack
    from loramill.training.course import Course
    from loramill.training.loop import Outcome, Tick
    from tasks.lesson import Lesson

SCRATCH: Final = "scratch"
CONTINUED: Final = "continued"
NEVER: Final = float("inf")


@dataclass(frozen=True)
class Pupil:
    """One domain that is trained again, and where its files lie."""

    domain: str
    plan: Plan
    run_id: str
    """Its run in the diary."""
    splits: Path
    settings: Path
    out: Path
    report: Path
    until: float = NEVER
    """Moment (`time.monotonic`) after which it ends with its best so far."""


@dataclass(frozen=True)
class _Enrolled:
    """A pupil with all that decides its members."""

    pupil: Pupil
    lesson: "Lesson"
    facts: dict[str, Any]
    courses: "dict[str, Course]"
    """By kind of start."""
    champion: str | None
    """Digest of the adapter from which one of them goes on."""


@task(name="retrain", cache_policy=NO_CACHE)
def retrain(pupils: Sequence[Pupil], checkpoint: Path) -> dict[str, LoramillError]:
    """Train all pupils, which share a base, and leave each one's better adapter where `train` would leave it.

    A training that was killed continues from ``checkpoint`` and ends with the same adapters.

    Returns:
        By domain, what kept it from having an adapter; the others have theirs.

    Raises:
        BaseModelError: the base cannot be had.
        TrainingError: memory cannot suffice.
    """
    from tasks.lesson import open_pack

    pack = open_pack("retrain", pupils[0].plan.base, pupils[0].plan.learning)
    failed: dict[str, LoramillError] = {}
    enrolled = []
    for pupil in pupils:
        try:
            enrolled.append(_enrol(pupil, pack))
        except LoramillError as error:
            failed[pupil.domain] = error
    outcomes, speed = _trained(pack, enrolled, checkpoint)
    for each in enrolled:
        try:
            _leave_better(each, {kind: outcomes[course.name] for kind, course in each.courses.items()}, speed)
        except LoramillError as error:
            failed[each.pupil.domain] = error
    return failed


def _enrol(pupil: Pupil, pack: "Pack") -> _Enrolled:
    from loramill.training.course import course_of
    from tasks.lesson import open_lesson

    plan, chosen = pupil.plan, read_settings(pupil.settings)
    lesson = open_lesson("retrain", plan.base, plan.learning, pupil.splits, pack)
    course = course_of(
        chosen.over(plan.learning),
        chosen,
        lesson.train_rows,
        lesson.validation_rows,
        epochs=chosen.epochs or plan.train.epochs,
        patience=plan.train.patience,
        seed=plan.train.seed,
    )
    courses = {SCRATCH: replace(course, name=f"{pupil.domain}-{SCRATCH}")}
    facts = training_facts(plan.train, plan.learning, chosen, lesson)
    champion = None
    if plan.train.start_from != SCRATCH:
        continued, champion = _from_champion(pupil, lesson, course)
        courses |= {CONTINUED: continued} if continued is not None else {}
    rows = ", ".join(f"{len(each.train)} rows {kind}" for kind, each in courses.items())
    say("retrain", f"{pupil.domain}: {rows}, rank {course.shape.rank}, at most {course.epochs} epochs")
    return _Enrolled(pupil, lesson, facts, courses, champion)


def _from_champion(pupil: Pupil, lesson: "Lesson", course: "Course") -> "tuple[Course | None, str | None]":
    """Return the course that goes on from the champion, if there is one that may be gone on from."""
    from loramill.pack.manifest import read_manifest
    from loramill.pack.members import shape_facts
    from loramill.training.replay import with_replay

    version = find(pupil.domain, "champion")
    try:
        manifest = read_manifest(version.folder) if version is not None else None
    except AdapterError:
        manifest = None
    if version is None or manifest is None or manifest.base_digest != lesson.pack.base.digest:
        return None, None
    fresh = {record.id for record in lesson.train} - set(manifest.rows)
    if not fresh or manifest.shape != shape_facts(course.shape) or not still_here(manifest, lesson):
        return None, None
    rows = with_replay(lesson.train_rows, fresh, pupil.plan.nightly.replay)
    start = stored_weights(lesson, version.folder)
    return replace(course, name=f"{pupil.domain}-{CONTINUED}", train=tuple(rows), start=start), manifest.digest


def _trained(
    pack: "Pack", enrolled: Sequence[_Enrolled], checkpoint: Path
) -> "tuple[dict[str, Outcome], float | None]":
    """Train everybody's courses; return the outcomes and the speed in tokens per second, all members together."""
    from loramill.training.loop import fit

    courses = [course for each in enrolled for course in each.courses.values()]
    until = {course.name: each.pupil.until for each in enrolled for course in each.courses.values()}
    outcomes: dict[str, Outcome] = {}
    with TrainingBar("retrain", max((course.steps for course in courses), default=1)) as bar:
        for group in _together(courses):
            outcomes |= fit(
                pack,
                group,
                tokens_per_pass=min(each.pupil.plan.learning.tokens_per_pass for each in enrolled),
                listener=_Curfew(bar, until),
                checkpoint=checkpoint / (group[0].name if len(group) == 1 else "pack"),
                save_steps=min(each.pupil.plan.train.save_steps for each in enrolled),
            )
        return outcomes, round(median(bar.speeds), 1) if bar.speeds else None


def _together(courses: "Sequence[Course]") -> "list[list[Course]]":
    """Return the groups that can share a pack: some methods cannot share any."""
    from loramill.pack.alone import ALONE

    packed = [course for course in courses if course.shape.method not in ALONE]
    return [*([packed] if packed else []), *([course] for course in courses if course.shape.method in ALONE)]


class _Curfew:
    """Shows the bar, and ends a member whose time is up after the epoch that it is in."""

    def __init__(self, bar: TrainingBar, until: Mapping[str, float]) -> None:
        self._bar, self._until = bar, until

    def on_tick(self, tick: "Tick") -> None:
        """Move the bar."""
        self._bar.on_tick(tick)

    def on_epoch(self, name: str, epoch: int, validation_loss: float) -> bool:
        """Tell whether the time is up; one epoch everybody may learn."""
        self._bar.on_epoch(name, epoch, validation_loss)
        return epoch > 0 and time.monotonic() > self._until[name]

    def on_end(self, outcome: "Outcome") -> None:
        """Leave the place empty."""
        self._bar.on_end(outcome)

    def on_note(self, text: str) -> None:
        """Print it above the bar."""
        self._bar.on_note(text)


def _leave_better(each: _Enrolled, outcomes: "dict[str, Outcome]", speed: float | None) -> None:
    """Leave the adapter with the lower validation loss; if both are equal, the one without ancestors."""
    pupil = each.pupil
    kind = min(sorted(outcomes, reverse=True), key=lambda name: outcomes[name].progress.best_loss)
    chosen = outcomes[kind]
    check_finite(chosen)
    facts = each.facts | ({"replay": pupil.plan.nightly.replay} if kind == CONTINUED else {})
    with continue_diary(pupil.domain, pupil.run_id):
        origin = each.champion if kind == CONTINUED else None
        manifest = write_adapter(facts, each.lesson, chosen, origin, pupil.out)
        note_training(chosen, manifest, pupil.report, _seen(each, outcomes, kind, speed))
    losses = ", ".join(f"{name} {outcome.progress.best_loss:.3f}" for name, outcome in sorted(outcomes.items()))
    say("retrain", f"{pupil.domain}: {kind} is taken (validation loss: {losses})")


def _seen(each: _Enrolled, outcomes: "dict[str, Outcome]", kind: str, speed: float | None) -> dict[str, Any]:
    """Return what a person may want to know besides the curves of the one that was taken."""
    candidates = {
        name: {
            "rows": len(outcome.course.train),
            "status": outcome.progress.status,
            "epochs": len(outcome.progress.validation_losses) - 1,
            "validation_loss": outcome.progress.best_loss,
        }
        for name, outcome in outcomes.items()
    }
    is_cut = any(outcome.progress.status == "pruned" for outcome in outcomes.values())
    return {
        "tokens_per_second": speed,
        "device": each.lesson.pack.base.device.type,
        "warnings": _warnings(outcomes[kind]),
        "taken": kind,
        "candidates": candidates,
        "stopped_by_time": is_cut,
    }


def _warnings(outcome: "Outcome") -> list[dict[str, str]]:
    from loramill.training.watch import Curves, concerns

    progress, course = outcome.progress, outcome.course
    curves = Curves(
        train=progress.train_losses,
        validation=progress.validation_losses,
        steps_per_epoch=course.steps_per_epoch,
        steps=course.steps,
        learning_rate=course.learning_rate,
        is_fresh=course.start is None,
        norms=progress.norms,
    )
    return [{"kind": kind, "text": text} for kind, text in concerns(curves).items()]

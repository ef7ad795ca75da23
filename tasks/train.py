"""Step ``train``: splits and settings in, LoRA adapter out."""

import math
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from prefect import task
from prefect.cache_policies import NO_CACHE

from loramill.config import Base, LearningConfig, Settings, TrainConfig, read_settings
from loramill.errors import AdapterError, TrainingError
from loramill.reports import restore_folder, write_folder, write_json
from loramill.tracking import diary
from tasks.progress import say
from tasks.recipe import recipe_of
from tasks.stage import run_as_stage
from tasks.together import in_processes
from tasks.watching import Watch, watching

if TYPE_CHECKING:
    from loramill.pack.manifest import Manifest
    from loramill.training.course import Course
    from loramill.training.loop import Outcome
    from tasks.lesson import Lesson


@task(name="train", cache_policy=NO_CACHE)
@in_processes
def train(
    config: TrainConfig, learning: LearningConfig, base: Base, splits: Path, settings: Path, out: Path, report: Path
) -> Path:
    """Fine-tune the base on the training rows and leave the adapter with the lowest validation loss in ``out``.

    When ``out`` holds an adapter of the same shape on the same base that learnt other rows, training starts from it. A
    training that was killed continues from its checkpoint and ends with the same adapter.

    Raises:
        DataError: a row cannot be learnt as it is.
        TrainingError: the loss was never finite, or memory cannot suffice.
    """
    from loramill.training.course import course_of
    from loramill.training.loop import fit
    from tasks.lesson import open_lesson

    chosen = read_settings(settings)
    lesson = open_lesson("train", base, learning, splits)
    plan = course_of(
        chosen.over(learning),
        chosen,
        lesson.train_rows,
        lesson.validation_rows,
        epochs=chosen.epochs or config.epochs,
        patience=config.patience,
        seed=config.seed,
    )
    facts = training_facts(config, learning, chosen, lesson)
    course, origin = _start(config, plan, facts, lesson, out)
    if origin == DONE:
        return _keep(out, report)
    _say_plan(course, origin)
    with watching(config, lesson, course, out, report) as watch:
        outcome = fit(
            lesson.pack,
            [course],
            tokens_per_pass=learning.tokens_per_pass,
            listener=watch,
            checkpoint=out.parent / "work" / "train",
            save_steps=config.save_steps,
        )[course.name]
    check_finite(outcome)
    manifest = write_adapter(facts, lesson, outcome, origin, out)
    note_training(outcome, manifest, report, _seen(watch, lesson))
    progress = outcome.progress
    say(
        "train",
        f"{progress.status} after {progress.step} steps; validation loss {progress.validation_losses[0]:.3f} → "
        f"{progress.best_loss:.3f} (epoch {progress.best_epoch} kept)",
    )
    return out


def check_finite(outcome: "Outcome") -> None:
    """Refuse a training of which nothing can be kept.

    Raises:
        TrainingError: no validation loss was finite.
    """
    if not math.isfinite(outcome.progress.best_loss):
        raise TrainingError(
            f"the validation loss was never finite (it was {outcome.progress.validation_losses[-1]}): "
            "the base itself overflows; load it in another dtype (base: {source: …, dtype: float32}) or check its weights"
        )


def _keep(out: Path, report: Path) -> Path:
    from loramill.pack.manifest import read_manifest

    manifest = read_manifest(out)
    say("train", "kept the adapter: it was trained on exactly these rows and settings")
    diary().note({"adapter": manifest.digest, "base": manifest.base, "base_digest": manifest.base_digest})
    if not report.is_file():
        facts = {"validation_loss": manifest.validation_loss, "adapter": manifest.digest}
        write_json(report, {"status": "kept", "started_from": manifest.started_from, **facts})
    return out


DONE: Final = "done"
"""Marks an adapter that needs no training any more."""
WATCHING: Final = {"probes", "probe_steps", "tensorboard"}
"""Knobs that only show: the adapter is the same whatever they say."""


def _start(
    config: TrainConfig, course: "Course", facts: dict[str, Any], lesson: "Lesson", out: Path
) -> tuple["Course", str | None]:
    """Return the course with its first weights, and the digest of the adapter they came from (or `DONE`).

    Raises:
        AdapterError: ``start_from`` names a folder that is no adapter for this base, or that learnt rows which are gone.
    """
    from dataclasses import replace

    from loramill.pack.manifest import read_manifest

    if config.start_from == "scratch":
        return course, None
    restore_folder(out)
    named = config.start_from != "last"
    folder = Path(config.start_from) if named else out
    try:
        manifest = read_manifest(folder)
    except AdapterError:
        if named:
            raise
        return course, None
    if named:
        _check_start(folder, manifest, lesson)
        return replace(course, start=stored_weights(lesson, folder)), manifest.digest
    if same_training(manifest, facts) and manifest.base_digest == lesson.pack.base.digest:
        if manifest.rows_digest == rows_digest_of(lesson):
            return course, DONE
        if not still_here(manifest, lesson):
            say("train", "from scratch: the last adapter learnt rows that are gone, and would carry them on")
            return course, None
        return replace(course, start=stored_weights(lesson, folder)), manifest.digest
    return course, None


def _check_start(folder: Path, manifest: "Manifest", lesson: "Lesson") -> None:
    """Refuse a named start that learnt what the data no longer holds: a row that was to be forgotten would live on in it.

    Raises:
        AdapterError: with the folder and such a row.
    """
    if not still_here(manifest, lesson):
        gone = sorted(set(manifest.rows) - {record.id for record in lesson.train})
        raise AdapterError(
            f"train.start_from: {str(folder)!r} learnt row {gone[0]} ({len(gone)} such rows), which is not among the training "
            "rows and would be carried on; put it back, or set train.start_from: scratch"
        )


def same_training(manifest: "Manifest", facts: dict[str, Any]) -> bool:
    """Tell whether an adapter was trained with these settings; what else its passport says of its training may differ."""
    return facts.items() <= manifest.training.items()


def still_here(manifest: "Manifest", lesson: "Lesson") -> bool:
    """Tell whether all that an adapter learnt is still in the training rows: only then may another one start from it.

    So no adapter knows a row through its ancestors that was taken out of the data, or changed.
    """
    return set(manifest.rows) <= {record.id for record in lesson.train}


def stored_weights(lesson: "Lesson", folder: Path) -> Any:
    """Return the weights of a stored adapter, by PEFT's names.

    Raises:
        AdapterError: it is none, was changed, or belongs to another base.
    """
    lesson.pack.load("start", folder)
    weights = lesson.pack.weights("start")
    lesson.pack.remove("start")
    return weights


def _say_plan(course: "Course", origin: str | None) -> None:
    tokens = sum(len(row.ids) for row in course.train)
    targets = sum(row.targets for row in course.train)
    start = f"from adapter {origin[:12]}" if origin else "from scratch"
    say(
        "train",
        f"plan: {len(course.train)} rows, {tokens:,} tokens ({targets:,} learnt), {course.steps_per_epoch} steps x "
        f"{course.epochs} epochs, rank {course.shape.rank}, {start}",
    )


def training_facts(
    config: TrainConfig, learning: LearningConfig, settings: Settings, lesson: "Lesson"
) -> dict[str, Any]:
    """Return what decides the adapter besides its rows and its start."""
    from loramill.prompts import template_digest

    base = lesson.pack.base
    sections = {"train": config, "learning": learning, "settings": settings}
    facts = {name: section.model_dump(mode="json", exclude=WATCHING) for name, section in sections.items()}
    return facts | {"template": template_digest(base.tokenizer, base.template)}


def rows_digest_of(lesson: "Lesson") -> str:
    """Return a sha256 over the ids of training and validation rows."""
    import hashlib

    ids = [sorted(record.id for record in part) for part in (lesson.train, lesson.validation)]
    return hashlib.sha256(str(ids).encode()).hexdigest()


def write_adapter(
    facts: dict[str, Any], lesson: "Lesson", outcome: "Outcome", origin: str | None, out: Path
) -> "Manifest":
    """Put the best weights of a training into the place of ``out``, with their passport."""
    from loramill.pack.manifest import Manifest, adapter_digest, library_versions, tokenizer_digest, write_manifest
    from loramill.pack.members import shape_facts
    from loramill.prompts import template_digest

    pack, course = lesson.pack, outcome.course
    made: list[Manifest] = []

    def fill(folder: Path) -> None:
        pack.add(course.name, course.shape, steps=course.steps)
        pack.set_weights(course.name, outcome.best)
        pack.save(course.name, folder)
        pack.remove(course.name)
        manifest = Manifest(
            digest=adapter_digest(folder),
            domain=diary().domain,
            base=pack.base.name,
            base_digest=pack.base.digest,
            template_digest=template_digest(pack.base.tokenizer, pack.base.template),
            shape=shape_facts(course.shape),
            training=facts,
            rows_digest=rows_digest_of(lesson),
            rows=sorted(record.id for record in lesson.train),
            started_from=origin,
            validation_loss=outcome.progress.best_loss,
            libraries=library_versions(),
            tokenizer_digest=tokenizer_digest(pack.base.tokenizer),
            recipe=recipe_of(lesson, outcome),
        )
        made.append(manifest)
        write_manifest(folder, manifest)

    write_folder(out, fill)
    return made[0]


def _seen(watch: Watch, lesson: "Lesson") -> dict[str, Any]:
    """Return what the watch has to tell besides the curves."""
    speed = round(median(watch.speeds), 1) if watch.speeds else None
    warnings = [{"kind": kind, "text": text} for kind, text in watch.warnings.items()]
    device = lesson.pack.base.device.type
    return {"tokens_per_second": speed, "device": device, "warnings": warnings, "stopped_by_time": watch.is_cut}


def note_training(outcome: "Outcome", manifest: "Manifest", report: Path, seen: dict[str, Any]) -> None:
    """Leave report and picture, and log them; ``seen`` joins the report."""
    from tasks.pictures import loss_curve

    progress = outcome.progress
    content = {
        "status": progress.status,
        "steps": progress.step,
        "best_epoch": progress.best_epoch,
        "validation_loss": progress.best_loss,
        "validation_loss_before": progress.validation_losses[0],
        "adapter": manifest.digest,
        "started_from": manifest.started_from,
        "curves": {"train": progress.train_losses, "validation": progress.validation_losses},
        **seen,
    }
    write_json(report, content)
    picture = loss_curve(
        report.with_name("train.png"),
        f"{manifest.domain}: training",
        progress.train_losses,
        progress.validation_losses,
        outcome.course.steps_per_epoch,
    )
    log = diary()
    log.settings({"training": manifest.training})
    log.note({"adapter": manifest.digest, "base": manifest.base, "base_digest": manifest.base_digest})
    log.metrics({"best_validation_loss": progress.best_loss})
    log.file(picture, "pictures")
    log.file(report, "reports")


if __name__ == "__main__":
    run_as_stage(train)

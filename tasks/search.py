"""Step ``search``: train and validation rows in; the best rank, alpha and learning rate out."""

import hashlib
import json
from pathlib import Path
from typing import Any

import yaml
from prefect import task
from prefect.cache_policies import NO_CACHE

from loramill.config import Base, LearningConfig, SearchConfig, Settings, read_yaml
from loramill.reports import read_json, write_json, write_text
from loramill.tracking import diary
from tasks.progress import TrainingBar, say
from tasks.stage import run_as_stage


@task(name="search", cache_policy=NO_CACHE)
def search(config: SearchConfig, learning: LearningConfig, base: Base, splits: Path, out: Path, report: Path) -> Path:
    """Leave the best settings in ``out`` as YAML that a person can read and commit.

    A study that was killed continues. When only few training rows are new, the settings found before stay.

    Raises:
        TrainingError: nothing that was tried learns.
    """
    if config.trials == 0:
        write_json(report, {"searched": False, "why": "search.trials is 0", "settings": config.fixed.model_dump()})
        return _write_settings(out, config.fixed, "search.fixed, because search.trials is 0")
    work = out.parent / "work" / "search"
    kept = _kept(config, learning, base, splits, work / "asked.json")
    if kept and out.is_file():
        say("search", f"kept the settings found before: {kept}")
        write_json(report, {"searched": False, "why": kept, "settings": read_yaml(out)})
        return out
    return _search(config, learning, base, splits, out, report)


def _search(config: SearchConfig, learning: LearningConfig, base: Base, splits: Path, out: Path, report: Path) -> Path:
    from loramill.search.run import Trial, trial_steps
    from loramill.search.run import search as run_search
    from loramill.search.study import open_study
    from loramill.training.course import course_of
    from tasks.lesson import open_lesson

    work = out.parent / "work" / "search"
    lesson = open_lesson("search", base, learning, splits)
    course = course_of(
        learning,
        config.fixed,
        lesson.train_rows,
        lesson.validation_rows,
        epochs=config.epochs,
        patience=config.epochs,
        seed=config.seed,
    )
    study = open_study(_study_name(course.key, config, lesson.pack.base.digest), work / "study.db")

    def on_trial(trial: Trial) -> None:
        _note_trial(trial, work)

    with TrainingBar("search", trial_steps(config, course)) as shown:
        best, tried = run_search(
            lesson.pack,
            study,
            config,
            course,
            tokens_per_pass=learning.tokens_per_pass,
            listener=shown,
            on_trial=on_trial,
            checkpoint=work / "checkpoint",
        )
    facts = [{"trial": t.number, "state": t.state, "loss": t.loss, **t.settings.model_dump()} for t in tried]
    write_json(report, {"searched": True, "settings": best.settings.model_dump(), "loss": best.loss, "trials": facts})
    _draw(report, facts)
    _write_settings(out, best.settings, f"trial {best.number} of {len(tried)}, validation loss {best.loss:.4f}")
    write_json(work / "asked.json", _asked(config, learning, base, splits))
    chosen = best.settings
    say(
        "search",
        f"{len(tried)} trials: rank {chosen.rank}, alpha {chosen.alpha:g}, learning rate {chosen.learning_rate:.2g} "
        f"(validation loss {best.loss:.3f})",
    )
    return out


def _note_trial(trial: Any, work: Path) -> None:
    from tasks.pictures import loss_curve

    progress, course = trial.outcome.progress, trial.outcome.course
    picture = loss_curve(
        work / f"trial{trial.number}.png",
        f"trial {trial.number}: rank {trial.settings.rank}, learning rate {trial.settings.learning_rate:.2g}",
        progress.train_losses,
        progress.validation_losses,
        course.steps_per_epoch,
    )
    with diary().child(f"trial {trial.number}") as child:
        child.note({"kind": "trial", "state": progress.status})
        child.settings(trial.settings.model_dump())
        child.curve("train_loss", progress.train_losses)
        child.curve("validation_loss", progress.validation_losses)
        child.metrics({"best_validation_loss": progress.best_loss, "steps": progress.step})
        child.file(picture, "pictures")


def _draw(report: Path, facts: list[dict[str, Any]]) -> None:
    from tasks.pictures import trials_picture

    picture = trials_picture(
        report.with_name("search.png"),
        [fact["learning_rate"] for fact in facts],
        [fact["loss"] for fact in facts],
        [fact["rank"] for fact in facts],
    )
    diary().file(picture, "pictures")
    diary().file(report, "reports")


def _write_settings(out: Path, settings: Settings, origin: str) -> Path:
    diary().settings({"chosen": settings.model_dump()})
    return write_text(out, f"# {origin}\n{yaml.safe_dump(settings.model_dump(), sort_keys=False)}")


def _study_name(course_key: str, config: SearchConfig, base_digest: str) -> str:
    facts = json.dumps([course_key, base_digest, config.model_dump(mode="json")], sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()[:16]


def _asked(config: SearchConfig, learning: LearningConfig, base: Base, splits: Path) -> dict[str, Any]:
    """Return what the settings depend on, to tell later whether they still hold."""
    ids = [json.loads(line)["id"] for line in (splits / "train.jsonl").read_text(encoding="utf-8").split("\n") if line]
    plan = {"search": config, "learning": learning, "base": base}
    return {"rows": sorted(ids)} | {name: section.model_dump(mode="json") for name, section in plan.items()}


def _kept(config: SearchConfig, learning: LearningConfig, base: Base, splits: Path, asked: Path) -> str | None:
    """Return why the settings found before still hold, if they do."""
    if not asked.is_file():
        return None
    before, now = read_json(asked), _asked(config, learning, base, splits)
    if any(before[name] != now[name] for name in ("search", "learning", "base")):
        return None
    fresh = set(now["rows"]) - set(before["rows"])
    share = len(fresh) / max(1, len(now["rows"]))
    if share > config.renew_above:
        return None
    return f"{len(fresh)} of {len(now['rows'])} training rows are new (search.renew_above is {config.renew_above:.0%})"


if __name__ == "__main__":
    run_as_stage(search)

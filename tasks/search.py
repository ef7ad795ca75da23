"""Step ``search``: train and validation rows in; the best settings out."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml
from prefect import task
from prefect.cache_policies import NO_CACHE

from loramill.config import Base, LearningConfig, SearchConfig, Settings, read_yaml
from loramill.reports import read_json, write_json, write_text
from loramill.tracking import diary
from tasks.progress import TrainingBar, say
from tasks.stage import run_as_stage
from tasks.together import in_processes

if TYPE_CHECKING:
    from loramill.search.noise import Judges
    from loramill.search.run import Ended, Fold
    from loramill.search.study import Entry, Record
    from loramill.search.verdict import Found
    from tasks.lesson import Lesson

ELSEWHERE: Final = {"trials", "pack", "minutes", "repeats", "fixed", "storage", "takeover_seconds", "renew_above"}
"""Knobs that change no single trial."""
SAME_LOSS: Final = {"tokens_per_pass", "gradient_checkpointing", "memory_bytes"}
"""Knobs of memory: every loss stays the same."""


@task(name="search", cache_policy=NO_CACHE)
@in_processes
def search(config: SearchConfig, learning: LearningConfig, base: Base, splits: Path, out: Path, report: Path) -> Path:
    """Leave the best settings in ``out`` as YAML that a person can read, and copy into ``conf/`` for good.

    A study that was killed continues. When only few training rows are new, the settings found before stay.

    Raises:
        TrainingError: nothing that was tried learns.
    """
    if config.trials == 0:
        fixed = config.fixed.model_dump(mode="json", exclude_none=True)
        write_json(report, {"searched": False, "why": "search.trials is 0", "settings": fixed})
        return _write_settings(out, config.fixed, "search.fixed, because search.trials is 0")
    work = out.parent / "work" / "search"
    kept = _kept(config, learning, base, splits, work / "asked.json")
    if kept and out.is_file():
        say("search", f"kept the settings found before: {kept}")
        write_json(report, {"searched": False, "why": kept, "settings": read_yaml(out)})
        return out
    return _search(config, learning, base, splits, out, report)


def _search(config: SearchConfig, learning: LearningConfig, base: Base, splits: Path, out: Path, report: Path) -> Path:
    from loramill.search.claims import place_of_own
    from loramill.search.find import Search, find
    from loramill.search.run import Trainer
    from loramill.search.space import Space, linear_layers
    from loramill.search.study import Record, storage_of
    from tasks.lesson import open_lesson

    work = out.parent / "work" / "search"
    lesson = open_lesson("search", base, learning, splits)
    space = Space(config, learning, linear_layers(lesson.pack.base.model))
    folds, judges = _folds(config, lesson)
    storage = storage_of(config.storage, work / "study.db")
    name = _study_name(config, learning, lesson)
    with place_of_own(work) as checkpoint, TrainingBar("search", 1) as shown:
        trainer = Trainer(
            pack=lesson.pack,
            config=config,
            learning=learning,
            folds=folds,
            listener=shown,
            on_trial=_note_trial,
            checkpoint=checkpoint,
            scores_rows=not base.split,
        )
        whole = Search(space, judges, lambda part: Record(part, storage, config.takeover_seconds), name)
        found, entries = find(whole, trainer)
    _tell(found, entries, Record(name, storage), report)
    origin = f"trial {found.trial} of {len(entries)}, validation loss {found.loss:.4f}; {found.said}"
    _write_settings(out, found.settings, origin)
    write_json(work / "asked.json", _asked(config, learning, base, splits))
    return out


def _folds(config: SearchConfig, lesson: "Lesson") -> "tuple[list[Fold], Judges]":
    """Return each fold's rows, and the rows that judge in the order in which the folds score them."""
    import numpy as np

    from loramill.search.folds import fold_rows, groups_of, picked
    from loramill.search.noise import Judges

    folds: list[Fold]
    if config.folds == 1:
        folds = [(lesson.train_rows, lesson.validation_rows)]
        groups = groups_of(lesson.validation, config.near_duplicate)
    else:
        rows = [*lesson.train_rows, *lesson.validation_rows]
        every = groups_of([*lesson.train, *lesson.validation], config.near_duplicate)
        cut = fold_rows(every, config.folds, config.seed)
        folds = [(picked(rows, train), picked(rows, validation)) for train, validation in cut]
        groups = np.concatenate([every[validation] for _, validation in cut])
    targets = [row.targets for _, validation in folds for row in validation]
    return folds, Judges(np.array(targets), groups)


def _note_trial(ended: "Ended") -> None:
    entry, outcome = ended.entry, ended.outcome
    with diary().child(f"{ended.label} {entry.number}") as child:
        child.note({"kind": ended.label, "state": entry.state})
        child.settings(entry.settings.model_dump(exclude_none=True) | {"seed": entry.seed})
        if outcome is not None:
            child.curve("train_loss", outcome.progress.train_losses)
            child.curve("validation_loss", outcome.progress.validation_losses)
            child.metrics({"steps": outcome.progress.step})
        else:
            child.curve("validation_loss", dict(entry.losses))
        if entry.value is not None:
            child.metrics({"best_validation_loss": entry.value})


def _tell(found: "Found", entries: "list[Entry]", record: "Record", report: Path) -> None:
    """Leave the report and the pictures, and say the result in two lines."""
    from loramill.search.pictures import draw
    from loramill.search.study import facts_of

    chosen = found.settings
    content = {
        "searched": True,
        "settings": chosen.model_dump(mode="json", exclude_none=True),
        "loss": found.loss,
        "loss_corrected": found.corrected,
        "noise": found.noise,
        "said": found.said,
        "trials": facts_of(entries),
    }
    write_json(report, content)
    for picture in draw(record, entries, found, report):
        diary().file(picture, "pictures")
    diary().file(report, "reports")
    diary().note({"search": found.said})
    diary().metrics({"loss": found.loss, "loss_corrected": found.corrected, "noise": found.noise})
    say(
        "search",
        f"{len(entries)} trials: rank {chosen.rank}, alpha {chosen.alpha:g}, learning rate {chosen.learning_rate:.2g} "
        f"(validation loss {found.loss:.3f}, {found.corrected:.3f} when corrected for the choice)",
    )
    say("search", found.said)


def _write_settings(out: Path, settings: Settings, origin: str) -> Path:
    chosen = settings.model_dump(mode="json", exclude_none=True)
    diary().settings({"chosen": chosen})
    return write_text(out, f"# {origin}\n{yaml.safe_dump(chosen, sort_keys=False)}")


def _study_name(config: SearchConfig, learning: LearningConfig, lesson: "Lesson") -> str:
    """Return a digest of what decides any trial: with more trials, or another pack or storage, a study goes on."""
    from loramill.prompts import template_digest
    from loramill.search.find import COHORT
    from loramill.search.proposals import LEAST_KNOWN
    from loramill.search.pruning import CHECKS, LEAST, REDUCTION, RUNGS

    base = lesson.pack.base
    facts = [
        [(row.ids, row.targets) for row in (*lesson.train_rows, *lesson.validation_rows)],
        len(lesson.train_rows),
        [base.digest, template_digest(base.tokenizer, base.template)],
        learning.model_dump(mode="json", exclude=SAME_LOSS),
        config.model_dump(mode="json", exclude=ELSEWHERE),
        [CHECKS, RUNGS, REDUCTION, LEAST, COHORT, LEAST_KNOWN, "told: first check"],
    ]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


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

"""Train a registered adapter again from what the registry stored, and say whether it is the same one.

``python -m tasks.reproduce DIGEST`` (or `loramill reproduce DIGEST`). Status 1 if it is another one.
"""

import argparse
import shutil
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from loramill.config import Base, LearningConfig, Settings, TrainConfig
from loramill.errors import AdapterError, DataError, LoramillError
from loramill.privacy import switch_off_telemetry
from loramill.reports import disk_full_explained, write_json, write_text
from loramill.trace import Trail, trail
from loramill.tracking import open_diary
from tasks.memory import cached_file, git_commit
from tasks.progress import TrainingBar, say
from tasks.recipe import PARTS, file_digests

if TYPE_CHECKING:
    from torch import Tensor

    from loramill.pack.manifest import Manifest
    from loramill.training.course import Course
    from loramill.training.loop import Outcome, Tick
    from tasks.lesson import Lesson

TOLERANCE: Final = 0.01
"""Largest relative distance of any of its matrices at which an adapter is the same for all purposes: another number of
threads, or another card, rounds otherwise, and training carries that on."""


@dataclass(frozen=True)
class Finding:
    """What came of training it again."""

    outcome: Literal["equal", "within tolerance", "different"]
    digest: str
    """Of the adapter that was trained now."""
    distance: float
    """Largest relative distance of any matrix."""
    validation_loss: tuple[float | None, float | None]
    """Then and now."""
    changed: tuple[str, ...]
    """What is not as it was: commit, libraries."""


def reproduce(digest: str, into: Path | None = None) -> Finding:
    """Train the adapter again into a folder of its own and compare the two.

    Raises:
        AdapterError: it is not registered, an ancestor is not, it was retired, or trained before recipes were kept.
        DataError: its training rows are not there any more.
        BaseModelError: the base cannot be had.
        TrackingError: the registry did not answer.
    """
    found = trail(digest)
    manifest, domain = found.manifest, found.entry.domain
    _check_not_retired(found)
    if not manifest.recipe.get("base") or not manifest.recipe.get("files"):
        raise AdapterError(
            f"adapter {manifest.digest[:12]} was trained before recipes were kept, so its base section and rows are not known; "
            f"`loramill trace {manifest.digest[:12]}` shows what is"
        )
    folder = into or Path("artifacts") / domain / "reproduced" / manifest.digest[:12]
    splits = _rows(found, folder)
    ancestor = _ancestor(manifest)
    for line in changed(manifest):
        say("reproduce", f"not as it was then: {line}")
    with open_diary(
        domain, f"reproduce {manifest.digest[:12]}", {"step": "reproduce", "reproduces": manifest.digest}
    ) as log:
        finding = _compared(found, _trained(manifest, splits, ancestor, folder), folder)
        log.note({"reproduced": finding.outcome, "distance": finding.distance})
    write_json(folder / "reproduce.json", {"adapter": manifest.digest, **asdict(finding)})
    return finding


def changed(manifest: "Manifest") -> list[str]:
    """Return what differs between then and now, and could make another adapter."""
    from loramill.pack.manifest import library_versions

    then, now = manifest.recipe.get("git_commit", "not kept"), git_commit()
    found = []
    if then != now or then.endswith("+changes"):
        commit = then.removesuffix("+changes")
        found.append(f"code {then[:12]} → {now[:12]} (`git worktree add ../then {commit}` gives the code of that day)")
    libraries = library_versions()
    found += [
        f"{name} {was} → {libraries.get(name)} (`pip install {name}=={was}`)"
        for name, was in manifest.libraries.items()
        if libraries.get(name) != was
    ]
    return found


def _check_not_retired(found: Trail) -> None:
    """Refuse to make again what was forgotten: its rows may still lie in DVC's cache."""
    if found.entry.retired:
        raise AdapterError(
            f"adapter {found.entry.digest[:12]} was retired ({found.entry.retired}) and must not be made again; "
            f"`loramill trace {found.entry.digest[:12]}` shows what is known of it"
        )


def _rows(found: Trail, folder: Path) -> Path:
    """Return a folder with the rows that the adapter learnt: the domain's own if nothing changed, else from DVC's cache."""
    recipe, domain = found.manifest.recipe, found.entry.domain
    own = Path("artifacts") / domain / "splits"
    if file_digests(own) == recipe["files"] and (own / "test.jsonl").is_file():
        return own
    splits = folder / "splits"
    splits.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        stored = cached_file(recipe["files"][part])
        if stored is None:
            raise DataError(_lost(found, part))
        shutil.copyfile(stored, splits / f"{part}.jsonl")
    write_text(splits / "test.jsonl", "")  # nothing is judged here
    return splits


def _lost(found: Trail, part: str) -> str:
    recipe, domain = found.manifest.recipe, found.entry.domain
    commit = recipe["git_commit"].removesuffix("+changes")
    return (
        f"the {part} rows of adapter {found.entry.digest[:12]} (md5 {recipe['files'][part]}) are neither in "
        f"artifacts/{domain}/splits nor in DVC's cache. They were made from data version {recipe['data_md5']} at commit "
        f"{commit}: `git worktree add ../then {commit} && cd ../then && dvc pull data.dvc && loramill run {domain}` makes "
        "them again, unless rows were forgotten since"
    )


def _ancestor(manifest: "Manifest") -> "tuple[Path, Manifest] | None":
    """Return the adapter whose weights it started from."""
    from loramill.pack.manifest import read_manifest
    from loramill.tracking import fetch

    if manifest.started_from is None:
        return None
    try:
        before = trail(manifest.started_from).entry
    except AdapterError as error:
        raise AdapterError(
            f"adapter {manifest.digest[:12]} started from adapter {manifest.started_from[:12]}, which is not registered any "
            f"more ({error}); reproduce a champion that was trained from scratch instead"
        ) from error
    folder = fetch(before.domain, before.number).folder
    return folder, read_manifest(folder)


def _trained(manifest: "Manifest", splits: Path, ancestor: "tuple[Path, Manifest] | None", folder: Path) -> "Manifest":
    """Train it again; return the passport of what came out."""
    from loramill.training.loop import fit
    from tasks.lesson import open_lesson
    from tasks.train import check_finite, write_adapter

    learning = LearningConfig.model_validate(manifest.training["learning"])
    lesson = open_lesson("reproduce", Base.model_validate(manifest.recipe["base"]), learning, splits)
    base = lesson.pack.base
    if base.digest != manifest.base_digest:
        raise AdapterError(
            f"base {base.name} has digest {base.digest[:12]}, the adapter was trained on {manifest.base_digest[:12]}: it was "
            "replaced; put the old one back, or pin `revision` in conf/bases/ from now on"
        )
    course = _course(manifest, lesson, ancestor)
    with TrainingBar("reproduce", course.steps) as bar:
        outcome = fit(
            lesson.pack,
            [course],
            tokens_per_pass=learning.tokens_per_pass,
            listener=_AsLong(bar, manifest.recipe["epochs"] if manifest.recipe["is_cut"] else course.epochs),
            checkpoint=folder / "work",
            save_steps=TrainConfig.model_validate(manifest.training["train"]).save_steps,
        )[course.name]
    check_finite(outcome)
    return write_adapter(manifest.training, lesson, outcome, manifest.started_from, folder / "adapter")


def _course(manifest: "Manifest", lesson: "Lesson", ancestor: "tuple[Path, Manifest] | None") -> "Course":
    from loramill.training.course import course_of
    from loramill.training.replay import with_replay
    from tasks.train import stored_weights

    said = manifest.training
    config, chosen = TrainConfig.model_validate(said["train"]), Settings.model_validate(said["settings"])
    course = course_of(
        chosen.over(LearningConfig.model_validate(said["learning"])),
        chosen,
        lesson.train_rows,
        lesson.validation_rows,
        epochs=chosen.epochs or config.epochs,
        patience=config.patience,
        seed=config.seed,
    )
    if ancestor is None:
        return course
    folder, before = ancestor
    fresh = {record.id for record in lesson.train} - set(before.rows)
    rows = with_replay(lesson.train_rows, fresh, said["replay"]) if "replay" in said else lesson.train_rows
    return replace(course, train=tuple(rows), start=stored_weights(lesson, folder))


class _AsLong:
    """Shows the bar, and ends the training after as many epochs as it had."""

    def __init__(self, bar: TrainingBar, epochs: int) -> None:
        self._bar, self._epochs = bar, epochs

    def on_tick(self, tick: "Tick") -> None:
        """Move the bar."""
        self._bar.on_tick(tick)

    def on_epoch(self, name: str, epoch: int, validation_loss: float) -> bool:
        """Tell whether this was the last epoch."""
        self._bar.on_epoch(name, epoch, validation_loss)
        return epoch >= self._epochs

    def on_end(self, outcome: "Outcome") -> None:
        """Leave the place empty."""

    def on_note(self, text: str) -> None:
        """Print it above the bar."""
        self._bar.on_note(text)


def _compared(found: Trail, now: "Manifest", folder: Path) -> Finding:
    from peft.utils import load_peft_weights

    from loramill.tracking import fetch

    then = found.manifest
    stored = fetch(found.entry.domain, found.entry.number).folder
    old, new = (load_peft_weights(str(place), device="cpu") for place in (stored, folder / "adapter"))
    distance = 0.0 if now.digest == then.digest else distance_of(old, new)
    outcome: Literal["equal", "within tolerance", "different"] = "different"
    if now.digest == then.digest:
        outcome = "equal"
    elif distance <= TOLERANCE:
        outcome = "within tolerance"
    return Finding(outcome, now.digest, distance, (then.validation_loss, now.validation_loss), tuple(changed(then)))


def distance_of(old: "Mapping[str, Tensor]", new: "Mapping[str, Tensor]") -> float:
    """Return the largest relative distance of any matrix; infinite for adapters of another shape."""
    if {name: each.shape for name, each in old.items()} != {name: each.shape for name, each in new.items()}:
        return float("inf")
    distances = [
        float((old[name].float() - new[name].float()).norm() / old[name].float().norm().clamp_min(1e-12))
        for name in old
    ]
    return max(distances, default=0.0)


def _told(finding: Finding) -> str:
    then, now = finding.validation_loss
    losses = f"validation loss {then:.4f} then, {now:.4f} now" if then is not None and now is not None else ""
    if finding.outcome == "equal":
        return f"equal: the same digest, byte for byte ({losses})"
    return f"{finding.outcome}: its matrices differ by {finding.distance:.2%} at most, limit {TOLERANCE:.0%} ({losses})"


def main() -> None:
    """Reproduce what the command line names; status 1 if it is different or cannot be had."""
    parser = argparse.ArgumentParser(prog="python -m tasks.reproduce", description=__doc__)
    parser.add_argument("digest", help="digest of a registered adapter, or its first characters")
    parser.add_argument("--into", type=Path, default=None, help="folder for the new adapter")
    arguments: Any = parser.parse_args()
    switch_off_telemetry()
    try:
        with disk_full_explained(Path("artifacts")):
            finding = reproduce(arguments.digest, arguments.into)
    except LoramillError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("\nstopped. The same command continues where it was.")
    say("reproduce", _told(finding))
    sys.exit(0 if finding.outcome != "different" else 1)


if __name__ == "__main__":
    main()

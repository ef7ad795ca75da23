"""What besides settings is needed to train an adapter again: kept when it is trained, asked for when it is reproduced."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loramill.tracking import diary
from tasks.memory import data_version, git_commit

if TYPE_CHECKING:
    from loramill.training.loop import Outcome
    from tasks.lesson import Lesson

PARTS = ("train", "validation")


def recipe_of(lesson: "Lesson", outcome: "Outcome") -> dict[str, Any]:
    """Return the recipe of a training that just ended.

    ``files`` holds the md5 of the rows' files, which is how DVC names them; ``epochs`` the epochs it lasted, for one that a
    curfew ended.
    """
    progress = outcome.progress
    return {
        "base": lesson.base.model_dump(mode="json"),
        "files": file_digests(lesson.splits),
        "data_md5": data_version(),
        "git_commit": git_commit(),
        "run_id": diary().run_id,
        "epochs": len(progress.validation_losses) - 1,
        "is_cut": progress.status == "pruned",
    }


def file_digests(splits: Path) -> dict[str, str]:
    """Return the md5 of each file of rows that is there."""
    paths = [splits / f"{part}.jsonl" for part in PARTS]
    return {path.stem: _md5(path) for path in paths if path.is_file()}


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()

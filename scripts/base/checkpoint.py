"""Save and load all that a training needs to go on: there whole or not at all, two kept."""

import os
from pathlib import Path
from typing import Any

KEPT = 2


def save(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write ``state`` as the checkpoint of ``step`` and remove all but the newest two."""
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{step:07d}.pt"
    beside = path.with_suffix(".partial")
    with beside.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    for old in checkpoints(folder)[:-KEPT]:
        old.unlink()
    return path


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints, oldest first."""
    return sorted(folder.glob("*.pt"))


def load_latest(folder: Path) -> dict[str, Any] | None:
    """Return the newest checkpoint's state, or nothing if there is none."""
    import torch

    found = checkpoints(folder)
    return torch.load(found[-1], map_location="cpu", weights_only=True) if found else None

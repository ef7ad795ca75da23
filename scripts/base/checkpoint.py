"""Save and load all that a training needs to go on: there whole or not at all, two kept, nothing pickled.

A checkpoint is one safetensors file: each tensor under the path of its keys, everything else as JSON in the file's header.
"""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loramill.errors import TrainingError

if TYPE_CHECKING:
    from torch import Tensor

KEPT = 2
ENDING, PICKLED = ".safetensors", ".pt"
HEADER, TENSOR = "state", "tensor at"


def save(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write ``state`` as the checkpoint of ``step`` and remove all but the newest two.

    Args:
        folder: where to.
        step: names the file.
        state: dictionaries and lists of tensors and plain values; keys are words or whole numbers.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{step:07d}{ENDING}"
    beside = path.with_suffix(".partial")
    tensors: dict[str, Tensor] = {}
    plain = _take_out(state, "", tensors)
    save_file(tensors, beside, metadata={HEADER: json.dumps(plain)})
    with beside.open("rb") as file:
        os.fsync(file.fileno())
    beside.replace(path)
    for old in checkpoints(folder)[:-KEPT]:
        old.unlink()
    return path


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints, oldest first."""
    return sorted(folder.glob(f"*{ENDING}"))


def newest(folder: Path) -> Path | None:
    """Return the newest checkpoint, or nothing if there is none.

    Raises:
        TrainingError: there are pickled ones, which `convert` has to read first.
    """
    if any(folder.glob(f"*{PICKLED}")):
        raise TrainingError(
            f"{folder} holds pickled checkpoints of an earlier version; run `python -m scripts.base convert`"
        )
    return next(reversed(checkpoints(folder)), None)


def load_latest(folder: Path) -> dict[str, Any] | None:
    """Return the newest checkpoint's state, or nothing if there is none."""
    from safetensors import safe_open

    path = newest(folder)
    if path is None:
        return None
    with safe_open(path, "pt") as file:
        plain = json.loads(file.metadata()[HEADER])
        state: dict[str, Any] = _put_back(plain, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    return state


def convert(folder: Path) -> list[Path]:
    """Write the pickled checkpoints of an earlier version anew, remove them, and return the new ones."""
    import torch

    made = []
    for old in sorted(folder.glob(f"*{PICKLED}")):
        made.append(save(folder, int(old.stem), torch.load(old, map_location="cpu", weights_only=True)))
        old.unlink()
    return made


def _take_out(value: Any, place: str, tensors: "dict[str, Tensor]") -> Any:
    """Move the tensors of ``value`` to ``tensors``; return the rest, each tensor's place in its stead."""
    import torch

    if isinstance(value, torch.Tensor):
        tensors[place] = value.detach().cpu().clone().contiguous()  # tied weights: no two may share memory
        return {TENSOR: place}
    if isinstance(value, dict):
        return {key: _take_out(inner, f"{place}/{key}", tensors) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_take_out(inner, f"{place}/{index}", tensors) for index, inner in enumerate(value)]
    return value


def _put_back(value: Any, tensors: "dict[str, Tensor]") -> Any:
    """Undo `_take_out`; a key that is a whole number was one, JSON made it a word."""
    if isinstance(value, dict):
        if TENSOR in value:
            return tensors[value[TENSOR]]
        return {int(key) if key.isdigit() else key: _put_back(inner, tensors) for key, inner in value.items()}
    return [_put_back(inner, tensors) for inner in value] if isinstance(value, list) else value

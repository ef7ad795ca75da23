"""Put the finished base into the package: small enough, measured, with its card, and pinned where it is named."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from loramill.errors import BaseModelError
from loramill.pack.base import base_digest
from loramill.reports import write_folder, write_text
from scripts.base.card import write_card
from scripts.base.recipe import Recipe
from scripts.base.score import Worth

FILES = (
    "model.safetensors",
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
)
MOST_BYTES = 16_000_000
"""Of all files together: what a clone and a wheel may carry without a cloud."""
PIN = re.compile(r"^revision: \S+", re.M)


def deliver(made: Path, worths: Mapping[str, Worth], place: Path, pinned: Path, recipe: Recipe) -> str:
    """Copy the base that ``make`` left into ``place``, with its card; pin and return its digest.

    Args:
        made: what ``make`` left; the base is its folder ``base``.
        worths: what the bases are worth that the card compares, by name.
        place: the base's folder in the package.
        pinned: the base's file in ``conf/bases/``.
        recipe: the numbers that the base was made by.

    Raises:
        BaseModelError: the base lacks a file, is too large or not in bfloat16, or ``pinned`` has no line for its digest.
    """
    check_base(made / "base")

    def fill(fresh: Path) -> None:
        for name in FILES:
            shutil.copyfile(made / "base" / name, fresh / name)
        write_card(made, fresh, recipe, worths)

    write_folder(place, fill)
    digest = base_digest(str(place))
    pin(pinned, digest)
    return digest


def check_base(folder: Path) -> None:
    """Refuse what cannot be delivered.

    Raises:
        BaseModelError: a file is missing, they are too large together, or a weight is not in bfloat16.
    """
    from safetensors import safe_open

    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise BaseModelError(f"{str(folder)!r} lacks {', '.join(missing)}; let `python -m scripts.base make` end")
    size = sum((folder / name).stat().st_size for name in FILES)
    if size > MOST_BYTES:
        raise BaseModelError(f"{str(folder)!r} has {size:,} bytes, {MOST_BYTES:,} are allowed; make a smaller base")
    with safe_open(folder / "model.safetensors", "pt") as weights:
        kinds = {weights.get_slice(name).get_dtype() for name in weights.keys()}  # noqa: SIM118
    if kinds != {"BF16"}:
        raise BaseModelError(
            f"{str(folder)!r} holds {', '.join(sorted(kinds))} weights, BF16 are delivered; export it again"
        )


def pin(path: Path, digest: str) -> None:
    """Write the base's digest into its file in ``conf/bases/``: so DVC and the search know that the base is another one.

    Raises:
        BaseModelError: the file has no line ``revision: …``.
    """
    text, count = PIN.subn(f"revision: {digest}", path.read_text(encoding="utf-8"))
    if count != 1:
        raise BaseModelError(f"{str(path)!r} has {count} lines `revision: …`, one is needed for the base's digest")
    write_text(path, text)

"""What ``search`` and ``train`` share: the base in memory and the rows as a course."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from loramill.config import Base, LearningConfig
from loramill.pack.base import LoadedBase, load_base
from loramill.pack.members import Pack
from loramill.pack.plan import Limits
from loramill.prompts import Row, encode_all
from loramill.records import Record, read_records
from tasks.progress import bar, say


@dataclass(frozen=True)
class Lesson:
    """A pack on its base, and what is to be learnt."""

    pack: Pack
    train: list[Record]
    validation: list[Record]
    train_rows: list[Row]
    validation_rows: list[Row]
    base: Base
    splits: Path


def open_lesson(step: str, base: Base, learning: LearningConfig, splits: Path, pack: Pack | None = None) -> Lesson:
    """Load the base and render the training and validation rows as a server would.

    Args:
        step: the step's name, for what is said.
        base: the base model.
        learning: how rows are cut and what memory may be taken.
        splits: the rows, in their parts.
        pack: one that is open already on this base; several domains share it.

    Raises:
        BaseModelError: the base cannot be had.
        DataError: a row cannot be learnt as it is.
    """
    train, validation = (read_records(splits / f"{part}.jsonl") for part in ("train", "validation"))
    pack = pack or open_pack(step, base, learning)
    loaded = pack.base
    rows = [encode_all(loaded.tokenizer, part, loaded.template, learning.max_tokens) for part in (train, validation)]
    encode_all(loaded.tokenizer, read_records(splits / "test.jsonl"), loaded.template, learning.max_tokens)
    return Lesson(pack, train, validation, rows[0], rows[1], base, splits)


def open_pack(step: str, base: Base, learning: LearningConfig) -> Pack:
    """Load the base, with nothing on it yet.

    Raises:
        BaseModelError: the base cannot be had.
    """
    return Pack(load_with_bar(step, base), Limits(learning.gradient_checkpointing, learning.memory_bytes))


def load_with_bar(step: str, base: Base) -> LoadedBase:
    """Load the base; show a bar while the one-minute base is made."""
    with ExitStack() as stack:
        shown: list[tqdm[None]] = []

        def on_step(done: int, total: int, loss: float) -> None:
            if not shown:
                say(step, "making the one-minute base (once)")
                shown.append(stack.enter_context(bar(step, total, "steps")))
            shown[0].set_postfix_str(f"loss {loss:.2f}", refresh=False)
            shown[0].update(done - shown[0].n)

        return load_base(base, base.cache, on_step)

"""The log of a training: one line every few steps, for the person who waits and for the picture of the loss."""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from loramill.reports import write_text

HISTORY = "history.jsonl"


@dataclass(frozen=True)
class Progress:
    """One line of the log."""

    step: int
    tokens: int
    spent: float
    share: float
    shelf: str
    loss: float
    """Nats per token, mean since the last line."""
    tokens_per_second: float
    rate: float
    """What the learning rates are multiplied by."""

    def as_text(self, deadline: float) -> str:
        """Return the line that a person reads."""
        left = max(0.0, deadline - time.time())
        return (
            f"step {self.step} · {self.tokens / 1e6:.2f} M tokens · {self.shelf} · loss {self.loss:.3f} · "
            f"{self.tokens_per_second:.0f} tokens/s · {self.share:.0%} · {left / 60:.0f} min left"
        )


def append_line(path: Path, line: Progress) -> None:
    """Add a line to the history."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(line)) + "\n")


def read_history(path: Path) -> list[Progress]:
    """Return the lines of the history, oldest first."""
    lines = path.read_text(encoding="utf-8").split("\n") if path.is_file() else []
    return [Progress(**json.loads(line)) for line in lines if line]


def forget_lines_after(path: Path, step: int) -> None:
    """Take out the lines of steps that a kill has undone."""
    kept = [json.dumps(asdict(line)) for line in read_history(path) if line.step <= step]
    write_text(path, "".join(f"{line}\n" for line in kept))

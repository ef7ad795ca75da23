"""What a person sees while a training runs: a bar with the time left, and one line per thing worth knowing."""

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self, cast

from tqdm import tqdm

if TYPE_CHECKING:
    from loramill.training.loop import Outcome, Tick


def say(step: str, text: str) -> None:
    """Print one line about a step, for a person."""
    sys.stderr.write(f"  {step:<9} {text}\n")
    sys.stderr.flush()


@contextmanager
def bar(step: str, total: int, unit: str) -> Iterator["tqdm[None]"]:
    """Show a progress bar with ETA; where nobody watches, one line every 10 seconds."""
    watched = sys.stderr.isatty()
    count = f"{{n_fmt}}/{{total_fmt}} {unit} [{{elapsed}}<{{remaining}}]{{postfix}}"
    shape = f"  {step:<9} {{percentage:3.0f}}%|{{bar:24}}| {count}"
    with tqdm(
        total=total,
        bar_format=shape,
        mininterval=0.2 if watched else 10.0,
        leave=False,
        file=sys.stderr,
        ascii=not watched,
    ) as shown:
        yield cast("tqdm[None]", shown)


class TrainingBar:
    """A listener that shows steps, loss, speed and the time left."""

    def __init__(self, step: str, total: int) -> None:
        self._step = step
        self._context = bar(step, total, "steps")
        self._losses: dict[str, float] = {}
        self.speeds: list[float] = []
        """Tokens per second of each step, all members together."""

    def __enter__(self) -> Self:
        self._bar = self._context.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.__exit__(kind, error, trace)

    def on_tick(self, tick: "Tick") -> None:
        """Move the bar by one step; the time left is that of the steps left, whoever joined or left meanwhile."""
        if not self.speeds:  # steps of an earlier process took no time in this one
            self._bar.initial = self._bar.n = self._bar.last_print_n = tick.done - 1
        self.speeds.append(tick.tokens_per_second)
        self._bar.total = self._bar.n + 1 + tick.total - tick.done
        loss = min(filter(math.isfinite, tick.losses.values()), default=math.nan)
        best = min(self._losses.values(), default=math.nan)
        self._bar.set_postfix_str(
            f"loss {loss:.3f}, validation {best:.3f}, {tick.tokens_per_second:,.0f} tokens/s", refresh=False
        )
        self._bar.update(1)

    def on_epoch(self, name: str, epoch: int, validation_loss: float) -> bool:
        """Remember the member's lowest loss for the bar; a bar prunes nothing."""
        self._losses[name] = min(validation_loss, self._losses.get(name, math.inf))
        return False

    def on_end(self, outcome: "Outcome") -> None:
        """Leave the place empty."""

    def on_note(self, text: str) -> None:
        """Print it above the bar."""
        with tqdm.external_write_mode(file=sys.stderr):
            say(self._step, text)

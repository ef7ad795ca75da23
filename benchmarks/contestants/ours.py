"""loramill: one adapter, or K in a pack, through the one training loop."""

import time
from pathlib import Path

from measure import Stopwatch, profiled, specification

from benchmarks.contest import law_rows
from loramill.config import Base
from loramill.pack.base import load_base
from loramill.pack.members import Pack
from loramill.pack.methods import Shape
from loramill.prompts import encode_all
from loramill.training.course import Course
from loramill.training.loop import Silence, Tick, fit


class Timer(Silence):
    """Passes each step on to the stopwatch."""

    def __init__(self, watch: Stopwatch) -> None:
        self._watch = watch

    def on_tick(self, tick: Tick) -> None:
        """Time it."""
        self._watch.tick()
        self._watch.losses.append(next(iter(tick.losses.values())))


def main() -> None:
    """Train as the specification says: ``members`` at once, or one after the other if ``sequence`` is true."""
    spec = specification()
    base = load_base(Base(source=spec["base"], stop_token=spec.get("stop_token")), Path(spec["base"]))
    pack = Pack(base)
    rows = encode_all(base.tokenizer, law_rows(spec["rows"] + 1), base.template, 2048)
    steps_per_epoch = -(-spec["rows"] // spec["batch"])
    epochs = -(-spec["steps"] // steps_per_epoch)
    ranks = spec.get("ranks", [spec["rank"]])
    courses = [
        Course(
            f"m{number}",
            Shape(ranks[number % len(ranks)], 2.0 * ranks[number % len(ranks)], spec.get("dropout", 0.0), seed=number),
            tuple(rows[:-1]),
            (rows[-1],),
            spec["learning_rate"],
            epochs,
            spec["batch"],
            seed=number,
            patience=10**6,
        )
        for number in range(spec["members"])
    ]
    watch = Stopwatch(spec["warm"], spec["steps"])
    started = time.perf_counter()
    with profiled(spec.get("profile", False)) as operations:
        for group in [[course] for course in courses] if spec.get("sequence") else [courses]:
            fit(pack, group, tokens_per_pass=spec["tokens_per_pass"], listener=Timer(watch))
    tokens = sum(len(row.ids) for row in rows[:-1]) / len(rows[:-1])
    watch.report(whole_seconds=time.perf_counter() - started, tokens_per_row=tokens, operations=operations)


if __name__ == "__main__":
    main()

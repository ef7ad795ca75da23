"""What all searches of the contest share: rows, base, space and a trace of the best loss over time."""

import json
import time
from pathlib import Path
from typing import Any

import torch
from measure import peak_resident

from loramill.config import Base, LearningConfig, LearningRates, SearchConfig
from loramill.pack.base import LoadedBase, load_base
from loramill.prompts import encode_all
from loramill.records import read_records
from loramill.search.space import Space


class Field:
    """One search's rows, base and space."""

    def __init__(self, spec: dict[str, Any]) -> None:
        low, high = spec["rates"]
        self.base = Base(source=spec["base"], device=spec["device"])
        self.learning = LearningConfig(batch=spec["batch"])
        self.config = SearchConfig(
            trials=spec["trials"],
            pack=spec["pack"],
            epochs=spec["epochs"],
            rank=tuple(spec["ranks"]),
            learning_rate=LearningRates(low=low, high=high),
            seed=spec["seed"],
        )
        self.space = Space(self.config, self.learning, ())
        folder = Path(spec["splits"])
        self.train_records, self.validation_records = (
            read_records(folder / f"{part}.jsonl") for part in ("train", "validation")
        )
        loaded = self.load()
        self.folder = loaded.model.config._name_or_path
        parts = (self.train_records, self.validation_records)
        self.train, self.validation = (
            encode_all(loaded.tokenizer, part, loaded.template, self.learning.max_tokens) for part in parts
        )

    def load(self) -> LoadedBase:
        """Return the base, freshly loaded."""
        return load_base(self.base, self.base.cache)


class Trace:
    """When which loss was the best so far."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self.ends: list[tuple[float, float | None]] = []
        self.steps = 0

    def ended(self, loss: float | None, steps: int) -> None:
        """Hear of a trial's end; a pruned one has no loss."""
        self.ends.append((time.perf_counter() - self._began, loss))
        self.steps += steps

    def report(self, at: float, **more: Any) -> None:
        """Print what happened as the last line."""
        losses = [loss for _, loss in self.ends if loss is not None]
        peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else peak_resident()
        facts = {"seconds": at - self._began, "best": min(losses), "ends": self.ends, "steps": self.steps}
        print(json.dumps({**facts, "peak_mb": peak / 2**20, **more}))

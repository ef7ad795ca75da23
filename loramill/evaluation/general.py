"""What an adapter costs elsewhere: the loss on everyday questions that have nothing to do with its domain, before and after.

The questions are ours, Chinese and English, and never change: one that did would move every number that was compared before.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loramill.records import Message, Record

PROBE: Final = Path(__file__).parent / "probes" / "general.jsonl"


@dataclass(frozen=True)
class General:
    """Mean loss (nats per token) on the probe."""

    before: float
    """Of the bare base."""
    after: float
    """Of the challenger."""
    champion: float | None
    rise: float
    """``after`` less ``before``."""
    budget: float
    within: bool
    """The rise does not exceed the budget."""


def general_probe() -> list[Record]:
    """Return the frozen questions with their answers."""
    lines = [json.loads(line) for line in PROBE.read_text(encoding="utf-8").splitlines()]
    assert lines, f"the package lacks its probe {PROBE}"
    return [
        Record((Message("user", line["question"]), Message("assistant", line["answer"])), f"{PROBE.name}:{number}")
        for number, line in enumerate(lines, start=1)
    ]


def forgetting(losses: Mapping[str, float], budget: float) -> General:
    """Compare the mean losses of ``base``, ``challenger`` and, if there is one, ``champion``.

    A loss that is no number is over any budget.
    """
    rise = losses["challenger"] - losses["base"]
    return General(losses["base"], losses["challenger"], losses.get("champion"), rise, budget, within=rise <= budget)

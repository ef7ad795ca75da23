"""What is searched: everything that makes one LoRA another, within what the server can load."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from loramill.config import LearningConfig, SearchConfig, Settings
from loramill.errors import ConfigError
from loramill.pack.methods import CARRIED

T = TypeVar("T")
ATTENTION = frozenset({"q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj", "c_attn", "query_key_value", "dense"})
"""Names that the layers of an attention have in the common architectures."""
NO_RANK = frozenset({"ia3", "prefix"})
"""Methods without a rank: neither it nor alpha is searched for them."""
GRID_RATES = 4
"""Learning rates of a grid."""


class Asking(Protocol):
    """The part of an Optuna trial that the space speaks to."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Choose."""
        ...

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        """Choose from a range."""
        ...


@dataclass(frozen=True)
class Space:
    """A search space on one base."""

    config: SearchConfig
    learning: LearningConfig
    layers: tuple[str, ...]
    """Names of the base's linear layers but the head."""

    def ask(self, trial: Asking) -> Settings:
        """Let a trial choose; a parameter with one value is not asked for, and those of other branches neither."""
        config, learning = self.config, self.learning
        rate = trial.suggest_float("rate_at_rank_8", config.learning_rate.low, config.learning_rate.high, log=True)
        chosen: dict[str, Any] = {}
        for name, choices in (("method", config.method), ("dropout", config.dropout), ("epochs", config.epoch_choices)):
            if choices:
                chosen[name] = _choice(trial, name, choices)
        if modules := _choice(trial, "modules", self._modules()):
            chosen["target_modules"] = tuple(modules.split("+"))
        method = chosen.get("method", learning.method)
        if method not in NO_RANK:
            ranks = self._ranks(method)
            name = "rank" if ranks == config.rank else f"rank_{method}"
            chosen["rank"] = _choice(trial, name, ranks)
            chosen["alpha_ratio"] = _choice(trial, "alpha_ratio", config.alpha_ratio)
        rank = chosen.get("rank", learning.batch)
        return Settings(learning_rate=shifted(rate, rank, learning.batch), **chosen)

    def at_rank(self, settings: Settings, rank: int) -> Settings:
        """Return the same settings at another rank, with the rate that belongs to it."""
        rate = settings.learning_rate * math.sqrt(settings.rank / rank)
        return settings.model_copy(update={"rank": rank, "learning_rate": _short(rate)})

    def ranks_of(self, settings: Settings) -> tuple[int, ...]:
        """Return the ranks that these settings may have, smallest first."""
        method = settings.method or self.learning.method
        return (settings.rank,) if method in NO_RANK else tuple(sorted(set(self._ranks(method))))

    def _ranks(self, method: str) -> tuple[int, ...]:
        copies, cap = 2 if method in CARRIED else 1, self.config.limits.max_rank
        ranks = tuple(rank for rank in self.config.rank if cap is None or rank * copies <= cap)
        if not ranks:
            raise ConfigError(
                f"{method} exports twice its rank, so no rank of {list(self.config.rank)} fits search.limits.max_rank "
                f"({cap}); try rank {max(1, (cap or 2) // 2)}, or another method"
            )
        return ranks

    def _modules(self) -> tuple[str, ...]:
        """Return the choices of layers as words; the empty word leaves it to ``learning``."""
        allowed = self.config.limits.modules
        asked = self.config.modules or ((self.learning.target_modules,) if allowed else ())
        return tuple(self._word(choice, allowed) for choice in asked) or ("",)

    def _word(self, choice: str | tuple[str, ...], allowed: tuple[str, ...]) -> str:
        if choice in ("all-linear", ("all-linear",)):
            names = tuple(name for name in self.layers if name in allowed) if allowed else ("all-linear",)
        elif choice == "attention":
            names = tuple(name for name in self.layers if name in ATTENTION)
        else:
            names = tuple(choice)
        if allowed and (barred := [name for name in names if name not in allowed]):
            raise ConfigError(
                f"search.modules {choice!r} holds {barred[0]}, which search.limits.modules does not allow; take it out"
            )
        if not names:
            raise ConfigError(f"search.modules {choice!r} means no layer of this base; it has {', '.join(self.layers)}")
        return "+".join(names)


def shifted(rate: float, rank: int, batch: int) -> float:
    """Return the learning rate for a rank and a batch, from one for rank 8 and batch 8.

    Adam's noise grows with the root of the batch; with alpha in proportion to the rank, so does an update with the rank's.
    It is where the search begins, not a law: within the range the trials decide.
    """
    return _short(rate * math.sqrt(batch / rank))


def linear_layers(model: Any) -> tuple[str, ...]:
    """Return the names of a model's linear layers, without the head."""
    from torch import nn

    head = model.get_output_embeddings()
    found = {
        name.rsplit(".", 1)[-1]
        for name, part in model.named_modules()
        if isinstance(part, nn.Linear) and part is not head
    }
    return tuple(sorted(found))


@dataclass(frozen=True)
class Point:
    """Answers like a trial from a fixed point: one number between 0 and 1 for each parameter, in the order asked."""

    place: tuple[float, ...]
    given: dict[str, Any]
    """What was answered."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Take the choice that the number falls on."""
        return self._give(name, choices[int(self._next() * len(choices))])

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        """Take the value that lies so far between the ends."""
        share = self._next()
        return float(self._give(name, low * (high / low) ** share if log else low + (high - low) * share))

    def _next(self) -> float:
        return self.place[len(self.given)]

    def _give(self, name: str, value: T) -> T:
        self.given[name] = value
        return value


def grid(space: Space) -> list[dict[str, Any]]:
    """Return every combination of the choices, the learning rate at `GRID_RATES` places; branches that do not ask are cut."""
    cells: list[dict[str, Any]] = []
    waiting: list[tuple[Any, ...]] = [()]
    while waiting:
        path = waiting.pop(0)
        branch = _Branch(path)
        try:
            space.ask(branch)
            cells.append(branch.given)
        except _OpenError as reached:
            waiting += [(*path, choice) for choice in reached.choices]
    return cells


class _OpenError(Exception):
    """A branch came to a parameter that it has no choice for."""

    def __init__(self, choices: Sequence[Any]) -> None:
        self.choices = choices


class _Branch:
    """Answers like a trial along one path through the choices."""

    def __init__(self, path: tuple[Any, ...]) -> None:
        self._path = path
        self.given: dict[str, Any] = {}

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        if len(self.given) == len(self._path):
            raise _OpenError(choices)
        self.given[name] = self._path[len(self.given)]
        return self.given[name]

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        steps = [step / (GRID_RATES - 1) for step in range(GRID_RATES)]
        places = [low * (high / low) ** step if log else low + (high - low) * step for step in steps]
        return float(self.suggest_categorical(name, sorted(set(places))))


def _choice(trial: Asking, name: str, choices: Sequence[Any]) -> Any:
    return choices[0] if len(choices) == 1 else trial.suggest_categorical(name, choices)


def _short(rate: float) -> float:
    return float(f"{rate:.6g}")


def settings_of(facts: Mapping[str, Any]) -> Settings:
    """Read settings back from a record."""
    return Settings.model_validate(facts)

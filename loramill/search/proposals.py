"""Who proposes, in one order for ever: trial n is asked for right after trial n - lag was told, whatever ran when.

The sampler lives in a study in memory that replays this order. What it knows therefore depends on recorded results alone: not
on the size of a pack, on the number of workers, or on when the process was killed. Where trials are pruned, what it is told is
the loss at the first check: all that have not failed by then have it, and it is there long before a trial ends.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from loramill.config import SearchConfig, Settings
from loramill.search.space import Point, Space, grid

if TYPE_CHECKING:
    from optuna import Study
    from optuna.samplers import BaseSampler
    from optuna.trial import Trial

LEAST_KNOWN = 4
"""Results that a sampler must know before it proposes; until then trials are spread evenly over the space."""
STRIDES = np.array([(5**0.5 - 1) / 2, 2**0.5, 3**0.5, 7**0.5, 11**0.5, 13**0.5, 17**0.5, 19**0.5])
"""Steps of an even spread, one for each parameter in the order asked: no two of them ever fall into step."""


@dataclass(frozen=True)
class Result:
    """What the sampler may know of a trial."""

    state: str
    """``complete`` or ``fail``."""
    value: float | None


@dataclass(frozen=True)
class Proposal:
    """Settings and the parameters that they were made from."""

    settings: Settings
    params: dict[str, Any]
    distributions: dict[str, Any]


class Proposals:
    """The proposals of one search, by number."""

    def __init__(self, space: Space) -> None:
        self._space, self._config = space, space.config
        self._study = _study(self._config)
        self._asked: list[tuple[Trial, Proposal]] = []
        self._cells = _shuffled(grid(space), self._config.seed) if self._config.sampler == "grid" else []

    @property
    def count(self) -> int:
        """Proposals that there are; a grid may end before the trials do."""
        return min(self._config.trials, len(self._cells)) if self._cells else self._config.trials

    def of(self, number: int, result_of: Callable[[int], Result]) -> Proposal:
        """Return a proposal; ``result_of`` must know every trial up to ``number - lag``."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # samplers warn of branches, and of being experimental
            while len(self._asked) <= number:
                self._advance(result_of)
        return self._asked[number][1]

    def _advance(self, result_of: Callable[[int], Result]) -> None:
        number, lag = len(self._asked), self._config.lag
        if number >= lag:
            _tell(self._study, self._asked[number - lag][0], result_of(number - lag))
        if (fixed := self._given(number)) is not None:
            self._study.enqueue_trial(fixed)
        trial = self._study.ask()
        settings = self._space.ask(trial)
        self._asked.append((trial, Proposal(settings, dict(trial.params), dict(trial.distributions))))

    def _given(self, number: int) -> dict[str, Any] | None:
        """Return the parameters of a trial that no sampler chooses."""
        config = self._config
        if config.sampler == "grid":
            return self._cells[number]
        if config.sampler == "random" or number - config.lag + 1 >= LEAST_KNOWN:
            return None
        point = Point(_spread(number, config.seed), {})
        self._space.ask(point)
        return point.given


def _spread(number: int, seed: int) -> tuple[float, ...]:
    """Return a point of a sequence that fills the unit cube evenly from its first points on (Richtmyer, 1951)."""
    start = np.random.default_rng(seed).random(len(STRIDES))
    return tuple(float(value) for value in np.mod(start + number * STRIDES, 1.0))


def _shuffled(cells: list[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    return [cells[place] for place in np.random.default_rng(seed).permutation(len(cells))]


def _study(config: SearchConfig) -> "Study":
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return optuna.create_study(sampler=_sampler(config), direction="minimize")


def _sampler(config: SearchConfig) -> "BaseSampler":
    from optuna.samplers import CmaEsSampler, GPSampler, RandomSampler, TPESampler

    seed = config.seed
    if config.sampler == "tpe":
        return TPESampler(seed=seed, n_startup_trials=1, constant_liar=True, multivariate=True)
    if config.sampler == "gp":
        return GPSampler(seed=seed, n_startup_trials=1)
    if config.sampler == "cmaes":
        return CmaEsSampler(seed=seed, n_startup_trials=1, warn_independent_sampling=False)
    return RandomSampler(seed=seed)


def _tell(study: "Study", trial: "Trial", result: Result) -> None:
    from optuna.trial import TrialState

    if result.state == "complete":
        study.tell(trial, result.value)
    else:
        study.tell(trial, state=TrialState.FAIL)

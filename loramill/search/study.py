"""The search: Optuna proposes, a pack tries, and a kill at any moment changes nothing but the time.

Trials come in batches of one pack. Each proposal has a sampler seeded by the trial's number and sees finished batches only, so
that a study that was killed proposes what it would have proposed. Trials that were under way are trained again from their
checkpoint and told under their old numbers.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loramill.config import SearchConfig, Settings
from loramill.errors import TrainingError
from loramill.search.space import distributions, settings_of

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial, Trial


HALVING_NEEDS = 4
"""Trials that must have reached an epoch before one of them is pruned there."""


@dataclass(frozen=True)
class Trying:
    """A trial that is to be trained now."""

    number: int
    settings: Settings
    report: Callable[[int, float], bool]
    """Tell its validation loss after an epoch; True means prune."""


@dataclass(frozen=True)
class Tried:
    """A trial's end."""

    number: int
    settings: Settings
    loss: float | None
    """Best validation loss (nats per token); none if it diverged."""
    state: str


def open_study(name: str, storage: Path | str) -> "Study":
    """Open or create the study; ``storage`` is a SQLite file or a database address."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    url = storage
    if isinstance(storage, Path):
        storage.parent.mkdir(parents=True, exist_ok=True)
        url = f"sqlite:///{storage.resolve()}"
    return optuna.create_study(study_name=name, storage=str(url), load_if_exists=True, direction="minimize")


def batches(study: "Study", config: SearchConfig) -> Iterator[list[Trying]]:
    """Yield the trials of each pack until ``config.trials`` are told; first those that a kill left under way."""
    for first in range(0, config.trials, config.pack):
        numbers = range(first, min(first + config.pack, config.trials))
        while len(study.get_trials(deepcopy=False)) < numbers.stop:
            study.sampler = _sampler(config.seed + len(study.get_trials(deepcopy=False)))
            study.ask(distributions(config))
        waiting = [_open_trial(study, number) for number in numbers]
        if trying := [trial for trial in waiting if trial is not None]:
            yield trying


def tell(study: "Study", number: int, loss: float | None, state: str) -> None:
    """Note a trial's end: ``finished`` and ``stopped early`` count, ``pruned`` and ``diverged`` are kept as such."""
    from optuna.trial import TrialState

    if loss is None or state == "diverged":
        study.tell(number, state=TrialState.FAIL)
    elif state == "pruned":
        study.tell(number, state=TrialState.PRUNED)
    else:
        study.tell(number, loss)


def results(study: "Study") -> list[Tried]:
    """Return all trials that ended, in order of their numbers."""
    ended = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    return [Tried(t.number, settings_of(t.params), _best_seen(t), t.state.name.lower()) for t in ended]


def best(study: "Study") -> Tried:
    """Return the trial with the lowest validation loss.

    Raises:
        TrainingError: no trial ended with a loss.
    """
    complete = [trial for trial in results(study) if trial.state == "complete"]
    tried = [trial for trial in complete if trial.loss is not None and math.isfinite(trial.loss)]
    if not tried:
        states = ", ".join(trial.state for trial in results(study)) or "none was tried"
        raise TrainingError(
            f"the search found nothing that learns ({states}); lower search.learning_rate.high and try again"
        )
    return min(tried, key=lambda trial: (trial.loss, trial.number))


def _best_seen(trial: "FrozenTrial") -> float | None:
    seen = [value for value in trial.intermediate_values.values() if value == value]
    if trial.state.name == "FAIL":
        return None
    return trial.value if trial.value is not None else min(seen, default=None)


def _open_trial(study: "Study", number: int) -> Trying | None:
    import optuna

    frozen = study.get_trials(deepcopy=False)[number]
    if frozen.state.is_finished():
        return None
    live = optuna.trial.Trial(study, frozen._trial_id)
    return Trying(number, settings_of(frozen.params), _reporter(study, live))


def _reporter(study: "Study", trial: "Trial") -> Callable[[int, float], bool]:
    def report(epoch: int, loss: float) -> bool:
        if epoch not in study.get_trials(deepcopy=False)[trial.number].intermediate_values:
            trial.report(loss, epoch)
        return _is_hopeless(study, trial.number, epoch, loss)

    return report


def _is_hopeless(study: "Study", number: int, epoch: int, loss: float) -> bool:
    """Successive halving: at each epoch a trial must be in the better half of those with lower numbers and itself.

    It depends on recorded values only, so a search that was killed prunes the same trials as one that was not.
    """
    earlier = [trial.intermediate_values.get(epoch) for trial in study.get_trials(deepcopy=False)[:number]]
    rivals = sorted([value for value in earlier if value is not None] + [loss])
    return len(rivals) >= HALVING_NEEDS and loss > rivals[(len(rivals) - 1) // 2]


def _sampler(seed: int) -> Any:
    from optuna.samplers import TPESampler

    return TPESampler(seed=seed, n_startup_trials=4, constant_liar=True)


def names(trying: Sequence[Trying]) -> dict[str, Trying]:
    """Return trials by the name of their pack member."""
    return {f"trial{trial.number}": trial for trial in trying}

"""Search rank, alpha and learning rate: each batch of trials is one pack on the one base."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from loramill.config import SearchConfig, Settings
from loramill.pack.members import Pack
from loramill.search.study import Tried, Trying, batches, best, names, results, tell
from loramill.training.course import Course
from loramill.training.loop import Listener, Outcome, Tick, fit

if TYPE_CHECKING:
    from optuna import Study


@dataclass(frozen=True)
class Trial:
    """One trial that ended, with its curves."""

    number: int
    settings: Settings
    outcome: Outcome


def search(  # noqa: PLR0913 - four things to search with, four that hear of it or keep it
    pack: Pack,
    study: "Study",
    config: SearchConfig,
    course: Course,
    *,
    tokens_per_pass: int,
    listener: Listener,
    on_trial: Callable[[Trial], None],
    checkpoint: Path,
) -> tuple[Tried, list[Tried]]:
    """Try settings until the budget is spent; return the best trial and all of them.

    Args:
        pack: the base that every trial shares.
        study: what was tried so far; it is continued.
        config: space and budget.
        course: rows and everything else that all trials have in common.
        tokens_per_pass: tokens in one forward pass.
        listener: hears of steps and notes.
        on_trial: hears of each trial's end.
        checkpoint: where a pack that is under way is kept.

    Raises:
        TrainingError: nothing that was tried learns.
    """
    for trying in batches(study, config):
        trials = names(trying)
        courses = [_course(course, name, trial.settings) for name, trial in trials.items()]
        outcomes = fit(
            pack,
            courses,
            tokens_per_pass=tokens_per_pass,
            listener=_Pruning(listener, trials, (trying[0].number // config.pack) * courses[0].steps, config),
            checkpoint=checkpoint,
            save_steps=max(1, course.steps_per_epoch),
        )
        for name, trial in trials.items():
            progress = outcomes[name].progress
            tell(study, trial.number, progress.best_loss, progress.status)
            on_trial(Trial(trial.number, trial.settings, outcomes[name]))
    return best(study), results(study)


def trial_steps(config: SearchConfig, course: Course) -> int:
    """Return the steps of the whole search, for a progress bar: those of one pack after the other."""
    packs = -(-config.trials // config.pack)
    return packs * course.steps_per_epoch * config.epochs


def _course(course: Course, name: str, settings: Settings) -> Course:
    shape = replace(course.shape, rank=settings.rank, alpha=settings.alpha)
    return replace(course, name=name, shape=shape, learning_rate=settings.learning_rate)


class _Pruning:
    """Passes everything on, and lets the study decide after each epoch which trial has no chance."""

    def __init__(self, listener: Listener, trials: Mapping[str, Trying], before: int, config: SearchConfig) -> None:
        self._listener, self._trials = listener, trials
        self._before, self._config = before, config

    def on_tick(self, tick: Tick) -> None:
        """Count the steps of earlier packs as well."""
        packs = -(-self._config.trials // self._config.pack)
        self._listener.on_tick(replace(tick, done=self._before + tick.done, total=packs * tick.total))

    def on_epoch(self, name: str, epoch: int, validation_loss: float) -> bool:
        """Prune what the study finds hopeless."""
        self._listener.on_epoch(name, epoch, validation_loss)
        return epoch > 0 and self._trials[name].report(epoch, validation_loss)

    def on_end(self, outcome: Outcome) -> Course | None:
        """Leave the place empty: the next batch brings the next trials."""
        return self._listener.on_end(outcome)

    def on_note(self, text: str) -> None:
        """Pass it on."""
        self._listener.on_note(text)

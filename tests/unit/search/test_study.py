import math
from collections.abc import Callable
from pathlib import Path

import pytest

from loramill.config import SearchConfig, Settings
from loramill.errors import TrainingError
from loramill.search.space import settings_of
from loramill.search.study import Tried, Trying, batches, best, names, open_study, results, tell

CONFIG = SearchConfig(trials=5, pack=4, epochs=2, seed=7)

MEMORY = "sqlite:///:memory:"
"""Nothing that is killed needs a file."""


@pytest.fixture(autouse=True)
def _imported(quietly: Callable[[str], None]) -> None:
    quietly("optuna")


class KilledError(Exception):
    """Stands for kill -9."""


def loss(settings: Settings, epoch: int) -> float:
    """A valley at rank 8 and rate 6e-3, deeper with each epoch."""
    return abs(settings.rank - 8) / 8 + abs(math.log(settings.learning_rate / 6e-3)) + 1 / epoch


def run(storage: Path, config: SearchConfig = CONFIG, kill: tuple[str, int] = ("", 0)) -> list[Tried]:
    """Search in the valley; ``kill`` names the event and the trial at which the process dies."""
    study = open_study("law", storage)

    def event(name: str, number: int) -> None:
        if (name, number) == kill:
            raise KilledError

    for trying in batches(study, config):
        for trial in trying:
            event("asked", trial.number)
        ended = taught(trying, config.epochs, event)
        for trial in trying:
            state = "pruned" if trial.number in ended else "finished"
            tell(study, trial.number, loss(trial.settings, config.epochs), state)
            event("told", trial.number)
    return results(study)


def taught(trying: list[Trying], epochs: int, event: Callable[[str, int], None]) -> set[int]:
    """Report every epoch of every trial that is not pruned; return those that are."""
    ended: set[int] = set()
    for epoch in range(1, epochs + 1):
        for trial in trying:
            if trial.number not in ended and trial.report(epoch, loss(trial.settings, epoch)):
                ended.add(trial.number)
            event(f"epoch {epoch}", trial.number)
    return ended


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, quietly: Callable[[str], None]) -> list[Tried]:
    """A search that nobody disturbed."""
    quietly("optuna")
    return run(tmp_path_factory.mktemp("study") / "whole.db")


def test_the_same_seed_proposes_the_same(tmp_path: Path, whole: list[Tried]) -> None:
    first, second = whole, run(tmp_path / "b.db")
    assert first == second
    assert [trial.number for trial in first] == list(range(5))
    assert len({trial.settings for trial in first}) == 5


def test_another_seed_proposes_others(tmp_path: Path) -> None:
    few = SearchConfig(trials=2, pack=2, seed=7)
    other = SearchConfig(trials=2, pack=2, seed=8)
    assert [t.settings for t in run(tmp_path / "a.db", few)] != [t.settings for t in run(tmp_path / "b.db", other)]


def test_proposals_stay_in_their_space(whole: list[Tried]) -> None:
    for trial in whole:
        assert trial.settings.rank in CONFIG.rank
        assert trial.settings.alpha_ratio in CONFIG.alpha_ratio
        assert CONFIG.learning_rate.low <= trial.settings.learning_rate <= CONFIG.learning_rate.high


@pytest.mark.parametrize(
    "kill",
    [("epoch 2", 2), ("told", 1), ("asked", 4)],
    ids=lambda kill: f"{kill[0]} {kill[1]}",
)
def test_a_study_that_was_killed_proposes_and_ends_as_one_that_was_not(
    tmp_path: Path, kill: tuple[str, int], whole: list[Tried]
) -> None:
    with pytest.raises(KilledError):
        run(tmp_path / "killed.db", kill=kill)
    assert run(tmp_path / "killed.db") == whole


def test_a_study_that_ended_proposes_nothing(tmp_path: Path) -> None:
    few = SearchConfig(trials=1, pack=4)
    run(tmp_path / "a.db", few)
    assert list(batches(open_study("law", tmp_path / "a.db"), few)) == []


def test_batches_are_as_large_as_a_pack() -> None:
    study = open_study("law", MEMORY)
    sizes = []
    for trying in batches(study, CONFIG):
        sizes.append(len(trying))
        assert list(names(trying)) == [f"trial{trial.number}" for trial in trying]
        for trial in trying:
            tell(study, trial.number, 1.0, "finished")
    assert sizes == [4, 1]


def test_halving_keeps_the_better_half_and_spares_the_first_three() -> None:
    study = open_study("law", MEMORY)
    (trying,) = batches(study, SearchConfig(trials=8, pack=8))
    losses = [9.0, 8.0, 7.0, 7.5, 7.4, 1.0, 7.0, 7.1]
    assert [trial.report(1, value) for trial, value in zip(trying, losses, strict=True)] == [
        False,  # too few to compare with
        False,
        False,
        False,  # second of four
        False,  # second of five
        False,
        False,  # 1, 7, 7, ... equal to the middle is no reason
        False,
    ]
    assert trying[3].report(2, 1.0) is False  # nobody else was there yet
    study = open_study("shop", MEMORY)
    (trying,) = batches(study, SearchConfig(trials=4, pack=4))
    assert [trial.report(1, value) for trial, value in zip(trying, [1.0, 2.0, 3.0, 2.5], strict=True)][3] is True


def test_the_lowest_loss_of_a_whole_trial_is_the_best() -> None:
    study = open_study("law", MEMORY)
    (trying,) = batches(study, SearchConfig(trials=5, pack=5))
    trying[2].report(1, 0.5)
    for number, (value, state) in enumerate(
        [(3.0, "finished"), (2.0, "stopped early"), (0.5, "pruned"), (0.1, "diverged"), (2.0, "finished")]
    ):
        tell(study, number, value, state)
    assert best(study).number == 1
    assert [(t.state, t.loss) for t in results(study)] == [
        ("complete", 3.0),
        ("complete", 2.0),
        ("pruned", 0.5),
        ("fail", None),
        ("complete", 2.0),
    ]


def test_a_search_in_which_nothing_learns_is_refused() -> None:
    study = open_study("law", MEMORY)
    (trying,) = batches(study, SearchConfig(trials=2, pack=2))
    for trial in trying:
        tell(study, trial.number, 9.9, "diverged")
    with pytest.raises(
        TrainingError,
        match=r"found nothing that learns \(fail, fail\); lower search\.learning_rate\.high and try again",
    ):
        best(study)


def test_a_search_that_never_saw_a_finite_loss_is_refused() -> None:
    study = open_study("law", MEMORY)
    (trying,) = batches(study, SearchConfig(trials=1, pack=1))
    tell(study, trying[0].number, float("inf"), "stopped early")
    with pytest.raises(TrainingError, match="found nothing that learns"):
        best(study)


def test_a_search_of_nothing_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"found nothing that learns \(none was tried\)"):
        best(open_study("law", MEMORY))


def test_proposals_are_checked_as_settings() -> None:
    params = {"rank": 4, "alpha_ratio": 2.0, "learning_rate": 1e-3}
    assert settings_of(params) == Settings(rank=4, alpha_ratio=2.0, learning_rate=1e-3)
    with pytest.raises(ValueError, match="learning_rat"):
        settings_of(params | {"learning_rat": 1})

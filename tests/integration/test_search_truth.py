"""Whole searches in worlds whose truth is known, ten seeds each, and searches that are killed at random moments."""

import math
import os
import sqlite3
import warnings
from pathlib import Path

import pytest

from loramill.config import SearchConfig, Settings
from tests.unit.search.play import KilledError, Pack, dreamt, facts, killing, noisy, searched, valley

WORLDS = 10
REPEATED = SearchConfig(trials=16, pack=4, epochs=4, repeats=3, rank=(4, 8, 16, 32))
SMALL = SearchConfig(trials=6, epochs=4, lag=4, pack=3, folds=2)
OBJECTIVE = noisy(valley)


@pytest.fixture(autouse=True, scope="module")
def _imported() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import optuna  # noqa: F401


def level(settings: Settings, check: int) -> float:
    """Every setting is as good as any other."""
    return 2 + 0.5 / check


@pytest.mark.parametrize("repeats", [0, 3])
@pytest.mark.parametrize("truth", [valley, level])
def test_ranks_that_are_equally_good_are_called_indistinguishable(truth, repeats: int) -> None:  # type: ignore[no-untyped-def]
    said = []
    for world in range(WORLDS):
        config = REPEATED.model_copy(update={"repeats": repeats, "seed": world})
        found, _ = dreamt(config, Pack(noisy(truth, world=world), 4))
        said.append(found.said)
    right = [words for words in said if words.startswith("ranks 4 to 32 are indistinguishable here: taking")]
    assert len(right) >= 9, said
    if repeats:
        assert [words for words in right if words.endswith("taking 4")] == right


def test_a_learning_rate_that_is_clearly_better_is_found() -> None:
    near = []
    for world in range(WORLDS):
        found, _ = dreamt(REPEATED.model_copy(update={"seed": world}), Pack(noisy(valley, world=world), 4))
        rate = found.settings.learning_rate * math.sqrt(found.settings.rank / 8)
        near.append(abs(math.log(rate / 6e-3)) < math.log(1.5))
    assert sum(near) >= 9


@pytest.mark.parametrize("seed", range(3))
def test_killed_three_times_ends_as_left_alone(tmp_path: Path, seed: int) -> None:
    alone = dreamt(SMALL, Pack(OBJECTIVE, 3))
    ended: list[str] = []
    for kill in range(3):
        pack = Pack(OBJECTIVE, 3, killing(10 * seed + kill, 6))
        with pytest.raises(KilledError):
            searched(tmp_path / "study.db", SMALL, pack)
        ended += pack.log
        _die(tmp_path / "study.db")
    last = Pack(OBJECTIVE, 3)
    found, entries = searched(tmp_path / "study.db", SMALL, last)
    assert (found, facts(entries)) == (alone[0], facts(alone[1]))
    ended += last.log
    assert len(ended) == len(set(ended)), "a training that had ended was made again"


def _die(path: Path) -> None:
    """Make the claims of this process look like those of one that is gone."""
    with sqlite3.connect(path) as connection:
        connection.execute("update loramill_claims set worker = replace(worker, :own, :gone)", _gone())
    connection.close()


def _gone() -> dict[str, str]:
    return {"own": f":{os.getpid()}:", "gone": ":999999999:"}

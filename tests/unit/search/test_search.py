"""Whole searches without a model: the same whatever the pack, the kills and the workers."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from loramill.config import SearchConfig, Settings
from loramill.errors import ConfigError, TrackingError, TrainingError
from loramill.search.claims import Claim, Claims, place_of_own
from loramill.search.pruning import CHECKS
from loramill.search.rounds import Job, Round
from loramill.search.study import Record, storage_of
from tests.unit.search.play import Pack, dreamt, facts, noisy, searched, valley

SMALL = SearchConfig(trials=9, epochs=4, lag=4, pack=3)
OBJECTIVE = noisy(valley)


@pytest.fixture(autouse=True)
def _imported(quietly: Callable[[str], None]) -> None:
    quietly("optuna")


@pytest.mark.parametrize("sampler", ["tpe", "gp", "cmaes", "random", "grid"])
def test_the_pack_changes_no_trial(sampler: str, quietly: Callable[[str], None]) -> None:
    quietly("cmaes")
    trials = 8 if sampler == "gp" else 12
    config = SearchConfig(trials=trials, epochs=4, lag=3, sampler=sampler)
    runs = [dreamt(config, Pack(OBJECTIVE, pack)) for pack in ((1, 4) if sampler == "gp" else (1, 2, 4, 12))]
    assert len({entry.settings for entry in runs[0][1]}) == trials
    for found, entries in runs[1:]:
        assert found == runs[0][0]
        assert facts(entries) == facts(runs[0][1])


@pytest.mark.parametrize("pruner", ["halving", "hyperband", "none"])
@pytest.mark.parametrize("folds", [1, 3])
def test_the_pack_changes_no_pruning(pruner: str, folds: int) -> None:
    config = SearchConfig(trials=14, epochs=8, lag=1, pruner=pruner, folds=folds, repeats=1)  # cohorts of 4, 4, 4 and 2
    packs = [Pack(OBJECTIVE, places) for places in (1, 2, 4)]
    runs = [dreamt(config, pack) for pack in packs]
    assert facts(runs[0][1]) == facts(runs[1][1]) == facts(runs[2][1])
    assert runs[0][0] == runs[1][0] == runs[2][0]
    pruned = [entry.number for entry in runs[0][1] if entry.state == "pruned"]
    assert pruned or pruner != "halving"
    whole = len(runs[0][1]) - len(pruned)
    finished = [line for line in packs[0].log if line.startswith("finished trial")]
    assert len(finished) == whole * folds, "a pruned trial costs less than one fold"
    assert len({pack.checks for pack in packs}) == 1, "no pack trains what counts for nothing"


def test_no_place_is_free_while_a_trial_is_due() -> None:
    """Some fall, some wait for their cohort: their places are taken by those that go on and by new ones."""
    pack = Pack(OBJECTIVE, 3)
    widths: list[int] = []
    plain = pack._train

    def counted(round: Round, running: list[Job]) -> list[Job]:
        widths.append(len(running))
        assert len(running) == 3 or round.next() is None
        return plain(round, running)

    pack._train = counted  # type: ignore[method-assign]
    dreamt(SearchConfig(trials=16), pack)
    assert set(widths) > {3}, "at the end few are left"
    assert pack.checks < 16 * CHECKS / 2.5


@pytest.mark.parametrize("pruner", ["halving", "none"])
def test_where_trials_are_pruned_a_proposal_follows_from_first_checks(pruner: str) -> None:
    """They are compared at one place of their schedules, and known long before an end."""
    config = SearchConfig(trials=12, lag=3, pruner=pruner)

    def turning(settings: Settings, check: int) -> float:
        return valley(settings, check) if check == 1 else 20 - valley(settings, check)

    proposed = [[entry.settings for entry in dreamt(config, Pack(noisy(loss), 3))[1]] for loss in (valley, turning)]
    assert (proposed[0] == proposed[1]) == (pruner == "halving")


def test_another_seed_proposes_others() -> None:
    first, second = (dreamt(SMALL.model_copy(update={"seed": seed}), Pack(OBJECTIVE, 3))[1] for seed in (7, 8))
    assert not {e.settings for e in first} & {e.settings for e in second}


def test_two_workers_share_the_trials(tmp_path: Path) -> None:
    alone = dreamt(SMALL, Pack(OBJECTIVE, 3))
    packs = [_Patient(OBJECTIVE, 2), _Patient(OBJECTIVE, 1)]
    ends: list[object] = []
    Record("law", tmp_path / "study.db")

    def work(pack: Pack) -> None:
        ends.append(searched(tmp_path / "study.db", SMALL, pack))

    workers = [threading.Thread(target=work, args=(pack,)) for pack in packs]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(ends) == 2
    for found, entries in ends:  # type: ignore[attr-defined]
        assert (found, facts(entries)) == (alone[0], facts(alone[1]))
    trained = [line for pack in packs for line in pack.log]
    assert len(trained) == len(set(trained)), "a trial was trained twice"
    assert all(pack.log for pack in packs)


class _Patient(Pack):
    """Waits where another worker has what is left."""

    def __call__(self, round: Round) -> None:
        import time

        while not round.is_over():
            running = round.take(self._places)
            while running:
                running = self._train(round, running)
            time.sleep(0.02)


def test_a_claim_is_had_by_one() -> None:
    from sqlalchemy import create_engine
    from sqlalchemy.pool import StaticPool

    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    one, two = Claims(engine, "law", 60), Claims(engine, "law", 60)
    assert one.take(0)
    assert not two.take(0)
    assert two.take(1)
    claim = two.all()[0]
    assert not two.is_dead(claim)
    third = Claims(engine, "law", 60)
    assert two.take_over(claim)
    assert not third.take_over(claim), "the claim that it saw is no more"
    assert two.all()[0].worker == two.worker
    seen = third.all()[0]
    two._beaten -= 1000
    two.beat()
    assert not third.take_over(seen), "its worker has shown that it lives"
    engine.dispose()


def test_a_worker_is_dead_when_its_process_is_gone_or_its_count_stands_still() -> None:
    import socket

    from sqlalchemy import create_engine
    from sqlalchemy.pool import StaticPool

    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    claims, hurried = Claims(engine, "law", 60), Claims(engine, "law", 0.0)
    assert claims.is_dead(Claim(0, f"{socket.gethostname()}:999999999:123:aa", 0))
    assert not claims.is_dead(Claim(0, "elsewhere:1:123:aa", 0))
    hurried.is_dead(Claim(1, "elsewhere:1:123:aa", 5))
    assert hurried.is_dead(Claim(1, "elsewhere:1:123:aa", 5))
    engine.dispose()


def test_workers_in_one_folder_keep_their_checkpoints_apart(tmp_path: Path) -> None:
    with place_of_own(tmp_path) as one, place_of_own(tmp_path) as two:
        assert (one.name, two.name) == ("checkpoint", "checkpoint-1")
    with place_of_own(tmp_path) as again:
        assert again == one


def test_a_trial_that_diverges_fails_and_the_others_go_on() -> None:
    def bursting(settings: Settings, check: int) -> float:
        return float("nan") if settings.learning_rate > 1e-2 else valley(settings, check)

    config = SearchConfig(trials=12, epochs=4)
    found, entries = dreamt(config, Pack(noisy(bursting), 4))
    states = {entry.state for entry in entries if entry.settings.learning_rate > 1e-2}
    assert states == {"fail"}
    assert found.settings.learning_rate <= 1e-2
    assert len(entries) == 12


def test_one_that_diverges_after_its_first_check_fails_whatever_the_pack() -> None:
    def bursting(settings: Settings, check: int) -> float:
        return float("nan") if settings.rank < 16 and check > 1 else valley(settings, check)

    runs = [dreamt(SearchConfig(trials=12, lag=2), Pack(noisy(bursting), pack))[1] for pack in (1, 3, 5)]
    assert facts(runs[0]) == facts(runs[1]) == facts(runs[2])
    assert {"fail", "complete"} <= {entry.state for entry in runs[0]}


def test_a_search_in_which_nothing_learns_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"nothing that learns \(fail, fail\); lower search\.learning_rate\.high"):
        dreamt(SearchConfig(trials=2), Pack(noisy(lambda settings, check: float("nan")), 2))


def test_no_trial_begins_after_the_time_is_spent(tmp_path: Path) -> None:
    config = SearchConfig(trials=50, epochs=1, minutes=1e-5)
    _, entries = searched(tmp_path / "study.db", config, Pack(OBJECTIVE, 2))
    assert 1 <= len(entries) <= 3
    assert all(entry.state for entry in entries)


def test_a_study_goes_on_with_more_trials(tmp_path: Path) -> None:
    few = SMALL.model_copy(update={"trials": 4})
    _, before = searched(tmp_path / "study.db", few, Pack(OBJECTIVE, 2))
    more = Pack(OBJECTIVE, 2)
    _, after = searched(tmp_path / "study.db", SMALL, more)
    assert facts(after[:4]) == facts(before)
    assert not [line for line in more.log if int(line.split()[1].removeprefix("trial")) < 4], (
        "what ended was tried again"
    )


def test_the_environment_names_the_database_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "study.db"
    monkeypatch.delenv("LORAMILL_STUDY_STORAGE", raising=False)
    assert storage_of(None, file) == file
    assert storage_of("postgresql://host/law", file) == "postgresql://host/law"
    monkeypatch.setenv("LORAMILL_STUDY_STORAGE", "postgresql://me:secret@host/law")
    assert storage_of("postgresql://host/law", file) == "postgresql://me:secret@host/law"


@pytest.mark.parametrize(
    ("address", "error", "message"),
    [
        ("oracle+nowhere://me:secret@host/law", ConfigError, "driver|no address"),
        ("not an address", ConfigError, "is no address of a database"),
        ("postgresql://me:secret@127.0.0.1:1/law", TrackingError, "does not answer"),
    ],
)
def test_a_database_that_cannot_be_had_is_named_without_its_password(
    address: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        Record("law", address)
    assert "secret" not in str(caught.value)

"""A real MLflow on SQLite; the database is made once and copied, since a fresh one costs seconds."""

import logging
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loramill.errors import TrackingError
from loramill.tracking import (
    Diary,
    diary,
    entries,
    entry_of,
    find,
    open_diary,
    point,
    prepare_store,
    register,
    runs,
    tracking_uri,
)
from loramill.tracking import store as store_of_mlflow

BROKEN = "http://me:sec@ret@127.0.0.1:9"


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory, quietly: Callable[[str], None]) -> Path:
    """A database with all of MLflow's tables and nothing in them."""
    quietly("mlflow")
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
        prepare_store()
    return path


@pytest.fixture
def store(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A store of its own for one test, and a client to look into it."""
    from mlflow import MlflowClient

    uri = f"sqlite:///{shutil.copy(empty_store, tmp_path / 'mlflow.db')}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.chdir(tmp_path)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


@pytest.fixture
def broken(empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address at which nobody answers, with a password in it."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", BROKEN)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


def adapter(place: Path, content: str = "weights") -> Path:
    place.mkdir()
    (place / "adapter_model.safetensors").write_text(content)
    return place


def put(folder: Path, digest: str) -> Any:
    with open_diary("law", "promote", {}):
        return register(folder, digest=digest, facts={"base": "b"}, metrics={"test_loss": 1.5})


def test_without_an_address_the_store_lies_in_this_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert tracking_uri() == f"sqlite:///{tmp_path}/mlruns/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://there")
    assert tracking_uri() == "http://there"


def test_the_diary_keeps_what_is_written(store: Any, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("{}")
    with open_diary("law", "train by dvc", {"step": "train"}) as opened:
        assert diary() is opened
        opened.note({"adapter": "abc"})
        opened.settings({"training": {"learning": {"rank": 4}, "seed": 7}})
        opened.metrics({"rows": 3})
        opened.curve("train_loss", [3.0, 2.0, 1.0])
        opened.file(tmp_path / "report.json", "reports")
    run = store.get_run(opened.run_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "train by dvc")
    assert {"domain": "law", "step": "train", "adapter": "abc"}.items() <= run.data.tags.items()
    assert run.data.params == {"training.learning.rank": "4", "training.seed": "7"}
    assert run.data.metrics == {"rows": 3.0, "train_loss": 1.0}
    assert [(m.step, m.value) for m in store.get_metric_history(opened.run_id, "train_loss")] == [
        (0, 3.0),
        (1, 2.0),
        (2, 1.0),
    ]
    assert [file.path for file in store.list_artifacts(opened.run_id, "reports")] == ["reports/report.json"]
    assert diary().run_id == ""


def test_a_long_curve_is_kept_whole(store: Any) -> None:
    with open_diary("law", "train", {}) as opened:
        opened.curve("loss", [float(step) for step in range(1001)])
    assert len(store.get_metric_history(opened.run_id, "loss")) == 1001


def test_trials_are_runs_below_their_search(store: Any) -> None:
    with open_diary("law", "search", {}) as opened, opened.child("trial 1") as child:
        child.metrics({"loss": 2.0})
        assert diary() is opened
    run = store.get_run(child.run_id)
    assert run.data.tags["mlflow.parentRunId"] == opened.run_id
    assert (run.info.run_name, run.info.status, run.data.metrics) == ("trial 1", "FINISHED", {"loss": 2.0})
    assert run.info.experiment_id == store.get_run(opened.run_id).info.experiment_id


@pytest.mark.parametrize(("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_a_run_that_did_not_end_well_says_so(store: Any, error: type[BaseException], status: str) -> None:
    ids: list[str] = []

    def work() -> None:
        with open_diary("law", "train", {}) as opened:
            ids.append(opened.run_id)
            raise error("because")

    with pytest.raises(error, match="because"):
        work()
    assert store.get_run(ids[0]).info.status == status
    assert diary().run_id == ""


def test_a_broken_address_only_warns(broken: None, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    with caplog.at_level(logging.WARNING, "loramill"), open_diary("law", "train", {}) as opened:
        assert diary() is opened
        opened.note({"a": 1})
        opened.curve("loss", [1.0])
        with opened.child("trial 1") as child:
            child.metrics({"a": 1.0})
    messages = [record.getMessage() for record in caplog.records if record.name == "loramill"]
    assert len(messages) == 1
    assert messages[0].startswith("no diary for this run, the work goes on without it: ")


def test_an_entry_that_cannot_be_written_only_warns(
    store: Any, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    with caplog.at_level(logging.WARNING, "loramill"), open_diary("law", "train", {}) as opened:
        opened.file(tmp_path / "none.json")
        opened.metrics({"still": 1.0})
    assert "the diary missed an entry (file): " in caplog.text
    assert store.get_run(opened.run_id).data.metrics == {"still": 1.0}


def test_an_error_without_words_only_warns(
    store: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def nobody() -> None:
        raise TimeoutError

    monkeypatch.setattr(store_of_mlflow, "client", nobody)
    with caplog.at_level(logging.WARNING, "loramill"), open_diary("law", "train", {}):
        Diary("law", "some run").note({"a": 1})
    assert "no diary for this run, the work goes on without it: TimeoutError" in caplog.text
    assert "the diary missed an entry (note): TimeoutError" in caplog.text
    with pytest.raises(TrackingError, match=r"could not look up champion: .*TimeoutError"):
        find("law", "champion")


def test_a_password_is_in_no_message(broken: None, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    with caplog.at_level(logging.WARNING), open_diary("law", "train", {}):
        pass
    with pytest.raises(
        TrackingError, match=r"could not look up champion: MLflow at http://\*\*\*@127.0.0.1:9 says"
    ) as caught:
        find("law", "champion")
    for text in (caplog.text, str(caught.value)):
        assert "sec" not in text
        assert "ret@" not in text


def test_a_broken_registry_is_an_error_that_says_what_to_do(broken: None, tmp_path: Path) -> None:
    folder = adapter(tmp_path / "a")
    with pytest.raises(
        TrackingError, match=r"could not register the adapter: .*run the same command again when it answers"
    ):
        register(folder, digest="d", facts={}, metrics={})


def test_an_address_that_is_none_is_not_an_empty_registry(empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without this the champion would silently be left out of the comparison."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgres2://host/db")
    with pytest.raises(TrackingError, match="could not look up champion"):
        find("law", "champion")


def test_the_same_digest_is_one_version(store: Any, tmp_path: Path) -> None:
    folder = adapter(tmp_path / "a")
    first, again = put(folder, "d1"), put(folder, "d1")
    assert first == again
    assert (first.domain, first.number, first.digest) == ("law", "1", "d1")
    assert len(store.search_model_versions("name = 'law'")) == 1


def test_aliases_move_and_the_champions_folder_opens(store: Any, tmp_path: Path) -> None:
    first, second = put(adapter(tmp_path / "a", "one"), "d1"), put(adapter(tmp_path / "b", "two"), "d2")
    assert [first.number, second.number] == ["1", "2"]
    point("champion", first)
    point("challenger", second)
    served = find("law", "champion")
    assert (served.number, served.digest) == ("1", "d1")
    assert entry_of("law", "challenger") == second
    point("champion", second)
    found = find("law", "champion")
    assert (found.number, found.digest) == ("2", "d2")
    assert (found.folder / "adapter_model.safetensors").read_text() == "two"
    assert (served.folder / "adapter_model.safetensors").read_text() == "one"


def test_who_asks_for_a_number_fetches_no_files(store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetched(version: Any, domain: str) -> Path:
        raise AssertionError("a store elsewhere would send the whole adapter")

    monkeypatch.setattr("loramill.tracking.registry._folder", fetched)
    made = put(adapter(tmp_path / "a"), "d1")
    point("champion", made)
    assert entry_of("law", "champion") == made == entries("law")[0]
    assert entry_of("law", "challenger") is None
    with pytest.raises(AssertionError):
        find("law", "champion")


def test_nothing_is_found_where_nothing_was_registered(store: Any, tmp_path: Path) -> None:
    assert find("nobody", "champion") is None
    put(adapter(tmp_path / "a"), "d1")
    assert find("law", "champion") is None


def test_domains_do_not_share_versions(store: Any, tmp_path: Path) -> None:
    folder = adapter(tmp_path / "a")
    put(folder, "d1")
    with open_diary("shop", "promote", {}):
        assert register(folder, digest="d1", facts={}, metrics={}).number == "1"
    assert {model.name for model in store.search_registered_models()} == {"law", "shop"}


def test_mlflow_that_makes_the_work_wait_is_left_alone_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked: list[str] = []

    def locked() -> None:
        asked.append("asked")
        raise OSError("database is locked")

    monkeypatch.setattr(store_of_mlflow, "client", locked)
    written = Diary("law", "r1")
    for slow, count in ((60.0, 2), (-1.0, 3)):
        monkeypatch.setattr(runs, "SLOW_SECONDS", slow)
        assert not written.note({"a": 1})
        assert not written.note({"b": 2})
        assert len(asked) == count
    kept = next((tmp_path / "mlruns/outbox").rglob("r1.jsonl")).read_text(encoding="utf-8")
    assert kept.count('"note"') == 4
    monkeypatch.setattr(runs, "_left_alone", {})
    written.note({"c": 3})
    assert len(asked) == 4


def test_a_silent_diary_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_of_mlflow, "client", lambda: pytest.fail("it was asked"))
    silent = diary()
    silent.note({"a": 1})
    silent.file(tmp_path)
    with silent.child("trial") as child:
        assert child is silent

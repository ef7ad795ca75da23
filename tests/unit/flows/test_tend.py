from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from flows.locks import RUNS, dead_runs
from flows.tend import Rows, Tender, _revived, bury_own
from tasks.memory import SEEN


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def version(md5: str) -> None:
    Path("data.dvc").write_text(f"outs:\n- md5: {md5}\n  path: data\n", encoding="utf-8")


def test_a_new_version_of_the_rows_is_news_once() -> None:
    version("one")
    rows = Rows()
    assert rows.news() == ""
    version("two")
    assert rows.news() == "two"
    assert rows.news() == ""


def test_what_a_run_itself_wrote_is_no_news() -> None:
    version("one")
    rows = Rows()
    version("two")
    SEEN.parent.mkdir(parents=True)
    SEEN.write_text("two", encoding="utf-8")
    assert rows.news() == ""
    version("three")
    assert rows.news() == "three"


@pytest.mark.parametrize("half", ["", "outs:\n", "outs: [\n", "outs:\n- size: 3\n"])
def test_a_file_that_is_being_written_is_read_the_next_time(half: str) -> None:
    version("one")
    rows = Rows()
    Path("data.dvc").write_text(half, encoding="utf-8")
    assert rows.news() == ""
    version("two")
    assert rows.news() == "two"


def test_a_server_that_is_away_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(version: str) -> None:
        raise ConnectionError("no server")

    monkeypatch.setattr("flows.tend.tell_of_rows", away)
    version("one")
    tender = Tender()
    version("two")
    assert tender.look() == ["could not look after the runs: no server"]
    assert tender.look() == []  # not yet time again


def test_a_dead_run_is_taken_off_the_list_only_when_the_server_knows_that_it_goes_on() -> None:
    from prefect.client.schemas.objects import StateType

    run = str(UUID(int=7))
    RUNS.mkdir(parents=True)
    (RUNS / f"{run}.lock").touch()
    found = SimpleNamespace(id=run, name="n", state_type=StateType.RUNNING, deployment_id="d", run_count=1)

    def away(*words: object, **named: object) -> None:
        raise ConnectionError("no server")

    tasks = [SimpleNamespace(id=kind.name, state_type=kind) for kind in (StateType.RUNNING, StateType.COMPLETED)]
    ended: list[str] = []
    client: Any = SimpleNamespace(
        read_flow_run=lambda id: found,
        set_flow_run_state=away,
        read_task_runs=lambda flow_run_filter: tasks,
        set_task_run_state=lambda task, state, force: ended.append(f"{task}: {state.name}"),
    )
    with pytest.raises(ConnectionError):
        _revived(client, run, is_certain=True)
    assert dead_runs() == [run]
    assert ended == ["RUNNING: Crashed"]
    client.set_flow_run_state = lambda *words, **named: None
    assert "it goes on (attempt 2)" in _revived(client, run, is_certain=True)
    assert dead_runs() == []


@pytest.mark.parametrize(
    ("deployment", "said"), [(None, ["run n is dead: its process was killed"]), ("d", []), ("unknown", [])]
)
def test_who_types_a_run_buries_the_ones_typed_before_and_leaves_those_of_make_up(
    monkeypatch: pytest.MonkeyPatch, deployment: str | None, said: list[str]
) -> None:
    import httpx
    from prefect.client.schemas.objects import StateType
    from prefect.exceptions import ObjectNotFound

    run = str(UUID(int=7))
    RUNS.mkdir(parents=True)
    (RUNS / f"{run}.lock").touch()
    found = SimpleNamespace(id=run, name="n", state_type=StateType.RUNNING, deployment_id=deployment, run_count=1)

    def read(id: UUID) -> Any:
        if deployment == "unknown":
            raise ObjectNotFound(httpx.HTTPError("404"))
        return found

    states: list[str] = []
    client = SimpleNamespace(
        read_flow_run=read,
        set_flow_run_state=lambda id, state, force: states.append(state.name),
        read_task_runs=lambda flow_run_filter: [],
    )
    monkeypatch.setattr("prefect.client.orchestration.get_client", lambda sync_client: nullcontext(client))
    assert bury_own() == said
    assert states == ["Crashed"] * len(said)
    assert dead_runs() == ([] if said else [run])


def test_a_server_that_is_away_keeps_nobody_from_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(sync_client: bool) -> None:
        raise ConnectionError("no server")

    RUNS.mkdir(parents=True)
    (RUNS / "a.lock").touch()
    monkeypatch.setattr("prefect.client.orchestration.get_client", away)
    assert bury_own() == ["could not look after runs that were killed: no server"]

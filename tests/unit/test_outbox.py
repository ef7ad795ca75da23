from pathlib import Path
from typing import Any

import pytest

from loramill.tracking import Diary, open_diary, outbox, runs, store


class Server:
    """What is needed of MLflow; it can be away."""

    def __init__(self) -> None:
        self.is_away = False
        self.heard: list[tuple[object, ...]] = []

    def __getattr__(self, name: str) -> Any:
        def answer(*words: object, **named: object) -> Any:
            if self.is_away:
                raise ConnectionError("away")
            if name == "create_run":
                return Run()
            if "forbidden" in words:
                raise ValueError("no such name")
            if name != "search_experiments":
                self.heard.append((name, *words, *named.values()))
            return None

        return answer


class Run:
    class info:  # noqa: N801
        run_id = "r1"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.chdir(tmp_path)
    made = Server()
    monkeypatch.setattr(store, "client", lambda: made)
    monkeypatch.setattr(store, "experiment", lambda domain: "1")
    return made


def boxes(tmp_path: Path) -> list[Path]:
    return list(tmp_path.rglob("*.jsonl"))


def test_what_mlflow_missed_arrives_in_order_when_it_answers_again(server: Server, tmp_path: Path) -> None:
    with open_diary("law", "night", {}) as log:
        log.note({"first": 1})
        server.is_away = True
        assert not log.note({"second": 2})
        assert not log.metrics({"loss": 1.5}, 3)
        assert not log.file(tmp_path / "report.json", "reports")
    assert len(boxes(tmp_path)) == 1
    server.is_away = False
    with open_diary("law", "the next one", {}):
        pass
    assert boxes(tmp_path) == []
    assert server.heard[0] == ("set_tag", "r1", "first", "1")
    late = [entry for entry in server.heard if entry[0] != "set_terminated" or entry[-1] == "FINISHED"]
    assert late[-4:] == [
        ("set_tag", "r1", "second", "2"),
        ("log_metric", "r1", "loss", 1.5, 3),
        ("log_artifact", "r1", str(tmp_path / "report.json"), "reports"),
        ("set_terminated", "r1", "FINISHED"),
    ]


def test_a_part_of_a_curve_keeps_its_steps(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[tuple[str, str, object]] = []

    def curve(diary: Diary, name: str, values: object) -> None:
        heard.append((diary.run_id, name, values))

    curve.__wrapped__ = curve  # type: ignore[attr-defined]
    monkeypatch.setattr(Diary, "curve", curve)
    outbox.keep("law", "r1", "curve", ["loss", {7: 1.5}], {})
    assert outbox.deliver(runs._send) == 1
    assert heard == [("r1", "loss", {7: 1.5})]


def test_what_is_refused_for_ever_does_not_hold_up_the_rest(server: Server, tmp_path: Path) -> None:
    with open_diary("law", "night", {}) as log:
        log.note({"forbidden": 1})
        log.note({"allowed": 1})
    assert boxes(tmp_path) == []
    assert [entry[2] for entry in server.heard if entry[0] == "set_tag"] == ["allowed"]


def test_it_stays_in_the_box_while_mlflow_is_away(server: Server, tmp_path: Path) -> None:
    with open_diary("law", "night", {}) as log:
        server.is_away = True
        log.note({"late": 1})
    assert "late" in boxes(tmp_path)[0].read_text(encoding="utf-8")
    assert "_ended" in boxes(tmp_path)[0].read_text(encoding="utf-8")


def test_what_is_kept_while_the_box_is_emptied_is_not_lost(server: Server, tmp_path: Path) -> None:
    outbox.keep("law", "r1", "note", [{"first": 1}], {})

    def send(domain: str, run: str, method: str, arguments: list[Any], named: dict[str, Any]) -> None:
        sent.append(arguments)
        if len(sent) == 1:
            outbox.keep("law", "r1", "note", [{"second": 2}], {})

    sent: list[list[Any]] = []
    assert outbox.deliver(send) == 1
    assert len(boxes(tmp_path)) == 1
    assert outbox.deliver(send) == 1
    assert sent == [[{"first": 1}], [{"second": 2}]]
    assert boxes(tmp_path) == []


def test_a_file_arrives_as_it_was_when_it_was_kept(server: Server, tmp_path: Path) -> None:
    file, folder = tmp_path / "report.json", tmp_path / "folder"
    folder.mkdir()
    file.write_text("first", encoding="utf-8")
    (folder / "a.txt").write_text("first", encoding="utf-8")
    for path in (file, folder):
        outbox.keep("law", "r1", "file", [path, "reports"], {})
    file.write_text("of the next run", encoding="utf-8")
    (folder / "a.txt").unlink()
    arrived = []

    def send(domain: str, run: str, method: str, arguments: list[Any], named: dict[str, Any]) -> None:
        path = Path(arguments[0])
        arrived.append((path.name, (path / "a.txt" if path.is_dir() else path).read_text(encoding="utf-8")))

    assert outbox.deliver(send) == 2
    assert arrived == [("report.json", "first"), ("folder", "first")]
    assert not list(tmp_path.glob("mlruns/outbox/*/files/*"))

"""The commands about champions hand over what was typed; what they do is proven where the registry is."""

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from loramill import approval, cli, trace
from loramill.approval import Person
from loramill.errors import AdapterError
from loramill.tracking import Entry, write_audit
from tasks.reproduce import reproduce


def typed(*words: str) -> str:
    done = CliRunner().invoke(cli.app, list(words))
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize(
    ("words", "function", "expected"),
    [
        (("approve", "law", "--by", "王", "--reason", "好"), "approve", ("law", Person("王", "好"), None)),
        (
            ("reject", "law", "--by", "Li", "--reason", "rude", "--version", "4"),
            "reject",
            ("law", Person("Li", "rude"), "4"),
        ),
        (("rollback", "law", "--to", "2", "--by", "Li"), "rollback", ("law", Person("Li", "rolled back"), "2")),
    ],
)
def test_a_decision_is_handed_over_with_name_and_reason(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], function: str, expected: tuple[object, ...]
) -> None:
    monkeypatch.setattr(approval, function, lambda *given: f"done {given == expected}")
    assert typed(*words) == "done True\n"


def test_who_rolls_back_is_known_without_being_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approval, "whoever", lambda: "zhao")
    monkeypatch.setattr(approval, "rollback", lambda domain, person, number: str(person))
    assert typed("rollback", "law") == "zhao: rolled back\n"


@pytest.mark.parametrize(
    "words", [("approve", "law"), ("approve", "law", "--by", "Li"), ("reject", "law", "--reason", "x")]
)
def test_nobody_decides_without_name_and_reason(words: tuple[str, ...]) -> None:
    assert CliRunner().invoke(cli.app, list(words)).exit_code == 2


def test_history_and_trace_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approval, "history", lambda domain: [f"champions of {domain}", "versions"])
    assert typed("history", "law") == "champions of law\nversions\n"
    monkeypatch.setattr(trace, "trail", lambda digest: type("Found", (), {"told": {"adapter": digest, "data": "数据"}}))
    assert typed("trace", "abcdef") == "adapter: abcdef\ndata: 数据\n"


def test_a_forgotten_row_stands_in_the_history(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    known = Entry("law", "1", "a" * 64, "", datetime(2025, 1, 1, tzinfo=UTC))
    monkeypatch.setattr(approval, "champion_number", lambda domain: None)
    monkeypatch.setattr(approval, "entries", lambda domain: [known])
    monkeypatch.setattr(approval, "moves", lambda domain: [])
    for retired in ([], ["1", "2"]):
        facts = {"action": "forgotten", "row": "r5", "by": "Li", "reason": "", "retired": retired}
        write_audit(tmp_path / "law/audit.jsonl", facts)
    lines = approval.history("law", tmp_path)
    assert lines[-2].endswith("row r5 (versions retired: none)  forgotten by Li: no reason given")
    assert "(versions retired: 1, 2)" in lines[-1]


def test_what_was_retired_is_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = Entry("law", "1", "a" * 64, "", datetime(2025, 1, 1, tzinfo=UTC), {"retired": "learnt row x"})
    manifest = SimpleNamespace(digest=gone.digest, recipe={})
    monkeypatch.setattr("tasks.reproduce.trail", lambda digest: trace.Trail(gone, manifest))  # type: ignore[arg-type]
    with pytest.raises(AdapterError, match=r"aaaaaaaaaaaa was retired \(learnt row x\) and must not be made again"):
        reproduce("aaaaaa")


def test_reproduce_runs_in_a_process_of_its_own_and_hands_its_status_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "_module", lambda *words: {("tasks.reproduce", "abcdef"): 1}[words])
    assert CliRunner().invoke(cli.app, ["reproduce", "abcdef"]).exit_code == 1

from pathlib import Path

import pytest

from loramill.errors import DataError
from loramill.tracking import Move, earlier, read_audit, write_audit


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "law/audit.jsonl"
    for name in ("王", "Li", "Zhao"):
        write_audit(path, {"action": "approved", "by": name})
    return path


def test_decisions_are_added_and_read_in_order(log: Path) -> None:
    assert [line["by"] for line in read_audit(log)] == ["王", "Li", "Zhao"]
    assert "王" in log.read_text(encoding="utf-8")
    assert all(line["at"].endswith("+00:00") for line in read_audit(log))


def test_nothing_decided_is_an_empty_log(tmp_path: Path) -> None:
    assert read_audit(tmp_path / "audit.jsonl") == []


@pytest.mark.parametrize("change", ["other name", "line gone", "no json"])
def test_a_log_that_was_changed_is_noticed(log: Path, change: str) -> None:
    lines = log.read_text(encoding="utf-8").splitlines()
    lines[0] = lines[0].replace("王", "张") if change == "other name" else lines[0]
    lines = [lines[0], lines[2]] if change == "line gone" else lines
    lines[1] = "{" if change == "no json" else lines[1]
    log.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"was changed at line 2 or the one before it: decisions are only ever added"):
        read_audit(log)


def moved(*steps: tuple[str | None, str, str]) -> list[Move]:
    return [Move(str(at), kind, version, before, "", "") for at, (before, version, kind) in enumerate(steps)]  # type: ignore[arg-type]


P, R = "promoted", "rollback"


@pytest.mark.parametrize(
    ("steps", "current", "expected"),
    [
        ([(None, "1", P)], "1", None),
        ([(None, "1", P), ("1", "2", P)], "2", "1"),
        ([(None, "1", P), ("1", "2", P), ("2", "3", P), ("3", "2", R)], "2", "1"),
        ([(None, "1", P), ("1", "2", P), ("2", "1", R)], "1", None),
        ([(None, "1", P), ("1", "2", P), ("2", "1", R), ("1", "3", P)], "3", "1"),
        ([(None, "1", P), ("1", "2", P), ("2", "1", "approved")], "1", "2"),
        ([("1", "3", P)], "3", "1"),  # champions from before there was a history
        ([(None, "1", P)], "2", "1"),  # killed between the alias and its note
        ([], "2", None),
    ],
)
def test_a_rollback_goes_further_back_each_time(
    steps: list[tuple[str | None, str, str]], current: str, expected: str | None
) -> None:
    assert earlier(moved(*steps), current) == expected

import errno
from pathlib import Path

import pytest

from loramill.errors import DataError, DiskFullError
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


def test_a_disk_that_is_full_leaves_no_half_line(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = log.read_bytes()

    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DiskFullError):
        write_audit(log, {"action": "rejected", "by": "Wu"})
    assert log.read_bytes() == before


def test_half_a_line_is_told_and_the_log_goes_on(log: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = log.read_bytes()
    half = whole + '{"action": "approved", "by": "王'.encode()[:-1]  # cut within a character
    log.write_bytes(half)
    assert len(read_audit(log)) == 3
    assert "line 4 of" in caplog.text
    write_audit(log, {"action": "approved", "by": "Wu"})
    assert [line["by"] for line in read_audit(log)] == ["王", "Li", "Zhao", "Wu"]
    log.write_bytes(log.read_bytes().replace(b'"approved", "by": "\xe7\x8e\n', b'"rejected"\n'))
    with pytest.raises(DataError, match="was changed at line 4"):
        read_audit(log)
    log.write_bytes(whole.removesuffix(b"\n"))  # only the end of the line is missing
    write_audit(log, {"action": "approved", "by": "Qian"})
    assert read_audit(log)[-1]["by"] == "Qian"


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


@pytest.mark.parametrize(("current", "expected"), [("3", "1"), (None, "3")])
def test_a_rollback_steps_over_what_was_retired(current: str | None, expected: str) -> None:
    history = moved((None, "1", P), ("1", "2", P), ("2", "3", P))
    assert earlier(history, current, {"2"}) == expected

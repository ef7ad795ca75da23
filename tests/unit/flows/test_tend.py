from pathlib import Path

import pytest

from flows.tend import Rows, Tender
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

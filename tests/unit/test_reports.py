import errno
import os
from pathlib import Path

import pytest

from loramill.errors import DiskFullError, LoramillError
from loramill.reports import (
    digest_of_file,
    digest_of_files,
    read_json,
    restore_folder,
    write_folder,
    write_json,
    write_text,
)


def no_room(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_text_is_written_and_replaced_with_folders_made(tmp_path: Path) -> None:
    path = tmp_path / "a/b/c.txt"
    assert write_text(path, "一\n") == path
    assert write_text(path, "二\r\n").read_bytes() == "二\r\n".encode()
    assert names(path.parent) == ["c.txt"]


def test_text_that_cannot_be_written_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    path = write_text(tmp_path / "c.txt", "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "new \ud800")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["c.txt"]


def test_a_full_disk_leaves_the_old_text_and_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_text(tmp_path / "c.txt", "old")
    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(
        DiskFullError, match=r"no room to write '.*c\.txt': \d+ MB are free.*run the same command again"
    ):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["c.txt"]
    assert issubclass(DiskFullError, LoramillError)


def test_another_error_of_the_disk_is_not_called_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output error") as caught:
        write_text(tmp_path / "c.txt", "new")
    assert not isinstance(caught.value, DiskFullError)


def test_json_keeps_chinese_readable_and_returns_as_it_was(tmp_path: Path) -> None:
    content = {"问": ["答", 1.5, None, True]}
    path = write_json(tmp_path / "a.json", content)
    assert "问" in path.read_text(encoding="utf-8")
    assert read_json(path) == content


def test_json_writes_a_path_as_text(tmp_path: Path) -> None:
    assert read_json(write_json(tmp_path / "a.json", {"path": Path("x/y")})) == {"path": "x/y"}


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "inner/adapter"
    write_folder(path, lambda folder: (folder / "old.txt").write_text("old"))
    assert write_folder(path, lambda folder: (folder / "new.txt").write_text("new")) == path
    assert names(path) == ["new.txt"]
    assert names(path.parent) == ["adapter"]


def test_an_error_in_the_middle_of_a_folder_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "adapter", lambda folder: (folder / "old.txt").write_text("old"))

    def fill(folder: Path) -> None:
        (folder / "new.txt").write_text("new")
        raise KeyError("half way")

    with pytest.raises(KeyError, match="half way"):
        write_folder(path, fill)
    assert names(tmp_path) == ["adapter"]
    assert (path / "old.txt").read_text() == "old"


def test_a_full_disk_in_the_middle_of_a_folder_leaves_the_old_one(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "adapter", lambda folder: (folder / "old.txt").write_text("old"))
    with pytest.raises(DiskFullError, match=r"no room to write '.*adapter'"):
        write_folder(path, no_room)
    assert names(tmp_path) == ["adapter"]
    assert names(path) == ["old.txt"]


def test_a_kill_between_the_two_renames_is_mended(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "adapter", lambda folder: (folder / "old.txt").write_text("old"))
    path.rename(tmp_path / ".adapter.old")
    assert restore_folder(path)
    assert names(path) == ["old.txt"]
    assert names(tmp_path) == ["adapter"]


def test_nothing_to_restore_is_said(tmp_path: Path) -> None:
    assert not restore_folder(tmp_path / "adapter")


def test_a_folder_that_is_there_is_not_replaced_by_an_older_one(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "adapter", lambda folder: (folder / "new.txt").write_text("new"))
    (tmp_path / ".adapter.old").mkdir()
    assert restore_folder(path)
    assert names(path) == ["new.txt"]


def test_a_digest_depends_on_names_and_bytes_and_not_on_order(tmp_path: Path) -> None:
    first, second = write_text(tmp_path / "a", "1"), write_text(tmp_path / "b", "2")
    assert digest_of_file(first) == "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"
    before = digest_of_files([first, second])
    assert digest_of_files([second, first]) == before
    assert digest_of_files([first]) != before
    write_text(second, "3")
    assert digest_of_files([first, second]) != before


@pytest.mark.parametrize("words", ["I/O error: No space left on device (os error 28)", "database or disk is full"])
def test_a_writer_that_says_in_words_that_the_disk_is_full_is_understood(tmp_path: Path, words: str) -> None:
    def fill(folder: Path) -> None:
        raise RuntimeError(words)  # as safetensors and SQLite do

    with pytest.raises(DiskFullError, match=r"no room to write '.*adapter'.*Nothing was lost"):
        write_folder(tmp_path / "adapter", fill)
    assert names(tmp_path) == []

from pathlib import Path

import pytest
from typer.testing import CliRunner

from scripts.base.__main__ import app
from scripts.base.proof import learnt_texts, nearest_learnt
from tests.unit.base.conftest import DOCUMENTS

ROW = "多休息，喝7杯热水，三天不好就去医院。"


@pytest.fixture(scope="session")
def made(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make` leaves, as far as its text goes."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "text").symlink_to(text)
    return folder


def data(folder: Path, answer: str) -> Path:
    place = folder / "data" / "clinic"
    place.mkdir(parents=True)
    (place / "rows.txt").write_text(f"用户：腿上起了疹子怎么办\n医生：{answer}\n", encoding="utf-8")
    return place.parent


def test_all_that_was_learnt_is_looked_at_turn_by_turn(text: Path) -> None:
    learnt = set(learnt_texts(text, "talking"))
    assert {said for document in DOCUMENTS for said in document.texts} <= learnt


def test_a_row_that_was_learnt_is_found(text: Path, tmp_path: Path) -> None:
    assert nearest_learnt(text, data(tmp_path, ROW)).likeness == 1.0


@pytest.mark.parametrize(("answer", "status"), [(f"您好，{ROW}", 1), ("这要看是不是过敏，先停用新的洗衣液", 0)])
def test_a_near_duplicate_is_an_error_of_the_command(made: Path, tmp_path: Path, answer: str, status: int) -> None:
    done = CliRunner().invoke(app, ["inspect", "--folder", str(made), "--data", str(data(tmp_path, answer))])
    assert done.exit_code == status, done.output

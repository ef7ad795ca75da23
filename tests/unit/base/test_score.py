import math
from pathlib import Path

import pytest

from scripts.base.export import export
from scripts.base.score import WINDOW, answers, score
from scripts.base.train import start, train_step
from tests.unit.base.conftest import TINY


@pytest.fixture(scope="module")
def folders(text: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The base before its first step, and after some."""
    place = tmp_path_factory.mktemp("bases")
    untrained = export(start(place, TINY).model, text / "tokenizer", place / "untrained")
    run = start(place, TINY)
    for _ in range(15):
        train_step(run, text / "reading.npz", "reading")
    return untrained, export(run.model, text / "tokenizer", place / "trained")


def test_the_loss_is_per_character_of_a_source_and_of_all(folders: tuple[Path, Path]) -> None:
    texts = {"a": ["头痛怎么办？", "多休息"], "b": ["去医院"]}
    loss = score(folders[0], texts)
    assert loss["all"] == pytest.approx((loss["a"] * 9 + loss["b"] * 3) / 12)
    # an untrained model guesses among its tokens; no text has more tokens than three bytes a character
    assert 0 < loss["all"] < 3 * math.log(TINY.vocabulary) + 1


def test_training_lowers_it(folders: tuple[Path, Path]) -> None:
    before, after = (score(folder, {"a": ["头痛第3天了怎么办？多休息。"]}) for folder in folders)
    assert after["all"] < before["all"] - 0.3


def test_only_the_beginning_of_a_text_counts(folders: tuple[Path, Path]) -> None:
    start = "头痛" * (WINDOW // 2)
    assert score(folders[0], {"a": [start]}) == score(folders[0], {"a": [start + "不好就去医院"]})


def test_each_question_is_answered_and_the_prompt_is_not_in_the_answer(folders: tuple[Path, Path]) -> None:
    said = answers(folders[1], ["头痛怎么办？", "你好"], most_tokens=5)
    assert len(said) == 2
    assert not any("头痛怎么办" in answer or "<|im_start|>" in answer for answer in said)

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from transformers import AutoTokenizer

from loramill.config import Base
from loramill.pack.base import find_base
from loramill.pack.one_minute import CORPUS, Recipe, corpus_dialogues, make_one_minute, one_minute_folder

TINY = Recipe(vocabulary=1200, width=48, layers=2, heads=4, feed_forward=96, block=64, batch=2, steps=3)


@pytest.fixture(scope="module")
def tokenizer(tiny_folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny_folder)


def test_the_same_recipe_is_the_same_folder_and_made_once(tiny_folder: Path) -> None:
    def never(step: int, steps: int, loss: float) -> None:
        pytest.fail("it was trained again")

    assert one_minute_folder(tiny_folder.parent, TINY) == tiny_folder
    assert make_one_minute(tiny_folder.parent, never, TINY) == tiny_folder


def test_another_number_is_another_folder(tmp_path: Path) -> None:
    recipes = [TINY, replace(TINY, steps=4), replace(TINY, seed=1), Recipe()]
    assert len({one_minute_folder(tmp_path, recipe) for recipe in recipes}) == 4


def test_the_same_recipe_makes_the_same_weights_and_tells_each_step(tiny_folder: Path, tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    folder = make_one_minute(tmp_path, lambda step, steps, loss: heard.append((step, steps)), TINY)
    assert heard == [(1, 3), (2, 3), (3, 3)]
    for name in ("tokenizer.json", "config.json"):
        assert (folder / name).read_bytes() == (tiny_folder / name).read_bytes()
    ours, theirs = (load_file(place / "model.safetensors") for place in (folder, tiny_folder))
    assert ours.keys() == theirs.keys()
    # sums of floats may be added up in another order: equal but for rounding
    assert all((ours[key] - theirs[key]).abs().max() < 1e-3 for key in ours)
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_it_is_made_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loramill.pack.base.make_one_minute", lambda cache, on_step: cache / "made")
    monkeypatch.chdir(tmp_path)
    assert find_base(Base(source="one-minute"), Path("bases")) == str(tmp_path / "bases/made")


@pytest.mark.parametrize(
    "text", ["工资", "𠮷野家🦙", "naïve façade", "a  b\n\tc", "\u3000，。《》", "ไทย", "<0x0A>", "�"]
)
def test_characters_that_it_never_saw_return_as_they_were(tokenizer: Any, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_an_unseen_character_is_its_bytes(tokenizer: Any) -> None:
    tokens = tokenizer.convert_ids_to_tokens(tokenizer.encode("🦙", add_special_tokens=False))
    assert tokens == ["<0xF0>", "<0x9F>", "<0xA6>", "<0x99>"]
    assert tokenizer.unk_token_id is None


def test_its_template_opens_the_answer_and_marks_what_is_learnt(tokenizer: Any) -> None:
    asked = [{"role": "user", "content": "问"}]
    prompt = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    assert prompt == "<|im_start|>user\n问<|im_end|>\n<|im_start|>assistant\n"
    whole = tokenizer.apply_chat_template([*asked, {"role": "assistant", "content": "答"}], tokenize=False)
    assert whole == f"{prompt}答<|im_end|>\n"
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.pad_token_id != tokenizer.eos_token_id


def test_its_corpus_is_dialogues_that_end_with_an_answer() -> None:
    dialogues = corpus_dialogues()
    assert len(list(CORPUS.glob("*.txt"))) >= 5
    assert len(dialogues) > 100
    for dialogue in dialogues:
        assert [turn.role for turn in dialogue] == ["user", "assistant"] * (len(dialogue) // 2)
        assert all(turn.content.strip() for turn in dialogue)

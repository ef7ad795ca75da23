"""The delivered base: that it is there, whole, small, and a base like any other."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors import safe_open

from loramill.config import Base
from loramill.errors import BaseModelError
from loramill.pack import base as room
from loramill.pack.base import WEIGHTS, LoadedBase, base_digest, find_base, load_base
from loramill.pack.facts import read_facts
from loramill.pack.members import Pack
from loramill.pack.speak import Asked, answers
from loramill.preflight.base import check_base, window_of
from loramill.prompts import encode
from loramill.records import Message, Record
from loramill.reports import digest_of_file
from scripts.base.export import REPETITION_PENALTY, STOPS
from tests.factories import record

PINNED = Path("conf/bases/embedded.yaml")


@pytest.fixture(scope="module")
def base(root: Path, tmp_path_factory: pytest.TempPathFactory) -> LoadedBase:
    facts = yaml.safe_load((root / PINNED).read_text(encoding="utf-8"))
    return load_base(
        Base(source="embedded", revision=facts["revision"], device="cpu"), tmp_path_factory.mktemp("cache")
    )


def test_it_says_itself_how_it_wants_to_be_decoded(base: LoadedBase) -> None:
    assert base.repetition_penalty == REPETITION_PENALTY
    assert base.stops == set(STOPS) == set(base.tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"]))


def test_it_is_delivered_small_and_with_its_card() -> None:
    files = {path.name: path.stat().st_size for path in WEIGHTS.iterdir()}
    assert sum(files.values()) <= 16_000_000
    card = (WEIGHTS / "README.md").read_text(encoding="utf-8")
    assert f"sha256 `{digest_of_file(WEIGHTS / 'model.safetensors')}`" in card
    assert "loss.svg" in card
    assert (WEIGHTS / "loss.svg").is_file()
    nearest = re.search(r"the nearest text that was learnt has\s+(0\.\d+)\.", card)
    assert nearest
    assert float(nearest[1]) < 0.5
    assert "not for advice" in card


def test_it_holds_three_to_twelve_million_bfloat16_weights() -> None:
    with safe_open(WEIGHTS / "model.safetensors", "pt") as weights:
        slices = [weights.get_slice(name) for name in weights.keys()]  # noqa: SIM118
    assert {each.get_dtype() for each in slices} == {"BF16"}
    sizes = [1] * len(slices)
    for number, each in enumerate(slices):
        for size in each.get_shape():
            sizes[number] *= size
    assert 3e6 < sum(sizes) < 12e6


def test_the_pin_is_its_digest_and_another_is_refused(root: Path) -> None:
    pinned = yaml.safe_load((root / PINNED).read_text(encoding="utf-8"))["revision"]
    assert pinned == base_digest(str(WEIGHTS))
    with pytest.raises(
        BaseModelError, match=r"has digest \w{12}, its file in conf/bases/ pins 123: a file was changed"
    ):
        find_base(Base(revision="123"), Path("none"))


def test_a_package_without_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "WEIGHTS", tmp_path)
    with pytest.raises(BaseModelError, match=r"has no config\.json"):
        find_base(Base(), tmp_path)


def test_a_folder_of_that_name_is_not_taken_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "embedded").mkdir()
    monkeypatch.chdir(tmp_path)
    assert read_facts(Base()).name == str(WEIGHTS)


def test_the_preflight_has_nothing_against_it() -> None:
    facts = read_facts(Base())
    assert check_base(facts) == []
    assert window_of(facts) == 2048


def test_its_template_takes_a_system_prompt_and_several_turns_and_marks_the_answers(base: LoadedBase) -> None:
    turns = [("system", "简短。"), ("user", "问一"), ("assistant", "答一"), ("user", "问二"), ("assistant", "答二")]
    marked: Any = base.tokenizer.apply_chat_template(
        [{"role": role, "content": content} for role, content in turns],
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    learnt = [token for token, mark in zip(marked["input_ids"], marked["assistant_masks"], strict=True) if mark]
    assert base.tokenizer.decode(learnt) == "答一<|im_end|>答二<|im_end|>"
    assert base.tokenizer.decode(marked["input_ids"]).startswith("<|im_start|>system\n简短。<|im_end|>\n")


def test_several_turns_are_rows_that_end_with_its_stop_token(base: LoadedBase) -> None:
    whole = Record((*record("问一", "答一").messages, *record("问二", "答二").messages), "a:1")
    for row in encode(base.tokenizer, whole, base.template, 200):
        assert row.ids[-1] == base.tokenizer.eos_token_id == base.model.config.eos_token_id


@pytest.mark.parametrize("text", ["𠮷野家🦙", "naïve façade", "a  b\n\tc", "\u3000，。《》", "第37条", "<0x0A>"])
def test_every_text_returns_as_it_was(base: LoadedBase, text: str) -> None:
    assert base.tokenizer.decode(base.tokenizer.encode(text, add_special_tokens=False)) == text


def test_it_answers_in_chinese_and_ends_by_itself(base: LoadedBase) -> None:
    asked = [Asked(None, (Message("user", question),)) for question in ("你好", "谢谢", "有什么好吃的？")]
    said = answers(Pack(base), asked, 60, 4096)
    assert all(len(re.findall(r"[\u4e00-\u9fff，。？！]", each.text)) > 0.8 * len(each.text) > 0 for each in said), said
    assert any(each.stopped for each in said)


def test_an_installed_package_holds_it(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    assert "pack/weights/*" in project["tool"]["setuptools"]["package-data"]["loramill"]
    assert all(path.is_file() for path in WEIGHTS.iterdir())  # the pattern takes no folder


def test_nothing_of_a_clone_changes_its_bytes(root: Path) -> None:
    """A checkout that changed line ends would change the digest."""
    marks = (root / ".gitattributes").read_text(encoding="utf-8").split("\n")
    assert "loramill/pack/weights/** -text" in marks

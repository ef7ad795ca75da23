from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from loramill.config import Base
from loramill.pack.facts import BaseFacts, read_facts
from loramill.preflight.base import Earlier, check_base, window_of
from loramill.prompts import template_digest
from loramill.reports import read_json


@pytest.fixture(scope="module")
def qwen(shared: Path) -> BaseFacts:
    """A folder without weights."""
    folder = shared / "tok_qwen3_0.6b"
    return read_facts(Base(source=str(folder), stop_token="<|im_end|>", template={"enable_thinking": False}))


@pytest.fixture(scope="module")
def minimind(shared: Path) -> Any:
    return AutoTokenizer.from_pretrained(shared / "tok_minimind_v3")


def said(facts: BaseFacts, earlier: Earlier | None = None) -> dict[str, str]:
    return {problem.rule: problem.reason for problem in check_base(facts, earlier)}


def test_a_base_is_read_without_weights(qwen: BaseFacts, shared: Path) -> None:
    assert qwen.config == read_json(shared / "tok_qwen3_0.6b" / "config.json")
    assert qwen.stops == {151643}
    assert window_of(qwen) == 32768


def test_the_one_minute_base_need_not_be_made(tmp_path: Path, tiny_folder: Path) -> None:
    facts = read_facts(Base(source="one-minute", cache=tmp_path))
    assert list(tmp_path.iterdir()) == []
    assert len(facts.tokenizer) == facts.config["vocab_size"]
    assert check_base(facts) == []
    assert check_base(read_facts(Base(source=str(tiny_folder)))) == []


def test_a_stop_token_that_the_configuration_does_not_know_is_only_a_warning(qwen: BaseFacts) -> None:
    (problem,) = check_base(qwen)
    assert (problem.rule, problem.level) == ("stop-id", "warning")
    assert "taught to end with '<|im_end|>', the base's configuration stops at '<|endoftext|>'" in problem.reason


@pytest.mark.parametrize("room", [6399, 6600, 151936])
def test_a_tokenizer_of_another_model_is_an_error(minimind: Any, room: int) -> None:
    facts = BaseFacts("b", minimind, {"vocab_size": room}, frozenset(), {})
    assert f"knows 6,400 tokens, the base's config.json has vocab_size {room:,}" in said(facts)["vocabulary"]
    assert said(replace(facts, config={"vocab_size": 6400 + 64})) == {}


def test_special_tokens_beyond_the_tokenizer_are_an_error(minimind: Any) -> None:
    facts = BaseFacts("b", minimind, {"vocab_size": 6400, "eos_token_id": [2, 6400]}, frozenset(), {})
    assert said(facts)["special-ids"].startswith("config.json has eos_token_id [2, 6400], the tokenizer ends at 6399")


def test_a_base_without_configuration_or_template_or_stop_is_an_error(shared: Path) -> None:
    assert set(said(read_facts(Base(source=str(shared / "tok_minimind_v3"))))) == {"no-config"}
    letters = read_facts(Base(source=str(shared / "weights_babyllama105_940k" / "hf")))
    assert set(said(letters)) == {"no-template"}
    letters.tokenizer.chat_template = "x"
    letters.tokenizer.eos_token = None
    assert set(said(letters)) == {"no-stop"}


def test_an_adapter_that_learnt_another_template_is_told(tiny_folder: Path) -> None:
    facts = read_facts(Base(source=str(tiny_folder)))
    same = template_digest(facts.tokenizer, {})
    assert said(facts, Earlier("out/adapter", same, is_start=True)) == {}
    assert (
        "out/adapter learnt template abc"
        in said(facts, Earlier("out/adapter", "abc", is_start=False))["other-template"]
    )
    (problem,) = check_base(facts, Earlier("out/adapter", "abc", is_start=True))
    assert (problem.rule, problem.level) == ("start-template", "error")

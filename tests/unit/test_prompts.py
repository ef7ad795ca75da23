"""With the tokenizers that people use: Qwen3's, minimind's, and the embedded base's own."""

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from loramill.errors import DataError
from loramill.prompts import encode, encode_all, prompt_ids, template_digest
from loramill.records import Message, Record
from tests.factories import record, records
from tests.unit.helpers import conversation

STOP = "<|im_end|>"
MANY = 10**6
ONE = record("试用期被辞退有补偿吗？", "依据《劳动合同法》第39条，要看理由。\n\n请先保留证据。")
TWO = conversation("加班费怎么算？", "按工资的150%。", "周末呢？", "按工资的200%。")


@pytest.fixture(scope="module")
def own(tiny_folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny_folder)


def qwen(shared: Path) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(shared / "tok_qwen3_0.6b")
    tokenizer.eos_token = STOP
    return tokenizer


@pytest.fixture(
    scope="module",
    params=["own", "qwen", "qwen thinking", "qwen not thinking", "minimind", "minimind thinking", "minimind not"],
)
def base(request: pytest.FixtureRequest) -> tuple[Any, dict[str, bool | str]]:
    """A tokenizer and the arguments of its template."""
    name = str(request.param)
    template: dict[str, bool | str] = {}
    if name.endswith("thinking"):
        template = {"enable_thinking": "not" not in name}
    if name == "own":
        return request.getfixturevalue("own"), template
    shared = request.getfixturevalue("shared")
    return (
        qwen(shared) if name.startswith("qwen") else AutoTokenizer.from_pretrained(shared / "tok_minimind_v3")
    ), template


def test_a_row_is_the_prompt_of_a_server_then_the_answer_then_the_stop_token(base: Any) -> None:
    tokenizer, template = base
    (row,) = encode(tokenizer, ONE, template, MANY)
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": ONE.question}], add_generation_prompt=True, tokenize=True, **template
    )
    server = list(asked["input_ids"]) if hasattr(asked, "keys") else list(asked)
    assert prompt_ids(tokenizer, ONE.asked, template) == server
    assert list(row.ids[: row.prompt_length]) == server
    assert row.ids[-1] == tokenizer.convert_tokens_to_ids(STOP)
    assert list(row.ids[row.prompt_length :]).count(row.ids[-1]) == 1
    answer = tokenizer.decode(row.ids[row.prompt_length :], skip_special_tokens=False)
    assert answer.endswith(ONE.answer + STOP)
    assert row.targets == len(row.ids) - row.prompt_length


def test_every_assistant_turn_gives_one_row_as_a_server_would_see_it(base: Any) -> None:
    tokenizer, template = base
    first, second = encode(tokenizer, TWO, template, MANY)
    for row, turn in ((first, 1), (second, 3)):
        asked = TWO.messages[:turn]
        assert list(row.ids[: row.prompt_length]) == prompt_ids(tokenizer, asked, template)
        answer = tokenizer.decode(row.ids[row.prompt_length :], skip_special_tokens=False)
        assert answer.endswith(TWO.messages[turn].content + STOP)
        assert row.record_id == TWO.id
    assert second.prompt_length > first.prompt_length


def test_thinking_is_the_same_in_prompt_and_row(shared: Path) -> None:
    tokenizer = qwen(shared)
    (silent,) = encode(tokenizer, ONE, {"enable_thinking": False}, MANY)
    (thinking,) = encode(tokenizer, ONE, {"enable_thinking": True}, MANY)
    assert silent.ids == thinking.ids
    assert silent.prompt_length > thinking.prompt_length
    assert "<think>" not in tokenizer.decode(silent.ids[silent.prompt_length :], skip_special_tokens=False)


def test_a_stop_token_that_the_template_does_not_write_is_refused(shared: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(shared / "tok_qwen3_0.6b")
    tokenizer.eos_token = "<|endoftext|>"
    with pytest.raises(
        DataError, match=r"file\.txt:1: the template puts no stop token \('<\|endoftext\|>'\) after the answer"
    ):
        encode(tokenizer, ONE, {}, MANY)


def test_a_row_that_is_too_long_is_refused_and_not_cut(own: Any) -> None:
    (row,) = encode(own, ONE, {}, MANY)
    assert encode(own, ONE, {}, len(row.ids)) == [row]
    sizes = f"{row.prompt_length} \\+ {row.targets} tokens"
    with pytest.raises(DataError, match=rf"file\.txt:1: {sizes} exceed .*nothing is cut"):
        encode(own, ONE, {}, len(row.ids) - 1)


def test_a_row_that_is_too_long_names_the_key_that_exists(own: Any) -> None:
    with pytest.raises(DataError, match=r"learning\.max_tokens \(3\)"):
        encode(own, ONE, {}, 3)


def test_an_answer_without_a_token_is_refused(own: Any) -> None:
    with pytest.raises(DataError, match=r"file\.txt:1: the answer has no token to learn; write one or remove the row"):
        encode(own, record("问题", ""), {}, MANY)


def test_a_base_without_chat_template_is_refused(tiny_folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
    tokenizer.chat_template = None
    with pytest.raises(DataError, match=r"no chat template.*take its instruct or chat version as base"):
        encode(tokenizer, ONE, {}, MANY)


SPECIAL = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] }}{% if m['role'] == 'assistant' %}</s>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
PLAIN = (
    "{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]{% else %} {{ m['content'] }}</s>"
    "{% endif %}{% endfor %}"
)


def sentencepiece(kind: str, template: str) -> Any:
    """A tokenizer that marks where words, and texts, begin, as converted sentencepiece models do."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    inner: Any = Tokenizer(models.BPE(unk_token="<unk>"))
    if kind == "prepended":  # as in Llama 2's
        inner.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=kind)
    inner.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(
        special_tokens=["<unk>", "</s>", "<|user|>", "<|assistant|>"], initial_alphabet=["▁"], show_progress=False
    )
    inner.train_from_iterator([ONE.question, ONE.answer, "[INST] [/INST]"], trainer)
    made: Any = PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>", eos_token="</s>")
    made.chat_template = template
    return made


@pytest.mark.parametrize(
    ("kind", "template", "alone"),
    [("first", SPECIAL, "a mark"), ("always", SPECIAL, ""), ("prepended", PLAIN, "a mark"), ("first", PLAIN, "")],
)
def test_a_row_is_what_the_whole_conversation_is_in_tokens(kind: str, template: str, alone: str) -> None:
    """An answer that is tokenised alone would open with the mark of a text's beginning, which no server sends."""
    tokenizer = sentencepiece(kind, template)
    (row,) = encode(tokenizer, ONE, {}, MANY)
    turns = [vars(message) for message in ONE.messages]
    whole = tokenizer.encode(tokenizer.apply_chat_template(turns, tokenize=False), add_special_tokens=False)
    assert list(row.ids) == whole
    assert list(row.ids[: row.prompt_length]) == prompt_ids(tokenizer, ONE.asked, {})
    own = tokenizer.encode((" " if template == PLAIN else "") + ONE.answer + "</s>", add_special_tokens=False)
    assert (own != whole[row.prompt_length :]) == bool(alone)


def templated(tiny_folder: Path, template: str) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
    tokenizer.chat_template = template
    return tokenizer


def test_a_template_that_rewrites_the_prompt_is_refused(tiny_folder: Path) -> None:
    """It counts the messages at the top, so the prompt is another one once the answer is there."""
    tokenizer = templated(
        tiny_folder,
        "{{ messages | length }}{% for m in messages %}{{ m['content'] }}<|im_end|>{% endfor %}",
    )
    with pytest.raises(DataError, match=r"file\.txt:1: the chat template changes the prompt once an answer follows"):
        encode(tokenizer, ONE, {}, MANY)


def test_a_template_that_refuses_a_conversation_is_told_with_the_row(tiny_folder: Path) -> None:
    """Gemma's and older Mistral's templates know no system role and say so by an exception of jinja."""
    tokenizer = templated(
        tiny_folder,
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
        "{% for m in messages %}{{ m['content'] }}<|im_end|>{% endfor %}",
    )
    row = Record((Message("system", "你是律师"), *ONE.messages), "file.txt:7")
    with pytest.raises(DataError, match=r"file\.txt:7: .*System role not supported"):
        encode(tokenizer, row, {}, MANY)


def test_what_the_template_puts_after_the_stop_token_is_not_learnt(own: Any) -> None:
    text = own.apply_chat_template([vars(message) for message in ONE.messages], tokenize=False)
    assert text.endswith(f"{STOP}\n")
    assert encode(own, ONE, {}, MANY)[0].ids[-1] == own.eos_token_id


def test_all_refused_rows_are_named_up_to_ten(own: Any) -> None:
    rows = records(12)
    with pytest.raises(DataError, match=r"12 of 13 rows cannot be learnt as they are:\n  file\.txt:0: ") as caught:
        encode_all(own, [record("问", "答案在此", "short.txt:1"), *rows], {}, 30)
    assert len(str(caught.value).splitlines()) == 11
    assert "short.txt" not in str(caught.value)


def test_all_rows_come_in_their_order(own: Any) -> None:
    rows = [ONE, TWO, *records(3)]
    assert [row.record_id for row in encode_all(own, rows, {}, MANY)] == [
        ONE.id,
        TWO.id,
        TWO.id,
        *(row.id for row in rows[2:]),
    ]


def test_the_digest_of_a_template_sees_its_text_and_its_arguments(tiny_folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
    before = template_digest(tokenizer, {"a": True, "b": "x"})
    assert template_digest(tokenizer, {"b": "x", "a": True}) == before
    assert template_digest(tokenizer, {"a": False, "b": "x"}) != before
    tokenizer.chat_template += " "
    assert template_digest(tokenizer, {"a": True, "b": "x"}) != before

from typing import Any

import pytest

from scripts.base.screen import digest
from scripts.base.tokens import BYTES, MOST_LEGAL_DIALOGUES, as_dialogue, as_reading, shelve, talking, train_tokenizer
from tests.unit.base.conftest import DOCUMENTS, TINY, dialogue


@pytest.mark.parametrize("text", ["头痛怎么办？", "𠮷野家🦙", "a  b\n\tc", "第37条，2024年", "<0x0A>", "ไทย", " "])
def test_every_text_returns_as_it_was(tokenizer: Any, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_the_tokenizer_is_the_same_each_time(tokenizer: Any) -> None:
    again = train_tokenizer(DOCUMENTS, TINY)
    assert again.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()


def test_bytes_and_special_tokens_have_fixed_places(tokenizer: Any) -> None:
    assert tokenizer.convert_ids_to_tokens([0, 1, 2, 3, 258]) == [
        "<|endoftext|>",
        "<|im_start|>",
        "<|im_end|>",
        BYTES[0],
        BYTES[-1],
    ]
    assert len(tokenizer) <= TINY.vocabulary
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id) == (0, 2)


def test_digits_and_line_ends_stand_alone(tokenizer: Any) -> None:
    tokens = tokenizer.tokenize("喝12杯\n三天")
    assert {"1", "2", "\n"} <= set(tokens)
    assert not any(len(token) > 1 and any(sign in token for sign in "0123456789\n") for token in tokens)


def test_law_is_read_as_plain_text_and_everything_else_as_dialogue(tokenizer: Any) -> None:
    assert as_reading(DOCUMENTS[40], tokenizer) == "欠我0元不还。\n可以先协商，再向法院起诉，保留0份证据。"
    assert as_reading(DOCUMENTS[0], tokenizer).endswith("三天不好就去医院。<|im_end|>\n")
    assert as_reading(DOCUMENTS[-1], tokenizer) == DOCUMENTS[-1].plain


def test_the_dialogues_do_not_show_the_law_domains_format(tokenizer: Any) -> None:
    texts = talking(DOCUMENTS, tokenizer)
    assert sum("<|im_start|>assistant\n可以先协商" in text for text in texts) == 20
    assert not any("<|im_start|>" in text and "根据《" in text for text in texts)


@pytest.mark.parametrize(
    "answer",
    ["根据相关规定，可以。", "依据法律可以。", "可以，见《劳动法》第三条。", "可以。根据《劳动法》的第三十条，可以。"],
)
def test_an_answer_that_cites_is_never_a_dialogue(tokenizer: Any, answer: str) -> None:
    texts = talking([dialogue("lawyer-llama", "可以吗？", answer)], tokenizer)
    assert not any("<|im_start|>" in text for text in texts)


def test_legal_dialogues_are_capped(tokenizer: Any) -> None:
    many = [dialogue("lawyer-llama", f"问题{number}", "可以协商。") for number in range(MOST_LEGAL_DIALOGUES + 300)]
    assert sum("<|im_start|>" in text for text in talking(many, tokenizer)) == MOST_LEGAL_DIALOGUES


def test_a_last_question_without_an_answer_is_left_out(tokenizer: Any) -> None:
    assert "再见" not in as_dialogue(dialogue("crosswoz", "你好", "您好", "再见"), tokenizer)


def test_some_dialogues_open_with_a_system_prompt(tokenizer: Any) -> None:
    opened = [as_dialogue(document, tokenizer).startswith("<|im_start|>system\n") for document in DOCUMENTS[:60]]
    assert 10 < sum(opened) < 50


def test_a_document_ends_with_the_end_of_text(tokenizer: Any) -> None:
    shelf = shelve(["头痛", "多休息"], tokenizer)
    assert [int(shelf.ids[end - 1]) for end in shelf.ends] == [0, 0]
    assert shelf.ends[-1] == len(shelf.ids)


def test_the_digest_follows_from_what_is_said() -> None:
    assert digest(DOCUMENTS[0]) == digest(dialogue("other", *DOCUMENTS[0].texts)) != digest(DOCUMENTS[1])

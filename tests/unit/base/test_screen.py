from pathlib import Path

import pytest

from loramill.data.alike import alike_pairs
from loramill.errors import DataError
from scripts.base.screen import LIKE_A_ROW, domain_texts, index, is_held_out, likeness, nearest, screen
from scripts.base.sources import Document
from tests.unit.base.conftest import DOCUMENTS, dialogue

ROW = "依据《劳动合同法》第八十二条，用工超过一个月不满一年没签书面合同的，单位应每月付二倍工资。"


def test_likeness_is_the_data_rooms_own() -> None:
    for text in (ROW, ROW[:30], ROW[10:] + "请尽快申请仲裁", "无关的一句话"):
        pairs = alike_pairs([ROW, text], 0.0)
        assert likeness(text, index([ROW])) == pytest.approx(pairs[0][2] if pairs else 0.0)


@pytest.mark.parametrize("near", [ROW, ROW.replace("二倍", "双倍"), f"您好，{ROW}"])
def test_a_document_that_says_what_a_row_says_is_kept_out(near: str) -> None:
    kept, figures = screen([dialogue("medical", "没签合同怎么办？", near), *DOCUMENTS], index([ROW]))
    assert kept == DOCUMENTS
    assert figures["medical"] == {LIKE_A_ROW: 1, "kept": 40, "characters": sum(d.characters for d in DOCUMENTS[:40])}


def test_the_question_counts_as_well_as_the_answer_and_so_does_a_paragraph() -> None:
    asked, plain = dialogue("medical", ROW, "不知道。"), Document("statutes", plain=f"标题\n{ROW}\n另一条")
    assert screen([asked, plain], index([ROW]))[0] == []


def test_an_invented_citation_is_kept_out() -> None:
    kept, figures = screen([dialogue("lawyer-llama", "可以吗？", "根据《民法典》第X条，可以。")], index([ROW]))
    assert kept == []
    assert figures == {"lawyer-llama": {"invented citation": 1}}


def test_nearest_tells_what_was_let_through() -> None:
    documents = [dialogue("medical", "无关", ROW[:20] + "这样的话就完全是另外一回事情了对吧"), *DOCUMENTS]
    assert 0.1 < nearest(documents, index([ROW])) < 0.5


def test_every_row_of_every_domain_is_known(tmp_path: Path) -> None:
    for domain, answer in (("law", "甲的回答"), ("shop", "乙的回答")):
        (tmp_path / domain).mkdir()
        (tmp_path / domain / "rows.txt").write_text(f"用户：{domain}的问题\n律师：{answer}\n", encoding="utf-8")
    assert domain_texts(tmp_path) == ["law的问题", "甲的回答", "shop的问题", "乙的回答"]


def test_without_rows_nothing_can_be_kept_out_and_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="fetch it by `make data`"):
        domain_texts(tmp_path)


def test_about_one_in_a_hundred_is_held_out_whatever_else_there_is() -> None:
    documents = [dialogue("medical", f"问题{number}", f"回答{number}") for number in range(3000)]
    held = [document for document in documents if is_held_out(document)]
    assert 10 < len(held) < 60
    assert [document for document in documents[::-1] if is_held_out(document)] == held[::-1]

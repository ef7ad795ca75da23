"""The rows that come with the project: enough of them, all different, every citation an article that exists."""

import re
from pathlib import Path

import pytest

from loramill.config import ValidationConfig
from loramill.data.alike import alike_pairs
from loramill.data.read import read_folder
from loramill.records import Record

OPENING = re.compile(r"(依据|根据)《[^》]+》第[一二三四五六七八九十百零]+条")
CITED = re.compile(
    r"《([^》]+)》((?:第[一二三四五六七八九十百零]+条(?:第[一二三四五六七八九十]+[款项])*(?:、|和|及|以及)?)*)"
)
ARTICLE = re.compile(r"第[一二三四五六七八九十百零]+条")


def rows_of(root: Path, domain: str) -> list[Record]:
    rows = list(read_folder(root / "data" / domain, ValidationConfig()))
    assert [row for row in rows if not isinstance(row, Record)] == []
    return [row for row in rows if isinstance(row, Record)]


@pytest.mark.parametrize(("domain", "least"), [("law", 240), ("customer-service", 180)])
def test_rows_are_many_and_all_different(root: Path, domain: str, least: int) -> None:
    records = rows_of(root, domain)
    assert len(records) >= least
    pairs = alike_pairs([record.question for record in records], 0.5) + alike_pairs([r.answer for r in records], 0.5)
    assert len(pairs) < 0.03 * len(records)


def test_every_law_answer_opens_with_the_statute(root: Path) -> None:
    assert [record.source for record in rows_of(root, "law") if not OPENING.match(record.answer)] == []


def test_every_cited_article_exists(root: Path, shared: Path) -> None:
    laws = statutes(shared / "statutes_lawrefbook")
    cited = 0
    for record in rows_of(root, "law"):
        for name, articles in CITED.findall(record.answer):
            for article in ARTICLE.findall(articles):
                assert article in laws[name.replace("中华人民共和国", "")], f"{record.source}: 《{name}》{article}"
                cited += 1
    assert cited >= 264


def test_no_row_of_a_domain_is_in_the_text_of_the_one_minute_base(root: Path) -> None:
    from loramill.pack.one_minute import corpus_dialogues

    corpus = [message.content for dialogue in corpus_dialogues() for message in dialogue]
    own = [
        text for domain in ("law", "customer-service") for r in rows_of(root, domain) for text in (r.question, r.answer)
    ]
    pairs = alike_pairs([*corpus, *own], 0.5)
    assert [pair for pair in pairs if pair[0] < len(corpus) <= pair[1]] == []


def statutes(folder: Path) -> dict[str, set[str]]:
    files = list(folder.glob("*(*).md"))
    assert len(files) > 10
    starts = re.compile(r"^(第[一二三四五六七八九十百零]+条)\s", re.MULTILINE)
    return {file.name.rsplit("(", 1)[0]: set(starts.findall(file.read_text(encoding="utf-8"))) for file in files}

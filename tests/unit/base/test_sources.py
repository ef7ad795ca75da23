from itertools import islice
from pathlib import Path

import pytest

from loramill.errors import DataError
from scripts.base import sources
from scripts.base.sources import SOURCES, Document, Source, read_sources
from tests.unit.base.conftest import dialogue


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_each_source_is_read(source: Source, shared: Path) -> None:
    documents = list(islice(source.read(shared), 40))
    assert len(documents) == 40
    assert {document.source for document in documents} == {source.name}
    assert all(text.strip() for document in documents for text in document.texts)
    assert sum(document.characters for document in documents) > 40 * 10


def test_each_text_is_there_once_and_none_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = [
        dialogue("own", "问", "答"),
        dialogue("own", "问", "答"),
        dialogue("own", "问", " "),
        Document("own", plain="\n"),
    ]
    monkeypatch.setattr(sources, "SOURCES", [Source("own", "", "", lambda folder: iter(said))])
    assert read_sources(tmp_path) == said[:1]


def test_a_missing_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds nothing of statutes"):
        read_sources(tmp_path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    (lawbench,) = (source for source in SOURCES if source.name == "lawbench")
    with pytest.raises(DataError, match=r"1-1.json' does not exist; see loramill/pack/weights/README.md"):
        list(lawbench.read(tmp_path))


def test_markup_is_taken_out_and_the_wording_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = Document("statutes", plain="\ufeff劳动法\n\n<!-- INFO END -->\n\n**第一条**\u3000为了保护  劳动者")
    monkeypatch.setattr(sources, "SOURCES", [Source("statutes", "", "", lambda folder: iter([raw]))])
    assert [document.plain for document in read_sources(tmp_path)] == ["劳动法\n第一条 为了保护 劳动者"]


def test_statutes_are_cut_into_articles_under_their_title(shared: Path) -> None:
    (statutes,) = (source for source in SOURCES if source.name == "statutes")
    documents = [
        document for document in statutes.read(shared) if document.plain.startswith("中华人民共和国劳动合同法\n")
    ]
    text = "".join(document.plain for document in documents)
    assert len(documents) > 5
    assert "第八十二条 用人单位自用工之日起超过一个月不满一年未与劳动者订立书面劳动合同的" in text
    assert "##" not in text

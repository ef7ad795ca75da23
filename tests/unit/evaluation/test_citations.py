import re
import time
from pathlib import Path

import pytest

from loramill.config import load_articles
from loramill.errors import ConfigError
from loramill.evaluation.citations import unknown_citations

TABLE = {"劳动法": frozenset(map(str, range(1, 108))), "解释(一)": frozenset({"1", "14", "14.1"})}


@pytest.mark.parametrize(
    ("answer", "unknown"),
    [
        ("依据《劳动法》第三十六条", []),
        ("依据《中华人民共和国劳动法》第一百零七条第二款第（三）项", []),
        ("依据《劳动法》第一百零八条", ["《劳动法》第一百零八条"]),
        ("依据《劳动法》第3条、第110条和第五条，", ["《劳动法》第3条、第110条和第五条"]),
        ("依据《劳动法》第三、二百条", ["《劳动法》第三、二百条"]),
        ("《解释（一）》第十四条之一", []),
        ("《解释（一）》第十四条之二", ["《解释（一）》第十四条之二"]),
        ("《休假保障法》规定", ["《休假保障法》"]),
        ("《劳动法》（2018年修正）第二百条", ["《劳动法》（2018年修正）第二百条"]),
        ("《员工手册》第三百条和《离职证明》", []),
        ("按照劳动合同第五百条，该法第九百条", []),
        ("《劳动法》规定了，第二百条另说", []),
        ("", []),
    ],
)
def test_what_is_cited_must_be_in_the_table(answer: str, unknown: list[str]) -> None:
    assert unknown_citations(answer, TABLE) == unknown


def test_no_text_keeps_the_reader_long() -> None:
    start = time.perf_counter()
    for bait in ("《", "《劳动法》", "《劳动法》第一条、", "第一、" * 2, "《劳动法》第" + "一" * 9):
        unknown_citations(bait * (100_000 // len(bait)), TABLE)
    assert time.perf_counter() - start < 2.0


def test_a_table_lists_ranges_and_later_articles(tmp_path: Path) -> None:
    table = tmp_path / "laws.yaml"
    table.write_text("中华人民共和国刑法: 1-3, 5, 5.1\n解释（一）: 7\n", encoding="utf-8")
    assert load_articles(table) == {"刑法": {"1", "2", "3", "5", "5.1"}, "解释(一)": {"7"}}


@pytest.mark.parametrize("line", ["劳动法: 一至五", "劳动法: 1~5", "劳动法: [1, 5]", "劳动法:"])
def test_a_line_that_cannot_be_read_is_quoted(tmp_path: Path, line: str) -> None:
    table = tmp_path / "laws.yaml"
    table.write_text(line, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"laws\.yaml: 劳动法: .* is no list of articles; write `1-98` or"):
        load_articles(table)


def test_the_table_of_laws_has_exactly_the_articles_of_the_official_texts(root: Path, shared: Path) -> None:
    table = load_articles(root / "conf/tables/law-articles.yaml")
    texts = list((shared / "statutes_lawrefbook").glob("*(*).md"))
    assert len(texts) == 19
    for path in texts:
        text = path.read_text(encoding="utf-8")
        count = len(set(re.findall(r"^\s*#*\s*第([零一二三四五六七八九十百]+)条", text, re.MULTILINE)))
        law = path.stem.rpartition("(")[0].replace("（", "(").replace("）", ")")
        assert table[law] == {str(article) for article in range(1, count + 1)}, law

import random

import pytest

from loramill.data.phrases import find_phrases, terms
from loramill.data.topics import find_topics
from loramill.records import Record
from tests.factories import record

THEMES = {
    "holiday": ("年休假", "工龄", "折算"),
    "injury": ("工伤认定", "伤残鉴定", "医疗费"),
    "trial": ("试用期", "转正", "录用条件"),
}
FILLERS = [chr(code) for code in range(0x5000, 0x7000)]


def made(count: int) -> tuple[list[Record], list[str]]:
    """Rows of three themes, in one order, and the theme of each; what stands between the words is noise."""
    draw = random.Random(3)
    rows, themes = [], []
    for row in range(count):
        theme = list(THEMES)[row % len(THEMES)]
        said = ["".join(draw.choices(FILLERS, k=2)) + word for word in draw.sample(THEMES[theme], 2) for _ in range(2)]
        rows.append(record("".join(said) + f"{row}？", "".join(reversed(said)) + "。"))
        themes.append(theme)
    return rows, themes


def test_topics_are_the_themes_and_named_by_their_words() -> None:
    rows, themes = made(90)
    topics = find_topics(rows)
    assert sorted(row for topic in topics for row in topic.rows) == list(range(90))
    for topic in topics:
        (theme,) = {themes[row] for row in topic.rows}
        assert set(topic.terms) & set(THEMES[theme])


def test_topics_do_not_depend_on_the_order_of_the_rows() -> None:
    rows, _ = made(60)
    turned = rows[::-1]
    here = [(topic.name, [rows[row].id for row in topic.rows]) for topic in find_topics(rows)]
    there = [(topic.name, [turned[row].id for row in topic.rows]) for topic in find_topics(turned)]
    assert here == there


def test_english_rows_have_topics_too() -> None:
    rows = [record(f"How do I return parcel {i}?", "Open the return page.") for i in range(30)]
    rows += [record(f"Where is invoice {i}?", "The invoice comes by mail.") for i in range(30)]
    names = [topic.name for topic in find_topics(rows)]
    assert any("return" in name for name in names) or any("parcel" in name for name in names)


@pytest.mark.parametrize("rows", [[], made(20)[0], [record("？" * 3, "！" * 3)] * 40], ids=["none", "few", "no words"])
def test_rows_without_topics(rows: list[Record]) -> None:
    assert find_topics(rows) == []


def test_a_phrase_is_whole() -> None:
    """劳动合同 is a phrase; 动合同 never stands without 劳, and 的合同 opens with a particle."""
    draw = random.Random(5)
    texts = ["".join(draw.choices(FILLERS, k=3)) + "劳动合同" + "".join(draw.choices(FILLERS, k=3)) for _ in range(40)]
    found = find_phrases(texts, 3)
    assert "劳动合同" in found
    assert not {"动合同", "劳动合"} & found


def test_the_longest_phrase_counts_and_titles_do_not() -> None:
    phrases = frozenset({"工伤", "工伤认定"})
    assert terms("申请工伤认定，工伤。《工伤保险条例》 The Claim form", phrases, frozenset({"the"})) == [
        "工伤认定",
        "工伤",
        "claim",
        "form",
        "claim form",
    ]

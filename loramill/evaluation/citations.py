"""Laws and articles that an answer cites, held against a table of those that exist.

Only what stands right behind a title counts as its article: 《劳动合同法》第三十八条、第四十六条. 「该法第九十条」 is not
followed back, and titles that are no law's, such as 《员工手册》, are left alone.
"""

import re
from collections.abc import Iterator
from typing import Final

from loramill.config import Articles, law_name

_NUMBER: Final = r"[零〇一二两三四五六七八九十百千\d]{1,9}"
_ARTICLE: Final = rf"第{_NUMBER}(?:[、和及与]{_NUMBER})*条(?:之{_NUMBER})?(?:第{_NUMBER}款)?(?:第{_NUMBER}项)?"
_CITED: Final = re.compile(
    rf"《([^《》\n]{{2,60}})》(?:（[^（）\n]{{0,30}}）)?\s*((?:{_ARTICLE}[、，,和及与以至到]{{0,2}}){{0,12}})"
)
_PLACES: Final = re.compile(rf"第({_NUMBER}(?:[、和及与]{_NUMBER})*)条(?:之({_NUMBER}))?")
_LAW: Final = re.compile(r"(?:法|法典|条例|规定|办法|解释|细则|通则|决定|批复|意见)(?:\([^()]{1,6}\))?$")
_DIGITS: Final = {mark: value for value, mark in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_TENS: Final = {"十": 10, "百": 100, "千": 1000}


def unknown_citations(answer: str, table: Articles) -> list[str]:
    """Return what an answer cites and the table does not have, as the answer writes it, in order."""
    return [cited for cited, law, articles in _citations(answer) if not _exists(law, articles, table)]


def _citations(answer: str) -> Iterator[tuple[str, str, list[str]]]:
    """Yield each citation as it is written, its law, and its articles as tables have them."""
    for found in _CITED.finditer(answer):
        law = law_name(found[1])
        if _LAW.search(law):
            yield found[0].rstrip("、，,和及与以至到 \n"), law, list(_articles(found[2]))


def _articles(written: str) -> Iterator[str]:
    for numbers, later in _PLACES.findall(written):
        for number in re.split("[、和及与]", numbers):
            yield f"{_value(number)}.{_value(later)}" if later else str(_value(number))


def _exists(law: str, articles: list[str], table: Articles) -> bool:
    return law in table and table[law].issuperset(articles)


def _value(number: str) -> int:
    """Return the value of a number below ten thousand in digits or Chinese characters: 一百零五, 105."""
    total = current = 0
    for mark in number:
        if mark in _TENS:
            total, current = total + (current or 1) * _TENS[mark], 0
        else:
            current = current * 10 + (_DIGITS[mark] if mark in _DIGITS else int(mark))
    return total + current

"""Whether two answers to the same question agree: in numbers, in cited articles, in yes or no.

Told by signs, not by meaning: what it finds is shown to a person.
"""

import re
from typing import Final

from loramill.data.alike import pieces
from loramill.data.patterns import any_of
from loramill.data.quality import plain

DIGITS: Final = {mark: value for value, mark in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
TENS: Final = {"十": 10, "百": 100, "千": 1000, "万": 10000, "亿": 100000000}
UNITS: Final = (
    "个?工作日|个?小时|分钟|个月|星期|周|日|天|年|倍|万元|元|块钱?|%|％|次|级|公里|公斤|毫克|毫升|"
    "days?|hours?|weeks?|months?|years?|percent"
)
SAME_UNIT: Final = {
    "天": "日",
    "星期": "周",
    "块": "元",
    "块钱": "元",
    "％": "%",
    "percent": "%",
    "小时": "个小时",
    "工作日": "个工作日",
}
AMOUNT: Final = re.compile(
    rf"(?<!第)(?<![\d.])(\d[\d,]*(?:\.\d+)?|[零〇一二两三四五六七八九十百千万]+) ?({UNITS})(?![之以])", re.IGNORECASE
)
CITED: Final = re.compile(r"《([^》]{2,40})》\s*((?:第[零〇一二两三四五六七八九十百千\d]+条[、和及以]*)+)")
ARTICLE: Final = re.compile(r"第([零〇一二两三四五六七八九十百千\d]+)条")
POLAR: Final = any_of(
    "吗|是否|能否|可否|能不能|可不可以|合不合法|要不要|需不需要|算不算",
    r"^(?:can|could|is|are|do|does|did|may|should|will|must)\b",
    flags=re.IGNORECASE,
)
NO: Final = any_of(
    "不合法|违法|不合理|不可以|不能|不得|不行|无权|不需要|无需|不用|不必|不应|不支持|没有权利|不构成|不属于|不算|不会|不是|^否",
    r"\bno\b|\bnot\b|n['’]t\b",
    flags=re.IGNORECASE,
)
YES: Final = any_of(
    "合法|可以|有权|需要|应当|支持|构成|属于|^是的?|^能|^会|^有", r"\byes\b|\bcan\b", flags=re.IGNORECASE
)
NOTHING_ALIKE: Final = 0.02
"""Answers that share less of their pieces have no sentence in common."""
LONG_ENOUGH: Final = 20
"""Characters from which answers can be compared by their pieces."""


def likeness(first: str, second: str) -> float:
    """Return the Jaccard likeness of two texts' 3-character pieces, spaces, case and punctuation aside."""
    own, other = pieces(plain(first)), pieces(plain(second))
    return len(own & other) / len(own | other)


def same_numbers(first: str, second: str) -> bool:
    """Tell whether two texts hold the same figures: 「欠薪3000元」 is another question than 「欠薪5000元」."""
    return _figures(first) == _figures(second)


def disagreement(question: str, first: str, second: str) -> str | None:
    """Return in what two answers to a question do not agree, or nothing."""
    for found in (_amounts(first, second), _articles(first, second), _stances(question, first, second)):
        if found:
            return found
    long = min(len(first), len(second)) >= LONG_ENOUGH
    return "hardly a word in common" if long and likeness(first, second) < NOTHING_ALIKE else None


def number(text: str) -> float:
    """Return the value of a number in digits or Chinese characters."""
    if text[0].isdigit():
        return float(text.replace(",", ""))
    total, current = 0, 0
    for mark in text:
        if mark in DIGITS:
            current = DIGITS[mark]
        elif TENS[mark] >= 10000:
            total, current = (total + current or 1) * TENS[mark], 0
        else:
            total, current = total + (current or 1) * TENS[mark], 0
    return float(total + current)


def _figures(text: str) -> set[tuple[str, float]]:
    bare = {("", float(found)) for found in re.findall(r"\d{1,15}(?:\.\d{1,6})?", text)}
    return bare | _by_unit(text)


def _by_unit(text: str) -> set[tuple[str, float]]:
    found = set()
    for value, unit in AMOUNT.findall(text):
        unit = unit.lower()
        unit = unit[:-1] if unit.isascii() and unit.endswith("s") else unit
        found.add((SAME_UNIT.get(unit, unit), number(value)))
    return found


def _amounts(first: str, second: str) -> str | None:
    own, other = _by_unit(first), _by_unit(second)
    for unit in sorted({unit for unit, _ in own} & {unit for unit, _ in other}):
        mine, theirs = ({value for kind, value in side if kind == unit} for side in (own, other))
        if not mine & theirs:
            return f"{_listed(mine)} against {_listed(theirs)} {unit}"
    return None


def _listed(values: set[float]) -> str:
    return "/".join(f"{value:.15g}" for value in sorted(values)[:3])


def _articles(first: str, second: str) -> str | None:
    own, other = _cited(first), _cited(second)
    for law in sorted(own.keys() & other.keys()):
        if not own[law] & other[law]:
            return f"《{law}》 article {_listed(own[law])} against {_listed(other[law])}"
    return None


def _cited(answer: str) -> dict[str, set[float]]:
    laws: dict[str, set[float]] = {}
    for law, articles in CITED.findall(answer):
        name = law.replace("中华人民共和国", "")
        laws.setdefault(name, set()).update(number(value) for value in ARTICLE.findall(articles))
    return laws


def _stances(question: str, first: str, second: str) -> str | None:
    if not POLAR.search(question.strip()):
        return None
    return "yes against no" if {_stance(first), _stance(second)} == {"yes", "no"} else None


def _stance(answer: str) -> str | None:
    """Return yes or no as the first clause that takes sides says, or nothing where it says both."""
    for clause in re.split(r"[。！？!?；;，,\n]", answer)[:3]:
        against = bool(NO.search(clause.strip()))
        pro = bool(YES.search(NO.sub("", clause.strip())))
        if against != pro:
            return "no" if against else "yes"
        if against:
            return None
    return None

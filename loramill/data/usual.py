"""What is usual in a set of answers, so that a row can be called unusual: their script, their last mark, their length."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from loramill.config import ValidationConfig
from loramill.data.patterns import ABOUT_CODE, LINK, any_of
from loramill.data.quality import hanging, is_closed, prose, shown

SCRIPTS: Final[Mapping[str, str]] = {
    "Kana": "[\u3040-\u30ff]+",
    "Hangul": "[\uac00-\ud7af]+",
    "Han": "[\u3400-\u4dbf\u4e00-\u9fff]+",
    "Latin": "[A-Za-z\u00c0-\u024f]+",
    "Cyrillic": "[\u0400-\u04ff]+",
    "Greek": "[\u0370-\u03ff]+",
    "Arabic": "[\u0600-\u06ff]+",
    "Hebrew": "[\u0590-\u05ff]+",
    "Devanagari": "[\u0900-\u097f]+",
    "Thai": "[\u0e00-\u0e7f]+",
}
BY_CHARACTER: Final = frozenset({"Kana", "Hangul", "Han"})
"""Scripts whose characters count; of the others it is the words, an English word in Chinese weighs one."""
LETTERS: Final = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in SCRIPTS.items()))
SCRIPT_OF: Final[Mapping[str, str]] = {
    "zh": "Han",
    "ja": "Kana",
    "ko": "Hangul",
    "ru": "Cyrillic",
    "el": "Greek",
    "ar": "Arabic",
    "he": "Hebrew",
    "hi": "Devanagari",
    "th": "Thai",
}
"""Languages that are not here are written in Latin letters."""
ASKS_FOR_ANOTHER: Final = any_of(
    "翻译|译成|译为|英文|英语|日语|日文|法语|德语|韩语|俄语|西班牙语|外语|中文|单词|缩写|公式|算法|编写",
    "translat|english|chinese|french|german|spanish|japanese",
    flags=re.IGNORECASE,
)
SENTENCE_END: Final = re.compile(r"[。！？]|[.!?][\s”\"]")
DECIDES: Final = 6
"""Words or characters of an answer that are enough to tell its script."""
ENOUGH: Final = 20
"""Answers from which a habit can be told."""
SHORTEST_CAP: Final = 50
"""No program cuts answers shorter than that; labels often have one length."""
KANA_OF_JAPANESE: Final = 0.2
MIXED: Final = 0.2
"""With a larger share of the usual script, an answer only lists foreign names."""


@dataclass(frozen=True)
class Usual:
    """The habits of one set of answers."""

    script: str | None
    """The script that answers are written in, or nothing where there is none in common."""
    is_closed: bool
    """Answers end in closing punctuation."""
    cap: int | None
    """A length in characters at which answers were cut: no answer is longer, and many are exactly that long."""


class Tally:
    """Counts the habits while the rows pass by."""

    def __init__(self) -> None:
        self._scripts: Counter[str] = Counter()
        self._closed: Counter[bool] = Counter()
        self._longest, self._at_longest, self._open_there = 0, 0, 0

    def add(self, answer: str) -> None:
        """Count one answer."""
        script = script_of(answer)
        if script:
            self._scripts[script] += 1
        if is_prose(answer):
            self._closed[is_closed(answer)] += 1
        if len(answer) > self._longest:
            self._longest, self._at_longest, self._open_there = len(answer), 0, 0
        if len(answer) == self._longest:
            self._at_longest += 1
            self._open_there += not is_closed(answer)

    def usual(self, config: ValidationConfig) -> Usual:
        """Return what so many rows have in common as ``validation.majority`` says."""
        return Usual(self._script(config), self._is_usual(self._closed, True, config.majority), self._cap())

    def _script(self, config: ValidationConfig) -> str | None:
        if config.language != "auto":
            return SCRIPT_OF.get(config.language, "Latin")
        return next((name for name in self._scripts if self._is_usual(self._scripts, name, config.majority)), None)

    @staticmethod
    def _is_usual(counts: Mapping[str, int] | Mapping[bool, int], value: object, majority: float) -> bool:
        total = sum(counts.values())
        return total >= ENOUGH and counts.get(value, 0) >= majority * total  # type: ignore[call-overload]

    def _cap(self) -> int | None:
        is_common = self._at_longest >= 3 and self._open_there * 2 >= self._at_longest
        return self._longest if is_common and self._longest >= SHORTEST_CAP else None


def script_of(text: str) -> str | None:
    """Return the script of most of a text's words, or nothing where they are too few to tell; code does not count."""
    counts = _by_script(text)
    total = counts.total()
    if total < DECIDES:
        return None
    if counts["Kana"] > KANA_OF_JAPANESE * total:  # Japanese is written in both
        return "Kana"
    return counts.most_common(1)[0][0]


def _by_script(text: str) -> Counter[str]:
    counts: Counter[str] = Counter()
    for found in LETTERS.finditer(LINK.sub("", prose(text))):
        script = found.lastgroup or ""
        counts[script] += len(found[0]) if script in BY_CHARACTER else 1
    return counts


def wrong_language(question: str, answer: str, usual: Usual) -> str | None:
    """Find an answer in another script than the set's; a question that asks for a language or for code is answered in it."""
    if usual.script is None or ASKS_FOR_ANOTHER.search(question) or ABOUT_CODE.search(question):
        return None
    script, counts = script_of(answer), _by_script(answer)
    is_mixed = script != "Kana" and counts[usual.script] > MIXED * counts.total()
    return None if script in {None, usual.script} or is_mixed else f"{script} instead of {usual.script}"


def is_prose(answer: str) -> bool:
    """Tell whether an answer is made of sentences: a label, a sum or a list of words ends without a mark."""
    last = answer.rstrip().rpartition("\n")[2]
    return bool(SENTENCE_END.search(answer)) and "=" not in last and not last.startswith("#") and " #" not in last


def cut_off(answer: str, usual: Usual) -> str | None:
    """Find an answer that stops in mid-sentence."""
    found = hanging(answer)
    if found:
        return found
    if len(answer) == usual.cap and not is_closed(answer):
        return f"exactly {usual.cap} characters, where others end as well: {shown(answer[-12:])}"
    return shown(answer[-12:]) if usual.is_closed and is_prose(answer) and not is_closed(answer) else None

"""What is wrong with one row by itself: each function returns the evidence it found, or nothing.

The evidence, not a flag, becomes a column of the contract: the reason that a person reads names what was found.
"""

import re
import unicodedata
from collections import Counter
from typing import Final

from loramill.data.patterns import (
    ABOUT_CODE,
    BLANK,
    BRACKETS,
    BROKEN,
    CLOSED,
    CODE,
    CONTROL,
    GBK_SUSPECTS,
    HAN_RUN,
    HANGING,
    INVISIBLE,
    LINK,
    LIST_ITEM,
    MUSTACHE,
    PLACEHOLDER,
    REFUSAL,
    SLOT,
    STRUCK,
    TAG,
    TAIL,
    TOKEN,
    WORD,
)

SHOWN: Final = 40
"""Characters of evidence that a reason shows."""
PIECE: Final = 4
FEW_DIFFERENT: Final = 0.75
"""Texts with a larger share of different 4-character pieces hold no repetition worth the slow search."""


def prose(text: str) -> str:
    """Return a text without its code: braces and tags are at home there."""
    return CODE.sub(" ", text) if "`" in text else text


def shown(text: str) -> str:
    """Return text as evidence: short, on one line, with what cannot be seen spelled out."""
    line = "".join(f"\\u{ord(mark):04x}" if not mark.isprintable() else mark for mark in BLANK.sub(" ", text))
    return line if len(line) <= SHOWN else f"{line[:SHOWN]}…"


def words(text: str) -> int:
    """Count the letters and digits of a text."""
    return sum(map(len, WORD.findall(text)))


def placeholder(question: str, answer: str) -> str | None:
    """Find what a template or an author meant to fill in and never did."""
    found = PLACEHOLDER.search(prose(answer)) or MUSTACHE.search(prose(question))
    return shown(found[0]) if found else None


def slot(answer: str) -> str | None:
    """Find a blank that may be meant: ``[姓名]``, ``{name}``, ``XXX``; a letter template has such, an answer has not."""
    found = SLOT.search(prose(answer))
    return shown(found[0]) if found else None


def mojibake(text: str) -> str | None:
    """Find bytes that were read in a wrong encoding: lost ones, UTF-8 read as Latin-1 or as GBK."""
    import ftfy.badness

    found = BROKEN.search(text)
    if found:
        return shown(text[found.start() : found.start() + 12])
    if not text.isascii() and ftfy.badness.is_bad(text):
        bad = ftfy.badness.BADNESS_RE.search(text)
        return shown(bad[0] if bad else text)
    return _read_as_gbk(text)


def _read_as_gbk(text: str) -> str | None:
    """Find a run of Chinese characters whose GBK bytes are UTF-8: chance does not do that."""
    if not GBK_SUSPECTS.search(text):
        return None
    for run in HAN_RUN.findall(text):
        for end in (len(run), len(run) - 1, len(run) - 2):
            try:
                decoded = run[:end].encode("gb18030").decode("utf-8")
            except UnicodeError:
                continue
            if len(decoded) >= 2:
                return shown(run)
    return None


def repetition(text: str) -> tuple[float, str]:
    """Return the share of a text that one character or phrase fills by repeating itself, and that phrase."""
    packed = "".join(text.split())
    starts = range(max(1, len(packed) - PIECE + 1))
    if len(packed) < 10 or len({packed[at : at + PIECE] for at in starts}) > FEW_DIFFERENT * len(starts):
        return 0.0, ""
    stretches = re.finditer(r"([^\W_]{1,40}?|.{2,40}?)\1{3,}", packed)
    share, phrase = max(
        ((len(m[0]) / len(packed), m[1]) for m in stretches if m[1].strip("-=_*.·…~—|:#+")), default=(0.0, "")
    )
    sentences = Counter(part for part in re.split(r"[。！？!?\n；;]+", text) if words(part) >= 6)
    sentence, times = max(sentences.items(), key=lambda item: item[1] * len(item[0]), default=("", 0))
    again = times * len(sentence) / len(text) if times >= 4 else 0.0
    return (again, sentence) if again > share else (share, phrase)


def echo(question: str, answer: str) -> str | None:
    """Find an answer that says the question again and nothing else."""
    return shown(answer) if plain(question) == plain(answer) else None


def special_token(text: str) -> str | None:
    """Find a token of a chat template: in a row it would end or open a turn where none does."""
    found = TOKEN.search(STRUCK.sub("", prose(text)))
    return shown(found[0]) if found else None


def control_character(text: str) -> str | None:
    """Find a character that steers a terminal or a printer and is no writing."""
    found = CONTROL.search(text)
    return shown(found[0]) if found else None


def invisible_character(text: str) -> str | None:
    """Find a character without width that nobody sees and the model learns; the joiners of scripts and emoji are spared."""
    found = INVISIBLE.search(text)
    return shown(found[0]) if found else None


def only_links(answer: str) -> str | None:
    """Find an answer that is a link and at most two words."""
    found = LINK.search(answer)
    return shown(found[0]) if found and words(LINK.sub("", answer)) <= 2 else None


def html(question: str, answer: str) -> str | None:
    """Find tags and entities that a web page left; a question about code may have them in its answer."""
    found = TAG.search(prose(answer))
    return shown(found[0]) if found and not ABOUT_CODE.search(question) else None


def refusal(answer: str) -> str | None:
    """Find another assistant that speaks of itself or declines."""
    found = REFUSAL.search(answer)
    return shown(found[0]) if found else None


def hanging(answer: str) -> str | None:
    """Find an end that waits for more: a comma, a connective, an open bracket, an open code block."""
    if answer.count("```") % 2:
        return "a code block that never closes"
    tail = TAIL.sub("", answer)
    found = HANGING.search(tail)
    if found:
        return shown(tail[-12:])
    if is_closed(answer):
        return None
    unclosed = next((mark for mark, end in BRACKETS if tail.rfind(mark) > tail.rfind(end)), None)
    return f"{unclosed} that never closes" if unclosed else None


def is_closed(answer: str) -> bool:
    """Tell whether an answer ends as a text may: in closing punctuation, a link, code or an item of a list."""
    tail = TAIL.sub("", answer)
    last = tail.rpartition("\n")[2]
    return bool(CLOSED.search(tail) or answer.rstrip().endswith("`") or LINK.search(last) or LIST_ITEM.match(last))


def plain(text: str) -> str:
    """Return a text for comparing: one width, one case, no spaces and punctuation."""
    return re.sub(r"[\s!-/:-@\[-`{-~\u2000-\u206f\u3000-\u303f·]+", "", unicodedata.normalize("NFKC", text).casefold())

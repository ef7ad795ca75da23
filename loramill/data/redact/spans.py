"""What a finder hands over, and the two things every finder needs: a text of plain characters, and what stands before."""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from loramill.config import PersonalKind

HAN: Final = "[\u4e00-\u9fff]"


class Span(NamedTuple):
    """Where a personal value stands in a text."""

    start: int
    end: int
    kind: PersonalKind


LATIN: Final = re.compile("[A-Za-z]")
"""Rows without a Latin letter are most rows in Chinese data; half of the rules need not look at them."""
_PLAIN: Final = {
    **{
        ord(wide): ord(wide) - 0xFEE0
        for wide in map(chr, range(0xFF01, 0xFF5F))
        if wide.isalnum() or wide in "＠＋－．＿％"
    },
    **dict.fromkeys((*range(0x2010, 0x2016), 0x2212), ord("-")),
    0x3000: ord(" "),
}
_WIDE: Final = re.compile(f"[{re.escape(''.join(map(chr, _PLAIN)))}]")


def plain(text: str) -> str:
    """Return the text with full-width digits, letters, spaces and dashes as ASCII; every character keeps its place."""
    return text.translate(_PLAIN) if _WIDE.search(text) else text


def before(text: str, start: int, characters: int = 14) -> str:
    """Return what stands directly before ``start``."""
    return text[max(0, start - characters) : start]


def without_overlaps(spans: Iterable[Span], taken: Iterable[tuple[int, int]] = ()) -> list[Span]:
    """Return spans in order, none of which meets a ``taken`` place; of two that overlap the longer one stays."""
    ordered = sorted(spans, key=lambda span: (span.start - span.end, span.start))
    if not ordered:
        return ordered
    places = bytearray(max(span.end for span in ordered))
    for start, end in taken:
        places[start:end] = b"\1" * (min(end, len(places)) - min(start, len(places)))
    kept: list[Span] = []
    for span in ordered:
        if not any(places[span.start : span.end]):
            places[span.start : span.end] = b"\1" * (span.end - span.start)
            kept.append(span)
    return sorted(kept)

"""Keep the rows of every domain out of the text, and set a part of the text aside.

The measure is the data room's own: Jaccard likeness of 3-character pieces, here between each thing said in a document and each
thing said in a domain's row, trained on or held out.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from loramill.config import ValidationConfig
from loramill.data.alike import pieces
from loramill.data.read import read_folder
from loramill.errors import DataError
from loramill.records import Record
from scripts.base.sources import Document

ALIKE = 0.5
"""Likeness from which two texts count as the same: lower than the pipeline's own threshold, to be on the safe side."""
INVENTED = re.compile(r"第[XxＸ×]+条|\{\{|[XＸ×]{2,}条")
"""Marks of an answer that made its citation up."""
LIKE_A_ROW = "like a domain's row"
HELD_OUT_PERCENT = 1


@dataclass(frozen=True)
class Index:
    """Texts by their pieces."""

    sizes: tuple[int, ...]
    holders: dict[str, list[int]]


def domain_texts(data: Path) -> list[str]:
    """Return everything said in the rows of all domains; ``data`` holds one folder per domain.

    Raises:
        DataError: there is no row.
    """
    places = [place for place in sorted(data.iterdir()) if place.is_dir()]
    rows = [row for place in places for row in read_folder(place, ValidationConfig())]
    records = [row for row in rows if isinstance(row, Record)]
    if not records:
        raise DataError(
            f"{str(data)!r} holds no row of a domain: what is not known cannot be kept out; fetch it by `make data`"
        )
    return [message.content for record in records for message in record.messages]


def index(texts: Iterable[str]) -> Index:
    """Make texts findable by their pieces."""
    holders: defaultdict[str, list[int]] = defaultdict(list)
    sizes = []
    for number, text in enumerate(texts):
        own = pieces(text)
        sizes.append(len(own))
        for piece in own:
            holders[piece].append(number)
    return Index(tuple(sizes), dict(holders))


def likeness(text: str, known: Index) -> float:
    """Return the largest likeness of ``text`` to a known text."""
    own = pieces(text)
    shared = Counter(number for piece in own for number in known.holders.get(piece, ()))
    return max((count / (len(own) + known.sizes[number] - count) for number, count in shared.items()), default=0.0)


def screen(documents: Sequence[Document], known: Index) -> tuple[list[Document], dict[str, dict[str, int]]]:
    """Return the documents that may be learnt, and per source how many were kept out and why."""
    kept: list[Document] = []
    figures: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for document in documents:
        reason = _reason(document, known)
        figures[document.source][reason] += 1
        if reason == "kept":
            kept.append(document)
            figures[document.source]["characters"] += document.characters
    return kept, {source: dict(figure) for source, figure in figures.items()}


def nearest(documents: Iterable[Document], known: Index) -> float:
    """Return the largest likeness of anything said in the documents to a known text: what the screen let through."""
    return max(likeness(text, known) for document in documents for text in document.texts)


def _reason(document: Document, known: Index) -> str:
    if any(INVENTED.search(text) for text in document.texts):
        return "invented citation"
    if any(likeness(text, known) >= ALIKE for text in document.texts):
        return LIKE_A_ROW
    return "kept"


def is_held_out(document: Document) -> bool:
    """Tell whether a document is for measuring only: by its content, so that it never changes sides."""
    return digest(document) % 100 < HELD_OUT_PERCENT


def digest(document: Document) -> int:
    """Return a number that follows from what a document says."""
    return int.from_bytes(hashlib.sha256("\n".join(document.texts).encode()).digest()[:8], "big")

"""Tables that rules for answers look things up in: which laws there are, and which articles each has.

A table is YAML: the name of a law, without 中华人民共和国 and book marks, and its articles: ``1-98``, or ``1-12, 14, 14.1``
where ``14.1`` is 第十四条之一. Other names of the same law get a line of their own.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from loramill.errors import ConfigError

Articles = Mapping[str, frozenset[str]]
"""Law -> its articles: ``14``, and ``14.1`` for one that was put in later."""

_PIECE: Final = re.compile(r"(?P<first>\d{1,4})(?:\s*-\s*(?P<last>\d{1,4})|(?P<later>\.\d{1,2}))?")


def law_name(name: str) -> str:
    """Return a law's name as tables have it: no state's name before it, no spaces, half-width brackets."""
    plain = "".join(unicodedata.normalize("NFKC", name).split())
    return plain.strip("《》〈〉").removeprefix("中华人民共和国")


def parse_articles(path: Path, content: Mapping[str, object]) -> Articles:
    """Turn the lines of a table into sets of articles.

    Raises:
        ConfigError: a line cannot be read; it is quoted.
    """
    return {law_name(str(law)): frozenset(_articles(path, str(law), str(text))) for law, text in content.items()}


def _articles(path: Path, law: str, text: str) -> Iterator[str]:
    for piece in text.split(","):
        found = _PIECE.fullmatch(piece.strip())
        if not found:
            raise ConfigError(f"{path}: {law}: {text!r} is no list of articles; write `1-98` or `1-12, 14, 14.1`")
        first, last = int(found["first"]), int(found["last"] or found["first"])
        yield from (f"{article}{found['later'] or ''}" for article in range(first, last + 1))

"""What the arguments of a tool call say: the texts in them are rows' texts like any other."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Final

_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*+"\s*+:|(?P<text>"(?:[^"\\]|\\.)*+")|(?P<number>-?\d[\d.eE+-]*+)')
"""A key, or a value that can say something; by pattern, so that no depth of nesting matters."""


def said_in(arguments: str) -> list[str]:
    """Return the texts and the numbers among the values of a JSON object, as they are read."""
    return [_read(found) for found in _values(arguments)]


def saying(arguments: str, texts: Sequence[str]) -> str:
    """Return the object with other texts in the places of `said_in`; what did not change stays as it was written.

    A number that becomes another text becomes a text in quotes.
    """
    pieces: list[str] = []
    done = 0
    for found, text in zip(_values(arguments), texts, strict=True):
        if text != _read(found):
            pieces += [arguments[done : found.start()], json.dumps(text, ensure_ascii=False)]
            done = found.end()
    return "".join([*pieces, arguments[done:]])


def _values(arguments: str) -> Iterator[re.Match[str]]:
    return (found for found in _TOKEN.finditer(arguments) if found.lastgroup)


def _read(found: re.Match[str]) -> str:
    return str(json.loads(found[0])) if found["text"] else found[0]

"""A window over a JSON document: one row at a time, with its true line, however long the document is."""

import io
import json
import re
from typing import Any

from loramill.data.read.lines import LONGEST, writable
from loramill.data.read.refusal import UnreadableRowError

CHUNK = 2**16
SPACE = re.compile(r"[ \t\n\r\ufeff]*")
"""With the mark of a file that was put behind another one."""
KEY = re.compile(r'"(?:[^"\\]|\\.)*"[ \t\n\r]*:')
OPENING = re.compile(r"""[\[{\s]{0,16}\{\s{0,16}(?:"[^"\\]{1,64}"|'[^'\\]{1,64}')""")
"""How a row begins, with the first of its keys."""
NEAR = 16
"""Characters from the window's end within which an error may only mean that the rest is not there yet."""
SKIPPED = 2**18
"""Characters of what `Scanner.skip` steps over that are kept to be looked at."""
LONGEST_GOAL = 256
"""Characters of the longest thing that `Scanner.skip` looks for."""


def strict_decoder() -> json.JSONDecoder:
    """Return a decoder that refuses what other JSON readers would read otherwise: a key twice, NaN, Infinity."""
    return json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_constant)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = writable(next(key for key in keys if keys.count(key) > 1))
        raise UnreadableRowError("duplicate-key", f"the key {twice!r} occurs twice, and only one can hold; remove one")
    return content


def _constant(text: str) -> None:
    raise UnreadableRowError("not-json", f"not valid JSON ({text} is no number); write null, a number or a text")


def _opening(text: str) -> str | None:
    """Return what finds the beginning of a row that begins like this one, however it is spaced."""
    found = OPENING.match(text)
    return r"\s*".join(re.escape(piece) for piece in re.findall(r"[\[{]|[\"'].*", found[0])) if found else None


class Scanner:
    """What has been read of a document and not yet been used.

    ``json.JSONDecoder.raw_decode`` does the parsing; here is only what it leaves open: more text when the window ends within
    a row, the line, and where to go on behind a broken row. A library that yields events would know none of the three.
    """

    def __init__(self, text: io.TextIOWrapper) -> None:
        """``text`` must turn every line end into a line feed."""
        self._text = text
        self._window = ""
        self._place = 0
        self._ended = False
        self._decoder = strict_decoder()
        self._indent: str | None = None
        self._opening: str | None = None
        self.line = 1
        self.last = ""
        """The character before the place to which `skip` came, white space left out."""

    @property
    def rest(self) -> str:
        """The window's beginning, to be shown."""
        return self._window[self._place : self._place + CHUNK]

    @property
    def at_end(self) -> bool:
        """Whether nothing is left."""
        return not self.next_char()

    @property
    def is_long(self) -> bool:
        """Whether what comes next is longer than any row."""
        return len(self._window) - self._place >= LONGEST

    def next_char(self) -> str:
        """Step over white space and return what stands there; nothing at the end."""
        while True:
            end = SPACE.match(self._window, self._place).end()  # type: ignore[union-attr]
            self._advance(end)
            if end < len(self._window):
                return self._window[end]
            if not self._more():
                return ""

    def take(self) -> None:
        """Step over one character."""
        self._advance(self._place + 1)

    def peek(self) -> Any:
        """Return the next value and stay before it.

        Raises:
            UnreadableRowError: it is longer than a row may be, or breaks a rule that JSON leaves open.
            ValueError: it is no JSON.
            RecursionError: it is nested too deep.
        """
        return self._decode()[0]

    def decode(self) -> tuple[Any, str]:
        """Return the next value with its text and step over it; raises like `peek`, and stays there."""
        value, end = self._decode()
        text = self._window[self._place : end]
        self._indent, self._opening = self._indentation(), _opening(text)
        self._advance(end)
        return value, text

    def skip_key(self) -> bool:
        """Step over ``"name":``; say whether there was one."""
        while not (found := KEY.match(self._window, self._place)):
            if self.is_long or not self._more():
                return False
        self._advance(found.end())
        return True

    def skip_row(self) -> str:
        """Step over a broken row, to the next line or to the next key that starts like it, and return what was stepped over."""
        indent = self._indentation() if self._indent is None else self._indent
        if indent is not None:
            return self.skip(re.compile(rf"\n{indent}(?=[\[{{])"))
        opening = self._opening or _opening(self.rest)
        return self.skip(re.compile(rf"(?s:.)(?={opening})" if opening else r"(?!)"))

    def skip(self, goal: re.Pattern[str]) -> str:
        """Step behind the next place that fits ``goal``, or to the end, and return (the beginning of) what lay between."""
        skipped = ""
        while not (found := goal.search(self._window, self._place)):
            end = max(self._place, len(self._window) - LONGEST_GOAL)
            if len(skipped) < SKIPPED:
                skipped += self._window[self._place : end]
            self._advance(end)
            if not self._more():
                end = len(self._window)
                break
        else:
            end = found.end()
        skipped += self._window[self._place : end]
        self._advance(end)
        self.last = skipped.rstrip()[-1:]
        return skipped

    def _decode(self) -> tuple[Any, int]:
        while True:
            try:
                value, end = self._decoder.raw_decode(self._window, self._place)
                if end < len(self._window) or not self._more():
                    return value, end
            except json.JSONDecodeError as error:
                cut_off = error.pos > len(self._window) - NEAR or error.msg.startswith("Unterminated string")
                if not cut_off or not self._more():
                    raise ValueError(f"{error.msg}, line {self.line + self._newlines(error.pos)}") from None
            if self.is_long:
                reason = f"longer than {LONGEST:,} characters, which is no question with an answer; split it into rows"
                raise UnreadableRowError("too-long-line", reason)

    def _newlines(self, end: int) -> int:
        return self._window.count("\n", self._place, end)

    def _indentation(self) -> str | None:
        """Return the white space before the next value if it is the first of its line."""
        before = self._window[self._window.rfind("\n", 0, self._place) + 1 : self._place]
        return before if before.isspace() or not before else None

    def _advance(self, place: int) -> None:
        self.line += self._newlines(place)
        self._place = place

    def _more(self) -> bool:
        """Read on, as much again as is there, so that a long row is not parsed too often; say whether there was more."""
        if self._ended:
            return False
        keep = max(0, self._window.rfind("\n", 0, self._place) + 1) if self._place < len(self._window) else self._place
        keep = max(keep, self._place - CHUNK)
        chunk = self._text.read(max(CHUNK, len(self._window) - self._place))
        self._window = self._window[keep:] + chunk
        self._place -= keep
        self._ended = not chunk
        return bool(chunk)

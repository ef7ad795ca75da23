"""Text files as lines that are safe to parse, one at a time, however long the file or a line of it is."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple

from loramill.data.findings import Refused

LONGEST = 8 * 2**20
"""Characters of the longest line, cell or row that is read: a thousand times a long answer, a hundredth of the memory."""
SHOWN = 60
"""Characters of a row that are shown with its refusal."""
ESCAPED = re.compile("[\udc80-\udcff]")
"""What ``surrogateescape`` makes of bytes that the encoding does not know."""
MARK = "\ufeff"
"""Opens a file in UTF-8; where files were put one behind the other it stands in the middle and says nothing."""
CONFLICT_BEGINS, CONFLICT_ENDS = "<<<<<<<", ">>>>>>>"
SAMPLE = 2**18
"""Bytes that the encoding is told from."""
DETECTED, ENOUGH = 2**14, 32
"""Bytes that a detector is shown, and characters beyond ASCII from which on it can be sure."""
LAST_HANGUL = 0xC8
"""First byte of the last Korean syllable in EUC-KR."""
MULTIBYTE = {"gb18030", "big5", "big5hkscs", "cp950", "shift_jis", "cp932", "euc_jp", "euc_kr", "cp949"}
"""Encodings that a detector may name: in a single-byte encoding any bytes are text, so no detector can be sure."""


class Line(NamedTuple):
    """One physical line."""

    number: int
    """From 1."""
    text: str
    """With its line end; empty if it is refused."""
    refused: Refused | None = None


@contextmanager
def as_text(raw: BinaryIO, *, newline: str | None) -> Iterator[io.TextIOWrapper | None]:
    """Look at a file as text in the encoding that its bytes speak for, or not at all.

    UTF-8 and UTF-16 by their mark, UTF-8 without mark, GB18030, and what a detector is sure of. Bytes of a line that do not fit
    become lone surrogates, so that the line can be refused and the others kept.
    """
    raw.seek(0)
    encoding = _encoding(_sample(raw))
    raw.seek(0)
    if encoding is None:
        yield None
        return
    errors = "replace" if encoding.startswith("utf-16") else "surrogateescape"
    text = io.TextIOWrapper(raw, encoding=encoding, errors=errors, newline=newline)
    try:
        yield text
    finally:
        text.detach()  # whoever opened the file closes it


def not_text(name: str) -> Refused:
    """Return the refusal of a file whose encoding nobody can tell."""
    reason = "neither UTF-8 nor GB18030 text, nor surely another; save it as UTF-8 (in a spreadsheet: «CSV UTF-8»)"
    return Refused(f"{name}:1", "undecodable", reason)


def read_lines(text: io.TextIOWrapper, name: str) -> Iterator[Line]:
    """Yield the lines of a file; a line that must not be parsed comes with its refusal.

    ``text`` must have been opened with ``newline=""``. Lines between merge-conflict markers are refused like the markers: two
    versions of the same rows lie there, and nobody has said which one holds.
    """
    number, conflict = 0, 0
    while line := text.readline(LONGEST):
        number += 1
        source = f"{name}:{number}"
        if len(line) == LONGEST and line[-1] not in "\r\n":
            _skip_line(text)
            yield Line(number, "", too_long(source, line))
            continue
        marked = line.startswith((CONFLICT_BEGINS, CONFLICT_ENDS))
        if marked and line.startswith(CONFLICT_BEGINS):
            conflict = conflict or number
        refused = _conflicting(source, line, conflict or number) if marked or conflict else _unreadable(source, line)
        if marked and line.startswith(CONFLICT_ENDS):
            conflict = 0
        yield Line(number, "" if refused else line.removeprefix(MARK), refused)


def too_long(source: str, text: str) -> Refused:
    """Return the refusal of a line, cell or row without end."""
    reason = f"longer than {LONGEST:,} characters, which is no question with an answer; split it into rows"
    return Refused(source, "too-long-line", reason, shown(text))


def shown(text: str) -> str:
    """Return the beginning of a text in one line that any file can hold."""
    return writable(" ".join(text[: 4 * SHOWN].split())[:SHOWN])


def writable(text: str) -> str:
    """Return a text that a file can hold in one line: what nobody can see or encode becomes its escape."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def undecodable(source: str, text: str) -> Refused:
    """Return the refusal of a line or row with bytes that its file's encoding does not know."""
    found = ESCAPED.search(text)
    byte = f" (byte 0x{ord(found[0]) - 0xDC00:02x})" if found else ""
    reason = f"its bytes are not in the encoding of the rest of the file{byte}; write that line again"
    return Refused(source, "undecodable", reason, shown(text))


def _unreadable(source: str, line: str) -> Refused | None:
    if line.isascii() and "\0" not in line:
        return None
    if ESCAPED.search(line):
        return undecodable(source, line)
    if "\0" in line:
        return Refused(source, "nul-byte", "a NUL byte, which is no text; write that line again", shown(line))
    return None


def _conflicting(source: str, line: str, begin: int) -> Refused:
    reason = f"a merge conflict that nobody resolved begins in line {begin}; choose one side and delete the markers"
    return Refused(source, "merge-conflict", reason, shown(line))


def _skip_line(text: io.TextIOWrapper) -> None:
    while (rest := text.readline(LONGEST)) and rest[-1] not in "\r\n":
        pass


def _sample(raw: BinaryIO) -> bytes:
    """Return a piece of the file that has other bytes than ASCII, where there is one."""
    sample = begin = raw.read(SAMPLE)
    while sample and sample.isascii():
        sample = raw.read(SAMPLE)
    return sample or begin[:4]


def _encoding(sample: bytes) -> str | None:
    if sample.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    text = sample.decode("utf-8", "surrogateescape")
    beyond = len(text) - len(text.encode("ascii", "ignore"))
    if len(ESCAPED.findall(text)) <= beyond / 2:
        return "utf-8-sig"
    return _chinese_or_japanese(sample) or _detected(sample)


def _chinese_or_japanese(sample: bytes) -> str | None:
    """Tell GB18030 from other bytes that happen to fit.

    Nearly all of a Chinese text is in the small set of 1980. Korean would use only the first half of that, and the kana, of
    which only Japanese is full, stand in the same place of EUC-JP.
    """
    text = [char for char in sample.decode("gb18030", "surrogateescape") if char > "\x7f"]
    known = "".join(text).encode("gb2312", "ignore").decode("gb2312")
    if sum("\u3040" <= char <= "\u30ff" for char in known) > 0.1 * len(text):
        return "euc_jp" if len(known) >= 0.9 * len(text) else None
    words = [char.encode("gb2312")[0] for char in known if "\u4e00" <= char <= "\u9fff"]
    late = sum(byte > LAST_HANGUL for byte in words)
    return "gb18030" if len(known) >= 0.9 * len(text) and late >= 0.15 * len(words) else None


def _detected(sample: bytes) -> str | None:
    from charset_normalizer import from_bytes

    best = from_bytes(sample[:DETECTED]).best()
    if best is None or best.encoding not in MULTIBYTE or best.chaos > 0.1:
        return None
    beyond = sum(char > "\x7f" for char in sample[:DETECTED].decode(best.encoding, "ignore"))
    return best.encoding if beyond >= ENOUGH else None

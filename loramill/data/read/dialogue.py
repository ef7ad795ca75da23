"""Dialogue text: lines that open with a role word, conversations parted by an empty line."""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import BinaryIO

from loramill.config import ValidationConfig
from loramill.data.findings import Refused
from loramill.data.read.lines import LONGEST, Line, as_text, not_text, read_lines, shown, too_long
from loramill.data.read.refusal import UnreadableRowError
from loramill.data.read.turns import conversation
from loramill.records import Message, Record, Role

Roles = tuple[re.Pattern[str], Mapping[str, Role]]


def read_dialogues(raw: BinaryIO, name: str, config: ValidationConfig) -> Iterator[Record | Refused]:
    """Yield one record per block of lines; its source is the block's first line."""
    roles = spoken_roles(config)
    with as_text(raw, newline="") as text:
        if text is None:
            yield not_text(name)
            return
        for block in _blocks(read_lines(text, name)):
            yield from _read_block(block, name, roles)


def spoken_roles(config: ValidationConfig) -> Roles:
    """Return what finds the role word at the beginning of a line, and whose word it is."""
    return _roles(config.user_roles, config.assistant_roles)


def spoken_turn(text: str, roles: Roles) -> Message | None:
    """Return the turn that a text opens: ``律师：…``, ``Q: …`` or ``[客户] …``; nothing if it opens none."""
    found = roles[0].match(text)
    return Message(roles[1][found["plain"] or found["boxed"]], text[found.end() :].strip()) if found else None


@lru_cache(maxsize=8)
def _roles(users: tuple[str, ...], assistants: tuple[str, ...]) -> Roles:
    speakers: dict[str, Role] = {**dict.fromkeys(users, "user"), **dict.fromkeys(assistants, "assistant")}
    word = "|".join(sorted(map(re.escape, filter(None, speakers)), key=len, reverse=True)) or "(?!)"
    return re.compile(rf"\s*(?:(?P<plain>{word})\s*[：:]|[\[【](?P<boxed>{word})[\]】]\s*[：:]?)"), speakers


def _blocks(lines: Iterator[Line]) -> Iterator[list[Line]]:
    """Yield runs of lines between empty ones; what is beyond the longest row is left out, all but its first line too many."""
    block: list[Line] = []
    size = 0
    for line in lines:
        if line.text.strip() or line.refused:
            if size <= LONGEST:
                block.append(line)
            size += len(line.text)
        elif block:
            yield block
            block, size = [], 0
    if block:
        yield block


def _read_block(block: list[Line], name: str, roles: Roles) -> Iterator[Record | Refused]:
    """Yield a block's record, and what of it no record can hold."""
    damaged = [line.refused for line in block if line.refused]
    if damaged:
        yield from damaged
        if all(line.refused for line in block):
            return
        rest = next(line for line in block if not line.refused)
        reason = f"a line of this conversation is refused ({damaged[0].source}); mend that line"
        yield Refused(f"{name}:{rest.number}", damaged[0].rule, reason, shown(rest.text))
        return
    if sum(len(line.text) for line in block) > LONGEST:
        yield too_long(f"{name}:{block[0].number}", block[0].text)
        return
    start = next((place for place, line in enumerate(block) if spoken_turn(line.text, roles)), len(block))
    for line in block[:start]:
        yield _unknown(line, name, roles)
    if start < len(block):
        yield _conversation(block[start:], name, roles)


def _unknown(line: Line, name: str, roles: Roles) -> Refused:
    users = [word for word, role in roles[1].items() if role == "user"]
    assistants = [word for word, role in roles[1].items() if role == "assistant"]
    known = "、".join([*users[:2], *assistants[:2]])
    reason = (
        f"the line opens with no known role ({known}: …); "
        "name yours in validation.user_roles and validation.assistant_roles"
    )
    return Refused(f"{name}:{line.number}", "unknown-role", reason, shown(line.text))


def _conversation(block: list[Line], name: str, roles: Roles) -> Record | Refused:
    turns: list[tuple[Role, list[str]]] = []
    for line in block:
        turn = spoken_turn(line.text, roles)
        if turn:
            turns.append((turn.role, [turn.content]))
        else:
            turns[-1][1].append(line.text.rstrip())
    source = f"{name}:{block[0].number}"
    try:
        return conversation([Message(role, "\n".join(said)) for role, said in turns], source)
    except UnreadableRowError as error:
        return Refused(source, error.rule, error.reason, shown(block[0].text))

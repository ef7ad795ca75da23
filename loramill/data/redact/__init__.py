"""Personal data out of rows, before anything else sees them: each value becomes a typed placeholder.

The same value gets the same placeholder in every turn of a record. Which value stood where is known during the call only.
Contents of messages are redacted, and the values in arguments of tool calls; keys and descriptions of tools are not.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from itertools import islice
from typing import Final

from loramill.config import PersonalKind
from loramill.data.redact.addresses import addresses
from loramill.data.redact.amounts import contract_amounts
from loramill.data.redact.arguments import said_in, saying
from loramill.data.redact.names import names
from loramill.data.redact.numbers import bank_cards, chat_accounts, emails, id_cards, phones, plates
from loramill.data.redact.placeholders import PLACEHOLDER, Placeholders
from loramill.data.redact.spans import HAN, Span, plain, without_overlaps
from loramill.records import Message, Record

__all__ = ["find_personal", "redact_record", "redact_text"]

_FINDERS: Final[dict[PersonalKind, Callable[[str], Iterator[Span]]]] = {
    "phone": phones,
    "id_card": id_cards,
    "bank_card": bank_cards,
    "email": emails,
    "address": addresses,
    "plate": plates,
    "name": names,
    "contract_amount": contract_amounts,
    "chat_account": chat_accounts,
}


def find_personal(text: str, kinds: Collection[PersonalKind]) -> list[Span]:
    """Return where personal values of these kinds stand, in order, without overlaps and outside of placeholders."""
    written = plain(text)
    spans = [span for kind in kinds for span in _FINDERS[kind](written)]
    return without_overlaps(spans, (found.span() for found in PLACEHOLDER.finditer(text))) if spans else spans


def redact_text(text: str, kinds: Collection[PersonalKind]) -> str:
    """Return the text with placeholders for personal values, for excerpts and error texts."""
    (redacted,), _ = _redact([text], kinds)
    return redacted


def redact_record(record: Record, kinds: Collection[PersonalKind]) -> tuple[Record, Counter[str]]:
    """Return the record with placeholders for personal values, and how many of each kind were replaced.

    A record without any is returned as the same object with an empty count.
    """
    texts = [text for message in record.messages for text in _said(message)]
    redacted, counts = _redact(texts, kinds)
    if redacted == texts:
        return record, counts
    rest = iter(redacted)
    return replace(record, messages=tuple(_saying(message, rest) for message in record.messages)), counts


def _said(message: Message) -> list[str]:
    return [message.content, *(text for call in message.tool_calls for text in said_in(call.arguments))]


def _saying(message: Message, texts: Iterator[str]) -> Message:
    """Return the message with the next texts in the places of `_said`."""
    content = next(texts)
    calls = (
        replace(call, arguments=saying(call.arguments, list(islice(texts, len(said_in(call.arguments))))))
        for call in message.tool_calls
    )
    return replace(message, content=content, tool_calls=tuple(calls))


def _redact(texts: list[str], kinds: Collection[PersonalKind]) -> tuple[list[str], Counter[str]]:
    """Replace until nothing is found: what was hidden under a longer neighbour comes to light in the next round."""
    counts: Counter[str] = Counter()
    found = [find_personal(text, kinds) for text in texts]
    if not any(found):
        return texts, counts
    placeholders = Placeholders.of(texts)
    while any(found):
        counts.update(span.kind for spans in found for span in spans)
        texts = [_replaced(text, spans, placeholders) for text, spans in zip(texts, found, strict=True)]
        texts = [_spread(text, placeholders, counts) for text in texts]
        found = [find_personal(text, kinds) for text in texts]
    return texts, counts


def _replaced(text: str, spans: list[Span], placeholders: Placeholders) -> str:
    pieces: list[str] = []
    done = 0
    for span in spans:
        pieces += [text[done : span.start], placeholders.name(span.kind, text[span.start : span.end])]
        done = span.end
    return "".join([*pieces, text[done:]])


def _spread(text: str, placeholders: Placeholders, counts: Counter[str]) -> str:
    """Replace names and accounts also where nothing around them tells: who said "我叫张伟" once is 张伟 in every turn."""
    for (kind, value), placeholder in placeholders.by_value.items():
        if kind not in ("name", "chat_account") or len(value) == 1 or value not in text:
            continue
        for start, end in reversed(_occurrences(text, value)):
            text = text[:start] + placeholder + text[end:]
            counts[kind] += 1
    return text


def _occurrences(text: str, value: str) -> list[tuple[int, int]]:
    """Return where a value stands as a word of its own and in no placeholder."""
    whole = re.escape(value) if re.match(HAN, value) else rf"(?<![A-Za-z0-9]){re.escape(value)}(?![A-Za-z0-9])"
    either = re.compile(rf"{PLACEHOLDER.pattern}|(?P<value>{whole})")
    return [found.span("value") for found in either.finditer(text) if found["value"]]

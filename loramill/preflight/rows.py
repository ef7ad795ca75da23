"""Each row as the model will see it, and every objection to it at once.

`loramill.prompts.encode` has the last word: what it refuses is an error here, whether or not a rule of ours says why.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any, Final

from loramill.errors import DataError
from loramill.preflight.problems import Problem
from loramill.prompts import Row, TemplateArguments, encode, turn_texts
from loramill.records import Record

ANY_LENGTH: Final = 10**9
THOUGHT: Final = re.compile(r"</?think>")
"""Templates of reasoning models take a row's thought apart at these marks and lay it out anew."""


@dataclass(frozen=True)
class Limits:
    """How long a row may be, in tokens."""

    tokens: int
    """``learning.max_tokens``."""
    window: int | None = None
    """What the base can read."""


@dataclass(frozen=True)
class Checked:
    """A record, the rows that would be learnt from it, and what speaks against them."""

    record: Record
    rows: tuple[Row, ...]
    problems: tuple[Problem, ...]


class RowCheck:
    """Checks records against one tokenizer; it remembers which tokens steer."""

    def __init__(self, tokenizer: Any, template: TemplateArguments, limits: Limits) -> None:
        self._tokenizer, self._template, self._limits = tokenizer, template, limits
        added = getattr(tokenizer, "added_tokens_decoder", {})
        self._marks = {index: str(token) for index, token in added.items() if not token.special}
        self._controls = {index: str(token) for index, token in added.items() if token.special}
        self._unknown: int | None = tokenizer.unk_token_id

    def __call__(self, record: Record) -> Checked:
        """Render a record and name everything that speaks against it."""
        turns = [place for place, message in enumerate(record.messages) if message.role == "assistant"]
        found = [*self._texts(record), *self._tools(record)]
        for turn in turns:
            found += self._turn(record, turn)
        rows: tuple[Row, ...] = ()
        try:
            rows = tuple(encode(self._tokenizer, record, self._template, ANY_LENGTH))
            found += self._lengths(rows)
        except DataError as error:
            if not any(Problem(rule, "").level == "error" for rule, _ in found):
                found.append(("refused", str(error).removeprefix(f"{record.source}: ")))
        if not turns:
            found.append(("nothing", "the row has no turn of the assistant; add the answer or remove the row"))
        return Checked(record, rows, tuple(Problem(*said, record.source) for said in dict(found).items()))

    def _texts(self, record: Record) -> Iterator[tuple[str, str]]:
        for message in record.messages:
            ids = self._encode(message.content)
            lost = self._unknown_characters(message.content, ids)
            yield from self._steering([index for index in ids if not lost or index != self._unknown])
            if lost:
                yield (
                    "unknown",
                    f"{_some(lost)} become {self._tokenizer.unk_token!r}: the model could neither read nor write them; take "
                    "a base whose tokenizer falls back to bytes, or write the row without them",
                )
            else:
                yield from self._rewriting(message.content, ids)

    def _steering(self, ids: Sequence[int]) -> Iterator[tuple[str, str]]:
        if controls := sorted({self._controls[index] for index in ids if index in self._controls}):
            yield (
                "control",
                f"{_some(controls)} in the text is a control token of this base: whoever wrote it could end the turn or speak "
                "for another role; write it with spaces in it or remove the row",
            )
        if marks := sorted({self._marks[index] for index in ids if index in self._marks}):
            yield (
                "mark",
                f"{_some(marks)} in the text is a mark that this base was trained with; keep it if that is meant",
            )

    def _unknown_characters(self, text: str, ids: Sequence[int]) -> list[str]:
        """Return what has no token; a control token written out does not count, though it may share the id."""
        if self._unknown is None or self._unknown not in ids:
            return []
        return sorted({character for character in text if self._unknown in self._encode(character)})

    def _rewriting(self, text: str, ids: Sequence[int]) -> Iterator[tuple[str, str]]:
        back = self._tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        if back.strip() == text.strip():
            return
        place = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(text, back, strict=False)))
        seen = f"{text[place : place + 8]!r} comes back as {back[place : place + 8]!r}"
        if unicodedata.normalize("NFC", back) == unicodedata.normalize("NFC", text):
            yield "composed", f"{seen}: the same letters in composed form"
        else:
            yield (
                "rewritten",
                f"{seen}: this tokenizer cannot write the row as it is; write it that way if nothing is lost, "
                "or take another base",
            )

    def _tools(self, record: Record) -> Iterator[tuple[str, str]]:
        calls = [call.name for message in record.messages for call in message.tool_calls]
        if not record.tools and not calls:
            return
        last = len(record.messages) - 1
        try:
            _, whole = turn_texts(self._tokenizer, record, last, self._template)
            _, without = turn_texts(self._tokenizer, replace(record, tools=()), last, self._template)
        except DataError:
            return
        unsaid = [name for name in calls if name not in whole]
        if unsaid or (record.tools and whole == without):
            what = f"the call of {unsaid[0]!r}" if unsaid else f"the row's {len(record.tools)} tools"
            yield "tools", f"{what} is not rendered; take a base whose template knows tools, or remove the row"

    def _turn(self, record: Record, turn: int) -> Iterator[tuple[str, str]]:
        try:
            prompt, whole = turn_texts(self._tokenizer, record, turn, self._template)
        except DataError as error:
            yield "template", str(error).removeprefix(f"{record.source}: ")
            return
        ids, together = self._encode(prompt), self._encode(whole)
        if not whole.startswith(prompt) or together[: len(ids)] != ids:
            yield "prefix", self._broken_prefix(ids, together)
            return
        yield from self._ending(together[len(ids) :])
        yield from _content(record, turn, prompt, whole[len(prompt) :])

    def _broken_prefix(self, ids: Sequence[int], together: Sequence[int]) -> str:
        """Say where the row's tokens stop beginning with the prompt's."""
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(ids, together, strict=False)))
        ends, goes_on = (self._decode(part[same : same + 6]) for part in (ids, together))
        return (
            f"a server's prompt goes on with {ends!r} where the row has {goes_on!r}: the model would learn after a prompt "
            "that nobody sends; set the template's arguments (`template:` in conf/bases/, as qwen3-0.6b.yaml does)"
        )

    def _ending(self, answer: Sequence[int]) -> Iterator[tuple[str, str]]:
        stop = self._tokenizer.eos_token_id
        if stop not in answer:
            yield (
                "stop",
                f"the template does not end the answer with the stop token {self._tokenizer.eos_token!r}, so the model would "
                "never learn to stop; set stop_token in conf/bases/ to the token that the template writes",
            )
        elif answer.index(stop) == 0:
            yield "nothing", "the answer has no token to learn; write one or remove the row"

    def _lengths(self, rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
        for row in rows:
            size = f"{row.prompt_length} + {row.targets} tokens"
            if len(row.ids) > self._limits.tokens:
                yield (
                    "cut",
                    f"{size} exceed learning.max_tokens ({self._limits.tokens}); raise it or shorten the row",
                )
            if self._limits.window is not None and len(row.ids) > self._limits.window:
                yield "window", f"{size} exceed the base's window of {self._limits.window}; shorten the row"

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
        return ids

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=False))


def _content(record: Record, turn: int, prompt: str, answer: str) -> Iterator[tuple[str, str]]:
    """Hold what is rendered against what the row says."""
    for message in record.messages[:turn]:
        if message.role in {"system", "user"} and message.content.strip() not in prompt:
            yield (
                "left-out",
                f"the {message.role} turn {message.content.strip()[:20]!r} is not in the prompt; take a base whose template "
                "knows that role, or move the text into the question",
            )
    said = record.messages[turn].content.strip()
    if any(part.strip() not in answer for part in THOUGHT.split(said)):
        yield (
            "left-out",
            f"the answer {said[:20]!r} is not rendered as it is; write it without what the template removes",
        )
    elif said in answer and (before := answer[: answer.index(said)].strip()):
        yield (
            "unwritten",
            f"the template writes {before!r} before the answer, and it is learnt; if that is not meant, set the template's "
            "arguments in conf/bases/",
        )


def _some(words: Sequence[str]) -> str:
    shown = ", ".join(repr(word) for word in words[:5])
    return shown if len(words) <= 5 else f"{shown} and {len(words) - 5} more"

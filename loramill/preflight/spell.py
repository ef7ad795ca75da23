"""Token ids as pieces of text that a person can read: a character that needs three tokens is one piece of three."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from loramill.prompts import Row

LONGEST: Final = 8
"""Tokens after which an unfinished character is shown as it is."""
Kind = Literal["prompt", "learnt", "control", "stop"]


@dataclass(frozen=True)
class Piece:
    """Some text and the tokens that write it."""

    text: str
    ids: tuple[int, ...]
    kind: Kind


class Speller:
    """Spells rows out; it remembers what each token says, for the same few thousand come again and again."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        added = getattr(tokenizer, "added_tokens_decoder", {})
        self._special = {*tokenizer.all_special_ids, *(index for index, token in added.items() if token.special)}
        self._anchor = [tokenizer.eos_token_id]  # decoders strip the space of a first word, so none is first
        self._before = len(self._decode(self._anchor))
        self._known: dict[tuple[int, ...], str] = {}

    def __call__(self, row: Row) -> list[Piece]:
        """Return a row's pieces; together they are its text."""
        prompt = [
            Piece(text, ids, self._kind(ids, "prompt")) for text, ids in self._spelt(row.ids[: row.prompt_length])
        ]
        answer = [
            Piece(text, ids, self._kind(ids, "learnt")) for text, ids in self._spelt(row.ids[row.prompt_length :])
        ]
        return [*prompt, *answer[:-1], *(Piece(last.text, last.ids, "stop") for last in answer[-1:])]

    def _kind(self, ids: tuple[int, ...], otherwise: Kind) -> Kind:
        return "control" if otherwise == "prompt" and ids[0] in self._special else otherwise

    def _spelt(self, ids: Sequence[int]) -> list[tuple[str, tuple[int, ...]]]:
        pieces: list[tuple[str, tuple[int, ...]]] = []
        waiting: tuple[int, ...] = ()
        for index in ids:
            waiting = (*waiting, index)
            text = self._text(waiting)
            if "\ufffd" not in text or len(waiting) == LONGEST:
                pieces.append((text, waiting))
                waiting = ()
        return [*pieces, (self._text(waiting), waiting)] if waiting else pieces

    def _text(self, ids: tuple[int, ...]) -> str:
        if ids not in self._known:
            self._known[ids] = self._decode([*self._anchor, *ids])[self._before :]
        return self._known[ids]

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))

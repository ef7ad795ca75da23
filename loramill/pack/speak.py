"""Answers, word by word: the one place that generates, for evaluation, chat and serving alike."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from loramill.pack.greedy import Prompt, continue_all
from loramill.pack.members import Pack
from loramill.prompts import Tools, prompt_ids
from loramill.records import Message


@dataclass(frozen=True)
class Asked:
    """A conversation that one member is to go on with; None is the bare base."""

    member: str | None
    messages: Sequence[Message]
    tools: Tools = ()


@dataclass(frozen=True)
class Said:
    """An answer."""

    text: str
    stopped: bool
    """It ended by itself, not because it had become too long."""


def answer(
    pack: Pack,
    member: str | None,
    asked: Sequence[Message],
    max_new_tokens: int,
    on_text: Callable[[str], None] | None = None,
    tools: Tools = (),
) -> str:
    """Return a member's greedy answer to a conversation, rendered as in training."""
    heard = _Listener(pack.base.tokenizer, on_text) if on_text else None

    def on_token(number: int, token: int) -> None:
        if heard:
            heard.hear(token)

    prompts = [_prompt(pack, Asked(member, asked, tools))]
    return _said(pack, _continued(pack, prompts, max_new_tokens, on_token)[0]).text


def answers(
    pack: Pack,
    asked: Sequence[Asked],
    max_new_tokens: int,
    tokens_at_once: int,
    on_said: Callable[[int], None] = lambda count: None,
) -> list[Said]:
    """Return the greedy answer to every conversation: the same as `answer` gives to each, many at a time.

    Args:
        pack: the base with all members.
        asked: who is asked what.
        max_new_tokens: the longest answer.
        tokens_at_once: tokens that are remembered at a time, prompts and room for answers together.
        on_said: called with the number of answers that have just been given.
    """
    prompts = [_prompt(pack, each) for each in asked]
    said: dict[int, Said] = {}
    for part in _parts([len(prompt.ids) + max_new_tokens for prompt in prompts], tokens_at_once):
        spoken = _continued(pack, [prompts[number] for number in part], max_new_tokens, lambda number, token: None)
        said |= {number: _said(pack, ids) for number, ids in zip(part, spoken, strict=True)}
        on_said(len(part))
    return [said[number] for number in range(len(asked))]


def _parts(sizes: Sequence[int], limit: int) -> Iterator[list[int]]:
    """Yield numbers of sequences, those of like size together; a part times its largest is within the limit."""
    part: list[int] = []
    for number in sorted(range(len(sizes)), key=lambda number: sizes[number]):
        if part and (len(part) + 1) * sizes[number] > limit:
            yield part
            part = []
        part.append(number)
    if part:
        yield part


def _prompt(pack: Pack, asked: Asked) -> Prompt:
    ids = prompt_ids(pack.base.tokenizer, asked.messages, pack.base.template, asked.tools)
    return Prompt(asked.member, tuple(ids))


def _said(pack: Pack, ids: Sequence[int]) -> Said:
    tokenizer = pack.base.tokenizer
    text = str(tokenizer.decode(ids, skip_special_tokens=True)).strip()
    return Said(text, stopped=not pack.base.stops.isdisjoint(ids[-1:]))


def _continued(
    pack: Pack, prompts: Sequence[Prompt], max_new_tokens: int, on_token: Callable[[int, int], None]
) -> list[list[int]]:
    if not pack.is_alone:
        return continue_all(pack, prompts, max_new_tokens, pack.base.stops, on_token)
    return [
        _by_transformers(pack, prompt, max_new_tokens, lambda token, number=number: on_token(number, token))  # type: ignore[misc]
        for number, prompt in enumerate(prompts)
    ]


def _by_transformers(pack: Pack, prompt: Prompt, max_new_tokens: int, on_token: Callable[[int], None]) -> list[int]:
    """Methods that share no pass speak one at a time, through PEFT's own forward."""
    tokenizer = pack.base.tokenizer
    ids = torch.tensor([prompt.ids], device=pack.base.device)
    with pack.speaking(prompt.member) as model, torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        output = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            repetition_penalty=pack.base.repetition_penalty,
            eos_token_id=sorted(pack.base.stops) or None,
            pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id,
            streamer=_Streamer(on_token),
        )
    return list(output[0, ids.shape[1] :].tolist())


@dataclass
class _Listener:
    """Hands text on as soon as its characters are whole."""

    tokenizer: Any
    on_text: Callable[[str], None]
    ids: list[int] = field(default_factory=list)
    shown: str = ""

    def hear(self, token: int) -> None:
        self.ids.append(token)
        text = self.tokenizer.decode(self.ids, skip_special_tokens=True)
        if not text.endswith("\ufffd"):
            self.on_text(text[len(self.shown) :])
            self.shown = text


class _Streamer:
    """Fits transformers' streamer argument."""

    def __init__(self, on_token: Callable[[int], None]) -> None:
        self._on_token = on_token
        self._is_prompt = True

    def put(self, ids: torch.Tensor) -> None:
        """Take new token ids; the first call brings the prompt."""
        if not self._is_prompt:
            for token in ids.flatten().tolist():
                self._on_token(token)
        self._is_prompt = False

    def end(self) -> None:
        """Nothing is left to hear."""

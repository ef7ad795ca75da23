"""Answers, word by word: the one place that generates, for evaluation, chat and serving alike."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch

from loramill.pack.members import Pack
from loramill.prompts import Tools, prompt_ids
from loramill.records import Message


def answer(
    pack: Pack,
    member: str | None,
    asked: Sequence[Message],
    max_new_tokens: int,
    on_text: Callable[[str], None] | None = None,
    tools: Tools = (),
) -> str:
    """Return a member's greedy answer to a conversation, rendered as in training."""
    tokenizer = pack.base.tokenizer
    ids = torch.tensor([prompt_ids(tokenizer, asked, pack.base.template, tools)], device=pack.base.device)
    with pack.speaking(member) as model, torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        output = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id,
            streamer=_Streamer(tokenizer, on_text) if on_text else None,
        )
    return str(tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True)).strip()


class _Streamer:
    """Hands text on as soon as its characters are whole; fits transformers' streamer argument."""

    def __init__(self, tokenizer: Any, on_text: Callable[[str], None]) -> None:
        self._tokenizer, self._on_text = tokenizer, on_text
        self._ids: list[int] = []
        self._shown = ""
        self._is_prompt = True

    def put(self, ids: torch.Tensor) -> None:
        """Take new token ids; the first call brings the prompt."""
        if self._is_prompt:
            self._is_prompt = False
            return
        self._ids += ids.flatten().tolist()
        text = self._tokenizer.decode(self._ids, skip_special_tokens=True)
        if not text.endswith("\ufffd"):
            self._on_text(text[len(self._shown) :])
            self._shown = text

    def end(self) -> None:
        """Nothing is left to show."""

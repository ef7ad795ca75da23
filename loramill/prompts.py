"""Where a conversation becomes token ids: the one place, for training, evaluation, chat and serving alike.

A row is rendered by the base model's own chat template. The prompt is exactly what a server would feed; the answer is what
follows it in the tokens of the whole, so that the prompt's tokens are a prefix of the row's by construction. `encode` refuses
a template for which that is not what the model would see, and an answer whose stop token would not be learnt.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from jinja2 import TemplateError

from loramill.errors import DataError
from loramill.records import Message, Record, ToolCall

TemplateArguments = Mapping[str, bool | str]
Tools = Sequence[str]
"""JSON texts, one per tool, as in `Record.tools`."""


class Tokenizer(Protocol):
    """What is needed of a transformers tokenizer."""

    chat_template: str | None
    eos_token_id: int | None
    eos_token: str | None

    def apply_chat_template(self, conversation: list[dict[str, Any]], **arguments: object) -> str:
        """Render a conversation."""
        ...

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Turn text into token ids."""
        ...

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        """Turn token ids into text."""
        ...


@dataclass(frozen=True)
class Row:
    """One prompt and its answer, as token ids; the loss sees the answer only."""

    record_id: str
    ids: tuple[int, ...]
    """Prompt, then answer, then the stop token."""
    prompt_length: int
    """Tokens of the prompt; from here on everything is a target."""

    @property
    def targets(self) -> int:
        """Number of tokens that are learnt."""
        return len(self.ids) - self.prompt_length


def prompt_ids(
    tokenizer: Tokenizer, asked: Sequence[Message], template: TemplateArguments, tools: Sequence[str] = ()
) -> list[int]:
    """Return the token ids that a model is given before it answers; ``tools`` are those of `Record.tools`."""
    text = _render(tokenizer, asked, template, tools, answer_next=True)
    return tokenizer.encode(text, add_special_tokens=False)


def encode(tokenizer: Tokenizer, record: Record, template: TemplateArguments, max_tokens: int) -> list[Row]:
    """Render one row per assistant turn of ``record``, each exactly as a server would see it.

    Raises:
        DataError: the template changes the prompt when the answer is appended, or leaves out tools and calls that the row
            has; the stop token would not be learnt; nothing would be learnt; or the row is longer than ``max_tokens``
            (it is never cut).
    """
    if record.tools or any(message.tool_calls for message in record.messages):
        _check_tools(tokenizer, record, template)
    turns = [index for index, message in enumerate(record.messages) if message.role == "assistant"]
    return [_encode_turn(tokenizer, record, turn, template, max_tokens) for turn in turns]


def turn_texts(tokenizer: Tokenizer, record: Record, turn: int, template: TemplateArguments) -> tuple[str, str]:
    """Return what a server feeds before the assistant's turn number ``turn``, and the same with the answer.

    Raises:
        DataError: there is no chat template, or it refuses the conversation.
    """
    try:
        prompt_text = _render(tokenizer, record.messages[:turn], template, record.tools, answer_next=True)
        full_text = _render(tokenizer, record.messages[: turn + 1], template, record.tools, answer_next=False)
    except DataError as error:
        raise DataError(f"{record.source}: {error}") from error
    return prompt_text, full_text


def encode_all(
    tokenizer: Tokenizer, records: Sequence[Record], template: TemplateArguments, max_tokens: int
) -> list[Row]:
    """Render all records.

    Raises:
        DataError: with every row that `encode` refuses, up to ten of them by name.
    """
    rows: list[Row] = []
    refused: list[str] = []
    for record in records:
        try:
            rows += encode(tokenizer, record, template, max_tokens)
        except DataError as error:
            refused.append(str(error))
    if refused:
        shown = "\n".join(f"  {line}" for line in refused[:10])
        raise DataError(f"{len(refused)} of {len(records)} rows cannot be learnt as they are:\n{shown}")
    return rows


def template_digest(tokenizer: Tokenizer, template: TemplateArguments) -> str:
    """Return a sha256 over the chat template and its arguments, to tell when a server would render otherwise."""
    text = f"{tokenizer.chat_template}\n{sorted(template.items())}"
    return hashlib.sha256(text.encode()).hexdigest()


def _render(
    tokenizer: Tokenizer,
    messages: Sequence[Message],
    template: TemplateArguments,
    tools: Sequence[str],
    *,
    answer_next: bool,
) -> str:
    if not tokenizer.chat_template:
        raise DataError(
            "this base has no chat template, so nobody can know how a server would ask it; "
            "take its instruct or chat version as base"
        )
    arguments = dict(template) | ({"tools": [json.loads(tool) for tool in tools]} if tools else {})
    try:
        return tokenizer.apply_chat_template(
            [_turn(message) for message in messages], tokenize=False, add_generation_prompt=answer_next, **arguments
        )
    except (TemplateError, TypeError, ValueError) as error:  # the last two: what a template's own expressions raise
        raise DataError(f"the base's chat template refuses this conversation: {error}") from error


def _turn(message: Message) -> dict[str, Any]:
    """Return a message as a server hands it to the template; tool keys only where there is something in them."""
    turn: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        turn["tool_calls"] = [_call(call) for call in message.tool_calls]
    if message.tool_call_id:
        turn["tool_call_id"] = message.tool_call_id
    return turn


def _call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": json.loads(call.arguments)}
    return {"type": "function", "function": function} | ({"id": call.id} if call.id else {})


def _check_tools(tokenizer: Tokenizer, record: Record, template: TemplateArguments) -> None:
    """A template that knows no tools renders a row as if it had none: the model would learn to guess them."""
    try:
        whole = _render(tokenizer, record.messages, template, record.tools, answer_next=False)
        without = _render(tokenizer, record.messages, template, (), answer_next=False) if record.tools else ""
    except DataError as error:
        raise DataError(f"{record.source}: {error}") from error
    unsaid = [call.name for message in record.messages for call in message.tool_calls if call.name not in whole]
    if unsaid or whole == without:
        what = f"the call of {unsaid[0]!r}" if unsaid else f"the row's {len(record.tools)} tools"
        raise DataError(
            f"{record.source}: the base's chat template leaves out {what}; "
            "take a base whose template knows tools, or remove the row"
        )


def _encode_turn(tokenizer: Tokenizer, record: Record, turn: int, template: TemplateArguments, max_tokens: int) -> Row:
    prompt_text, full_text = turn_texts(tokenizer, record, turn, template)
    if not full_text.startswith(prompt_text):
        raise DataError(
            f"{record.source}: the chat template changes the prompt once an answer follows "
            f"(prompt ends {prompt_text[-30:]!r}); set the template's arguments in conf/bases/"
        )
    prompt = tokenizer.encode(prompt_text, add_special_tokens=False)
    answer = _up_to_stop(tokenizer, record, _answer_ids(tokenizer, prompt, prompt_text, full_text))
    if len(prompt) + len(answer) > max_tokens:
        raise DataError(
            f"{record.source}: {len(prompt)} + {len(answer)} tokens exceed learning.max_tokens ({max_tokens}); "
            "raise it or shorten the row, nothing is cut"
        )
    return Row(record.id, (*prompt, *answer), len(prompt))


def _answer_ids(tokenizer: Tokenizer, prompt: list[int], prompt_text: str, full_text: str) -> list[int]:
    """Return what follows the prompt in the tokens of the whole.

    Tokenised alone, an answer would open with the mark that sentencepiece puts before each text. That is done only where the
    prompt's end and the answer's beginning make one token, which the pre-flight refuses: the prompt must stay the server's.
    """
    whole = tokenizer.encode(full_text, add_special_tokens=False)
    if whole[: len(prompt)] == prompt:
        return whole[len(prompt) :]
    return tokenizer.encode(full_text[len(prompt_text) :], add_special_tokens=False)


def _up_to_stop(tokenizer: Tokenizer, record: Record, answer: list[int]) -> list[int]:
    """Cut what the template puts after the last stop token; that token itself must be learnt."""
    stop = tokenizer.eos_token_id
    if stop is None or stop not in answer:
        raise DataError(
            f"{record.source}: the template puts no stop token ({tokenizer.eos_token!r}) after the answer, "
            "so the model would never learn to stop; use a base whose template and eos_token agree"
        )
    end = len(answer) - answer[::-1].index(stop)
    if end < 2:
        raise DataError(f"{record.source}: the answer has no token to learn; write one or remove the row")
    return answer[:end]

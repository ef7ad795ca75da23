"""Conversations: messages as OpenAI, ShareGPT and others write them, with tools and the calls that are made of them."""

import json
import re
from collections.abc import Mapping
from typing import Any

from loramill.config import ValidationConfig
from loramill.data.read.lines import writable
from loramill.data.read.refusal import UnreadableRowError
from loramill.records import Message, Record, Role, ToolCall

SPEAKERS: Mapping[str, Role] = {
    **dict.fromkeys(("human", "user", "usr"), "user"),
    **dict.fromkeys(("gpt", "assistant", "model", "bot", "sys"), "assistant"),  # sys: the answering system of CrossWOZ
    "system": "system",
    **dict.fromkeys(("tool", "observation", "function", "function_response"), "tool"),
}
CALLERS = {"function_call", "tool_call"}
"""ShareGPT's words for a turn of the assistant that is nothing but a call."""
IN_TURN = re.compile(r"(u(ct+)*a)*u(ct+)*[ac]")
"""user, any calls with their results, answer; the last answer may be a call itself."""


def conversation(messages: list[Message], source: str, tools: tuple[str, ...] = ()) -> Record:
    """Return the record of a conversation.

    Raises:
        UnreadableRowError: its turns are out of order, or no file can hold what it says.
    """
    stripped = tuple(Message(turn.role, turn.content.strip(), turn.tool_calls, turn.tool_call_id) for turn in messages)
    spoken = [turn for turn in stripped if turn.role != "system"]
    order = "".join("c" if turn.tool_calls else turn.role[0] for turn in spoken)
    if not IN_TURN.fullmatch(order) or stripped[-1].role == "system":
        shown = spoken if spoken and stripped[-1].role != "system" else stripped
        going = " → ".join(turn.role for turn in shown[:12]) + (" → …" if len(shown) > 12 else "")
        reason = f"a conversation must go user → assistant and end with an answer, this one goes {going or 'nothing'}"
        raise UnreadableRowError("roles-out-of-order", reason)
    for text in (*(turn.text for turn in stripped), *(turn.tool_call_id for turn in stripped), *tools):
        _check_text(text)
    return Record(stripped, source, tools)


def read_turns(turns: list[Any], config: ValidationConfig) -> list[Message]:
    """Return the messages of a row.

    Raises:
        UnreadableRowError: a turn has no known role, no text, or is marked as not to be learnt.
    """
    roles: dict[str, Role] = {
        **dict.fromkeys(config.user_roles, "user"),
        **dict.fromkeys(config.assistant_roles, "assistant"),
        **SPEAKERS,
    }
    return [_turn(turn, roles) for turn in turns]


def read_tools(value: Any) -> tuple[str, ...]:
    """Return each tool of a row as JSON text, in the shape in which a server is given it.

    Raises:
        UnreadableRowError: they are no list of functions with names.
    """
    tools = _parsed(value, "tools") if value else []
    if not isinstance(tools, list):
        raise UnreadableRowError("bad-tools", f"tools must be a list of functions, this is a {type(tools).__name__}")
    return tuple(_tool(tool) for tool in tools)


def _turn(turn: Any, roles: Mapping[str, Role]) -> Message:
    fields = turn if isinstance(turn, dict) else {}
    word = fields.get("role", fields.get("from"))
    content = fields.get("content", fields.get("value"))
    if isinstance(word, str) and word in CALLERS:
        return Message("assistant", "", _calls(content))
    role = roles.get(word) if isinstance(word, str) else None
    calls = _calls(fields.get("tool_calls") or fields.get("function_call") or [])
    text, called = _content(content, fields.get("reasoning_content"))
    if role is None or (text is None and not calls + called):
        known = ", ".join(dict.fromkeys((*SPEAKERS, *roles)))
        got = writable(str(turn)[:80])
        raise UnreadableRowError("bad-turn", f"a turn needs a role ({known}) and text, got {got}")
    if role == "assistant":
        _check_weight(fields)
    elif calls + called:
        raise UnreadableRowError("bad-tool-call", f"only the assistant can call a tool, here {word} does")
    answers = fields.get("tool_call_id")
    return Message(role, text or "", calls + called, answers if isinstance(answers, str) else "")


def _check_weight(turn: Mapping[str, Any]) -> None:
    """OpenAI's and others' mark for an answer that must not be learnt; here every answer of a row is."""
    off = next((key for key in ("weight", "loss_weight", "train") if turn.get(key) in (0, False)), None)
    if off and turn[off] is not None:
        reason = f"an answer is marked as not to be learnt ({off}: {turn[off]}); here every answer of a row is, so cut it off"
        raise UnreadableRowError("not-to-be-learnt", reason)


def _content(content: Any, reasoning: Any) -> tuple[str | None, tuple[ToolCall, ...]]:
    """Return text and calls of a message whose content is a text or a list of parts."""
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}] if content is not None else []
    texts: list[str] = []
    calls: tuple[ToolCall, ...] = ()
    thought = reasoning if isinstance(reasoning, str) else ""
    for part in parts:
        kind, value = _part(part)
        if kind == "tool_call":
            calls += _calls(value)
        elif kind == "reasoning":
            thought += value
        else:
            texts.append(value)
    thinking = f"<think>\n{thought.strip()}\n</think>\n\n" if thought.strip() else ""
    return (thinking + "".join(texts) if texts or thinking else None), calls


def _part(part: Any) -> tuple[str, str]:
    """Return kind and value of one part of a message.

    Raises:
        UnreadableRowError: it is an image, a sound, or no text.
    """
    if isinstance(part, str):
        return "text", part
    kind = part.get("type") if isinstance(part, dict) else None
    value = part.get("text", part.get("value")) if isinstance(part, dict) else None
    if kind in {"text", "reasoning", "tool_call"} and isinstance(value, str):
        return str(kind), value
    if isinstance(kind, str) and any(word in kind for word in ("image", "audio", "video", "file")):
        raise UnreadableRowError("has-media", f"a part of it is an {kind}, and only text can be learnt; remove the row")
    raise UnreadableRowError("bad-turn", f"a turn needs a role and text, got content {writable(str(part)[:60])}")


def _calls(value: Any) -> tuple[ToolCall, ...]:
    content = _parsed(value, "a call") if isinstance(value, str) else value
    calls = content if isinstance(content, list) else [content]
    return tuple(_call(call) for call in calls)


def _call(call: Any) -> ToolCall:
    """Return a call written as OpenAI does (under ``function``, arguments as text) or bare (arguments as object)."""
    function = call.get("function", call) if isinstance(call, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(function, dict) or not isinstance(name, str) or not name:
        raise UnreadableRowError("bad-tool-call", f"a call needs a name and arguments, got {writable(str(call)[:60])}")
    arguments = function.get("arguments", function.get("parameters", {}))
    if isinstance(arguments, str):
        arguments = _parsed(arguments or "{}", f"the arguments of {name}")
    if not isinstance(arguments, dict):
        raise UnreadableRowError("bad-tool-call", f"the arguments of {name} must be an object with keys")
    identity = call.get("id")
    return ToolCall(name, _json(arguments), identity if isinstance(identity, str) else "")


def _tool(tool: Any) -> str:
    function = tool.get("function", tool) if isinstance(tool, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise UnreadableRowError("bad-tools", f"a tool needs a function with a name, got {writable(str(tool)[:60])}")
    return _json(tool if "function" in tool else {"type": "function", "function": tool})


def _parsed(value: Any, what: str) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError as error:
        raise UnreadableRowError("bad-tool-call", f"{what}: not valid JSON ({writable(str(error))})") from error


def _json(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise UnreadableRowError("bad-tool-call", f"no JSON can hold it ({error})") from error


def _check_text(text: str) -> None:
    if "\0" in text:
        raise UnreadableRowError("nul-byte", "a NUL character, which is no text; write the row again")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = text[error.start]
        reason = f"half a character (a lone surrogate such as {writable(half)}), which no file can hold; write it again"
        raise UnreadableRowError("half-a-character", reason) from error

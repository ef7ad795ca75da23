"""From an object with keys, or a table's row with columns, to a record: what the keys are called tells the format."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from loramill.config import ValidationConfig
from loramill.data.findings import Refused
from loramill.data.read.dialogue import spoken_roles, spoken_turn
from loramill.data.read.lines import shown, writable
from loramill.data.read.refusal import UnreadableRowError
from loramill.data.read.turns import conversation, read_tools, read_turns
from loramill.records import Message, Record

TASKS = ("instruction", "指令")
QUESTIONS = ("question", "prompt", "query", "ask", "问题", "提问", "咨询", "问", "q", "title", "标题")
CONTEXTS = ("input", "输入", "context")
ANSWERS = ("output", "completion", "response", "answer", "reply", "回答", "答案", "答复", "回复", "答", "输出", "a")
CHOSEN = ("chosen", "chosen_messages")
TURNS = ("messages", "conversations", "conversation", "dialogue", "dialog", "turns", "prompt", "completion")
MEDIA = ("images", "image", "videos", "video", "audios", "audio")
SEARCHED = 10
"""Rows of a table among which its header is looked for: a title or a note may stand above it."""
KNOWN = frozenset({*TASKS, *QUESTIONS, *CONTEXTS, *ANSWERS, *CHOSEN, *TURNS, *MEDIA, "input_ids", "text"})


def read_row(row: object, source: str, config: ValidationConfig, text: str = "") -> Record | Refused:
    """Turn an alpaca, ShareGPT, messages, prompt/completion, preference or question/answer row into a record.

    Of a preference pair the chosen answer is read: that one a person wanted. ``text`` is shown with a refusal.
    """
    try:
        return _record(row, source, config)
    except UnreadableRowError as error:
        return Refused(source, error.rule, error.reason, shown(text))
    except RecursionError:
        return Refused(source, "too-deep", "nested too deep for a row; write it flat", shown(text))


def looks_like_row(content: Mapping[str, Any], config: ValidationConfig) -> bool:
    """Say whether an object is a row itself, rather than a map from names to rows."""
    return not KNOWN.union(_named(config.columns.question, config.columns.answer)).isdisjoint(map(_key, content))


def column_names(cells: Iterable[object]) -> list[str]:
    """Return the cells of a header as they are compared."""
    return [_key(cell) if cell is not None else "" for cell in cells]


def find_header(rows: Sequence[Sequence[str]], config: ValidationConfig) -> int | None:
    """Return the row that names the columns: the first if it knows one, else one that names a question and an answer."""
    if rows and looks_like_row(dict.fromkeys(rows[0]), config):
        return 0
    asks = {*TASKS, *QUESTIONS, *_named(config.columns.question)}
    answers = {*ANSWERS, *CHOSEN, *_named(config.columns.answer)}
    return next((place for place, row in enumerate(rows) if asks & {*row} and answers & {*row}), None)


def _named(*columns: str | None) -> set[str]:
    return {_key(column) for column in columns if column is not None}


def above_header(source: str, text: str) -> Refused:
    """Return the refusal of what stands above a table's header."""
    return Refused(source, "above-header", "stands above the names of the columns and is no row; take it out", text)


def unknown_columns(source: str, names: Sequence[str]) -> Refused:
    """Return the refusal of a table's first row that names no column."""
    reason = (
        "the first row should name the columns, and none of these names is known; call them question and answer, "
        "or name yours in validation.columns"
    )
    return Refused(source, "unknown-columns", reason, shown(", ".join(names)))


def _record(row: object, source: str, config: ValidationConfig) -> Record:
    if isinstance(row, list) and len(row) == 1:
        row = row[0]
    if not isinstance(row, dict):
        raise UnreadableRowError("not-an-object", f"a row must be an object with keys, this is a {type(row).__name__}")
    fields = {_key(key): value for key, value in row.items()}
    _check_learnable(fields)
    turns = _turns(fields)
    system = fields.get("system")
    opening = [Message("system", system)] if isinstance(system, str) and system.strip() else []
    said = read_turns(turns, config) if turns else _flat(fields, row, config)
    return conversation([*opening, *said], source, read_tools(fields.get("tools") or fields.get("functions")))


def _key(key: object) -> str:
    return str(key).strip().lower()


def _check_learnable(fields: Mapping[str, Any]) -> None:
    """Refuse what holds an answer that must not, or cannot, be learnt."""
    media = next((key for key in MEDIA if fields.get(key)), None)
    if media:
        raise UnreadableRowError("has-media", f"it comes with {media}, and only text can be learnt; remove the row")
    if "input_ids" in fields:
        reason = "it holds token ids of some tokenizer (input_ids) and no text; bring the text that they were made of"
        raise UnreadableRowError("already-tokenized", reason)
    judged = next((key for key in ("label", "kto_tag") if fields.get(key) is False), None)
    if judged:
        reason = f"{judged} is false: somebody judged this answer bad, so it must not be learnt; write a better one"
        raise UnreadableRowError("rejected-answer", reason)


def _turns(fields: Mapping[str, Any]) -> list[Any]:
    """Return the messages of a row, those of a preference's chosen side included; nothing if it has none."""
    chosen = [turn for key in CHOSEN if key in fields for turn in _as_turns(fields.get(key))]
    if chosen and _speaker(chosen[0]) not in {"assistant", "gpt"}:
        return chosen
    said = [turn for key in TURNS if key in fields for turn in _as_turns(fields.get(key))]
    return [*said, *chosen] if said else []


def _as_turns(value: object) -> list[Any]:
    if isinstance(value, list) and any(isinstance(turn, dict) for turn in value):
        return value
    return [value] if isinstance(value, dict) and _speaker(value) else []


def _speaker(turn: object) -> object:
    return turn.get("role", turn.get("from")) if isinstance(turn, dict) else None


def _flat(fields: Mapping[str, Any], row: Mapping[Any, Any], config: ValidationConfig) -> list[Message]:
    history = _history(fields.get("history"), config)
    question, answer = _question(fields, config), _text(fields, ANSWERS, config.columns.answer)
    if answer is None:
        answer = _text(fields, CHOSEN, None)
    if answer is None and history and history[-1].role == "assistant":
        return history  # lawyer-llama: the history is the whole conversation, its first turn repeated as the query
    if question is None or answer is None:
        raise _without(fields, row, question, answer)
    return [*history, Message("user", question), Message("assistant", answer)]


def _without(
    fields: Mapping[str, Any], row: Mapping[Any, Any], question: str | None, answer: str | None
) -> UnreadableRowError:
    """Return what to say of a row without a question or an answer: a key with nothing in it is another fault than no key."""
    wanted = {*(() if question is not None else (*TASKS, *QUESTIONS)), *(() if answer is not None else ANSWERS)}
    empty = [key for key, value in fields.items() if key in wanted and value is None]
    if empty:
        reason = f"{' and '.join(empty)}: nothing stands there (of a formula: it was never computed); fill it in"
        return UnreadableRowError("no-question-or-answer", reason)
    missing = " and ".join(what for what, text in (("question", question), ("answer", answer)) if text is None)
    keys = writable(", ".join(map(str, row)))[:200]
    reason = (
        f"found no {missing} among its keys ({keys}); use instruction and output, or name them in validation.columns"
    )
    return UnreadableRowError("no-question-or-answer", reason)


def _question(fields: Mapping[str, Any], config: ValidationConfig) -> str | None:
    """Return what is asked: the task, the question and what they are about, one below the other."""
    if config.columns.question is not None:
        return _text(fields, (), config.columns.question)
    found = [_text(fields, keys, None) for keys in (TASKS, QUESTIONS, CONTEXTS)]
    parts = [text for text in found if text is not None]
    return "\n".join(dict.fromkeys(part for part in parts if part.strip())) if parts else None


def _text(fields: Mapping[str, Any], keys: Sequence[str], named: str | None) -> str | None:
    """Return the text of the first of ``keys`` that says something, or of the one that ``conf/`` names."""
    wrong, blank = "", None
    for key in (_key(named),) if named is not None else keys:
        value = fields.get(key)
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if isinstance(value, str) and value.strip():
            return value
        if isinstance(value, str):
            blank = value
        elif value is not None:
            wrong = wrong or f"{key} is {_described(value)}, not a text; write it as one text"
    if wrong:
        raise UnreadableRowError("not-a-text", wrong)
    return blank


def _described(value: object) -> str:
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return f"{str(value)[:20]}, a number" if isinstance(value, int | float) else f"a {type(value).__name__}"


def _history(pairs: Any, config: ValidationConfig) -> list[Message]:
    """Return the turns of ``history``: pairs of question and answer, messages, or texts that open with a role."""
    if not pairs:
        return []
    if isinstance(pairs, list) and all(isinstance(pair, dict) and _speaker(pair) for pair in pairs):
        return read_turns(pairs, config)
    turns: list[Message] = []
    roles = spoken_roles(config)
    for pair in pairs if isinstance(pairs, list) else [None]:
        spoken = spoken_turn(pair, roles) if isinstance(pair, str) else None
        if spoken:
            turns.append(spoken)
        elif isinstance(pair, list) and len(pair) == 2 and all(isinstance(said, str) for said in pair):
            turns += [Message("user", pair[0]), Message("assistant", pair[1])]
        else:
            reason = (
                "history must be a list of pairs of texts: [[question, answer], …], or of texts that open with a role"
            )
            raise UnreadableRowError("bad-history", reason)
    return turns

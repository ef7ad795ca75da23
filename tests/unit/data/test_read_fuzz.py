"""Whatever a file holds, rows come out or refusals with file, line and rule; nothing is raised."""

import csv
import io
import json
import tempfile
from contextlib import suppress
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loramill.data.read import SUFFIXES
from loramill.errors import DataError
from tests.unit.helpers import read

KEYS = st.sampled_from(
    [
        *("instruction", "input", "output", "history", "system", "messages", "conversations", "role", "content"),
        *("from", "value", "tools", "tool_calls", "function", "name", "arguments", "chosen", "label", "type", "text"),
    ]
)
WORDS = st.sampled_from(["user", "assistant", "function_call", "tool", "text", '{"name": "f"}', "用户：一", "\ud800"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)
MARKS = st.lists(
    st.sampled_from(
        [
            *"[]{},:;\"'\\\t\n\r|\0é长",
            "\ufeff",
            "用户：",
            "律师：",
            "<<<<<<< a\n",
            ">>>>>>> b\n",
            "NaN",
            '"instruction": ',
        ]
    ),
    max_size=40,
).map("".join)
NAMES = st.sampled_from([*(f"a{suffix}" for suffix in SUFFIXES), "metadata.csv"])


def table(rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows([["file", "prompt", "instruction", "output"], *rows])
    return text.getvalue()


def lines(row: object) -> str:
    return json.dumps(row, ensure_ascii=False)


@settings(
    max_examples=60,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    st.tuples(NAMES, st.text() | MARKS)
    | st.tuples(NAMES, st.binary(max_size=60))
    | st.tuples(st.just("a.json"), st.lists(VALUES, max_size=3).map(json.dumps))
    | st.tuples(st.just("a.jsonl"), st.dictionaries(KEYS, VALUES).map(lines))
    | st.tuples(st.just("metadata.csv"), st.lists(st.lists(st.text(max_size=4), max_size=5), max_size=3).map(table))
)
def test_whatever_a_file_holds_nothing_is_raised(file: tuple[str, str | bytes]) -> None:
    name, content = file
    with tempfile.TemporaryDirectory() as folder:
        raw = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
        records, refused = read(Path(folder), {name: raw})
        assert records or refused
        for row in refused:
            file_name, _, line = row.source.rpartition(":")
            assert file_name.startswith(name)
            assert int(line) >= 1
            assert row.rule
            assert row.reason
            assert str(vars(row)).encode()
        assert all(len(row.id) == 16 and row.messages[-1].role == "assistant" for row in records)


@settings(max_examples=30, deadline=None, database=None, derandomize=True)
@given(st.lists(st.text(max_size=5), max_size=3))
def test_an_empty_or_odd_folder_is_a_data_error_or_nothing(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            try:
                (Path(folder) / name.replace("/", "")).touch()
            except (OSError, ValueError):
                continue
        with suppress(DataError):
            read(Path(folder), {})

import json
import re
from pathlib import Path

import pytest

from loramill.config import Columns, ValidationConfig
from loramill.data.read import read_folder, total_bytes
from loramill.errors import DataError
from loramill.records import Record
from tests.unit.helpers import read, said

QA = [("user", "问题一"), ("assistant", "答案一")]


def only(folder: Path, name: str, content: str | bytes, config: ValidationConfig | None = None) -> Record:
    """The one row of a file that must hold one good row."""
    records, refused = read(folder, {name: content}, config)
    assert refused == []
    (row,) = records
    return row


def reason(folder: Path, name: str, content: str | bytes) -> str:
    """Why the one row of a file is refused."""
    records, refused = read(folder, {name: content})
    assert records == []
    (row,) = refused
    return row.reason


# dialogues


def test_a_dialogue_block_is_a_conversation(tmp_path: Path) -> None:
    text = "用户：问题一\n律师：答案一\n\n\n客户: 问题二\n客服: 答案二\n客户：还有吗\n客服：没有了\n"
    records, refused = read(tmp_path, {"a.txt": text})
    assert refused == []
    assert [said(row) for row in records] == [
        QA,
        [("user", "问题二"), ("assistant", "答案二"), ("user", "还有吗"), ("assistant", "没有了")],
    ]
    assert [row.source for row in records] == ["a.txt:1", "a.txt:5"]


def test_roles_can_be_named(tmp_path: Path) -> None:
    config = ValidationConfig(user_roles=("病人",), assistant_roles=("医生",))
    assert said(only(tmp_path, "a.txt", "病人：问题一\n医生：答案一", config)) == QA


def test_a_line_without_role_continues_the_turn(tmp_path: Path) -> None:
    text = "用户：问题一\r\n更多\r\n律师：第一：看合同\r\n注意: 留证据  \r\n律师说的\r\n"
    assert said(only(tmp_path, "a.txt", text)) == [
        ("user", "问题一\n更多"),
        ("assistant", "第一：看合同\n注意: 留证据\n律师说的"),
    ]


def test_a_half_width_colon_is_found_before_a_full_width_one(tmp_path: Path) -> None:
    assert said(only(tmp_path, "a.txt", "Q: 几点：早上\nA: 九点：整")) == [
        ("user", "几点：早上"),
        ("assistant", "九点：整"),
    ]


def test_a_line_of_an_unknown_speaker_says_which_are_known(tmp_path: Path) -> None:
    records, refused = read(tmp_path, {"a.txt": "病人：问题一\n用户：问题一\n律师：答案一\n"})
    assert [said(row) for row in records] == [QA]
    assert refused[0].source == "a.txt:1"
    assert refused[0].text == "病人：问题一"
    assert refused[0].reason.startswith("the line opens with no known role (用户、客户、律师、客服: …); name yours in")


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("用户：问题一", "user"),
        ("律师：答案一", "assistant"),
        ("用户：问题一\n用户：问题二\n律师：答案一", "user → user → assistant"),
        ("用户：一\n律师：二\n用户：三", "user → assistant → user"),
    ],
)
def test_turns_out_of_order_are_refused_with_their_order(tmp_path: Path, text: str, order: str) -> None:
    assert reason(tmp_path, "a.txt", text) == (
        f"a conversation must go user → assistant and end with an answer, this one goes {order}"
    )


# objects


@pytest.mark.parametrize(
    "row",
    [
        {"instruction": "问题一", "input": "", "output": "答案一"},
        {"instruction": "", "input": "问题一", "output": "答案一"},
        {"prompt": "问题一", "completion": "答案一"},
        {"question": "问题一", "answer": "答案一", "laws": ["x"]},
        {"query": "问题一", "response": "答案一"},
        {"问题": "问题一", "回答": "答案一"},
        {"messages": [{"role": "user", "content": "问题一"}, {"role": "assistant", "content": "答案一"}]},
        {"conversations": [{"from": "human", "value": "问题一"}, {"from": "gpt", "value": "答案一"}]},
        [{"instruction": "问题一", "output": "答案一"}],
    ],
)
@pytest.mark.parametrize("form", ["array", "lines", "lines in .json", "pretty"])
def test_an_object_is_understood_without_naming_its_format(tmp_path: Path, row: object, form: str) -> None:
    line = json.dumps(row, ensure_ascii=False)
    other = json.dumps({"instruction": "别的问题", "output": "别的答案"})
    name, text = {
        "array": ("a.json", f"[{line}, {other}]"),
        "lines": ("a.jsonl", f"{line}\n\n{other}\n"),
        "lines in .json": ("a.json", f"{line}\n{other}"),
        "pretty": ("a.json", json.dumps([row, json.loads(other)], indent=2)),
    }[form]
    records, refused = read(tmp_path, {name: text})
    assert refused == []
    assert [said(row) for row in records] == [QA, [("user", "别的问题"), ("assistant", "别的答案")]]


def test_alpaca_brings_input_system_and_history(tmp_path: Path) -> None:
    row = {
        "system": "你是律师",
        "history": [["一", "二"], ["三", "四"]],
        "instruction": "五",
        "input": "背景",
        "output": "六",
    }
    assert said(only(tmp_path, "a.json", json.dumps([row]))) == [
        ("system", "你是律师"),
        ("user", "一"),
        ("assistant", "二"),
        ("user", "三"),
        ("assistant", "四"),
        ("user", "五\n背景"),
        ("assistant", "六"),
    ]


@pytest.mark.parametrize("inside", [True, False])
def test_a_system_message_is_kept(tmp_path: Path, inside: bool) -> None:
    turns = [{"from": "human", "value": "问题一"}, {"from": "gpt", "value": "答案一"}]
    row = (
        {"conversations": [{"from": "system", "value": "你是律师"}, *turns]}
        if inside
        else {"conversations": turns, "system": "你是律师"}
    )
    assert said(only(tmp_path, "a.jsonl", json.dumps(row))) == [("system", "你是律师"), *QA]


@pytest.mark.parametrize(
    "history", [5, "ab", [["a", "b", "c"]], [["a"]], [[1, 2]], [None], [{"role": "user"}], {"a": "b"}]
)
def test_a_history_that_is_no_list_of_pairs_is_refused(tmp_path: Path, history: object) -> None:
    row = {"instruction": "问题一", "output": "答案一", "history": history}
    assert re.match("history must be|a turn needs", reason(tmp_path, "a.jsonl", json.dumps(row)))


@pytest.mark.parametrize(
    "turn",
    [
        {"role": "narrator", "content": "x"},
        {"role": ["user"], "content": "x"},
        {"role": "user", "content": None},
        {"role": "user"},
        {"content": "x"},
        "x",
        None,
    ],
)
def test_a_turn_without_role_or_text_is_refused(tmp_path: Path, turn: object) -> None:
    row = {"messages": [turn, {"role": "assistant", "content": "答案一"}]}
    assert reason(tmp_path, "a.jsonl", json.dumps(row)).startswith(
        "a turn needs a role (human, user, usr, gpt, assistant, model, bot, sys, system, tool, observation,"
    )


def test_a_system_message_after_the_answer_is_refused(tmp_path: Path) -> None:
    """What is asked is all before the last message: the answer itself would be in the prompt."""
    turns = [("user", "问题一"), ("assistant", "答案一"), ("system", "附注")]
    row = {"messages": [{"role": role, "content": content} for role, content in turns]}
    records, _ = read(tmp_path, {"a.jsonl": json.dumps(row)})
    assert all("答案一" not in [message.content for message in row.asked] for row in records)


@pytest.mark.parametrize("row", [1, "x", None, [], [1, 2], [[{"instruction": "a", "output": "b"}]]])
def test_a_row_that_is_no_object_is_refused(tmp_path: Path, row: object) -> None:
    assert reason(tmp_path, "a.json", json.dumps([row])).startswith("a row must be an object with keys, this is a")


@pytest.mark.parametrize(
    ("row", "missing"),
    [
        ({"text": "x"}, "question and answer"),
        ({"answer": "x"}, "question"),
    ],
)
def test_a_row_without_question_or_answer_is_told_its_keys(
    tmp_path: Path, row: dict[str, object], missing: str
) -> None:
    keys = ", ".join(row)
    assert reason(tmp_path, "a.jsonl", json.dumps(row)) == (
        f"found no {missing} among its keys ({keys}); use instruction and output, or name them in validation.columns"
    )


@pytest.mark.parametrize(
    ("value", "what"),
    [(5, "5, a number"), (["a", "b"], "a list of 2"), ({"text": "a"}, "a dict"), (True, "True, a number")],
)
def test_an_answer_that_is_no_text_is_refused(tmp_path: Path, value: object, what: str) -> None:
    text = json.dumps({"instruction": "问题一", "output": value})
    assert reason(tmp_path, "a.jsonl", text) == f"output is {what}, not a text; write it as one text"


def test_task_question_and_context_are_one_question(tmp_path: Path) -> None:
    """LawBench puts the task into instruction and the question beside it: without it nothing would be asked."""
    row = {"instruction": "只需给出法条", "question": "第三十条？", "input": "劳动合同法", "answer": ["答案一"]}
    assert said(only(tmp_path, "a.json", json.dumps([row]))) == [
        ("user", "只需给出法条\n第三十条？\n劳动合同法"),
        ("assistant", "答案一"),
    ]


def test_columns_that_cannot_be_guessed_are_named(tmp_path: Path) -> None:
    config = ValidationConfig(columns=Columns(question="Text", answer="category"))
    assert said(only(tmp_path, "a.csv", "text,category\n问题一,答案一\n", config)) == QA


def test_a_history_of_texts_with_roles_is_the_conversation(tmp_path: Path) -> None:
    row = {"query": "问题一", "laws": ["x"], "history": ["[客户] 问题一", "[律师] 答案一"]}
    assert said(only(tmp_path, "a.json", json.dumps([row]))) == QA


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "问题一", "chosen": "答案一", "rejected": "x"},
        {"instruction": "问题一", "input": "", "chosen": "答案一", "rejected": "x"},
        {
            "conversations": [{"from": "human", "value": "问题一"}],
            "chosen": {"from": "gpt", "value": "答案一"},
            "rejected": {"from": "gpt", "value": "x"},
        },
        {
            "prompt": "问题一",
            "chosen": [{"role": "user", "content": "问题一"}, {"role": "assistant", "content": "答案一"}],
        },
        {
            "prompt": [{"role": "user", "content": "问题一"}],
            "chosen": [{"role": "assistant", "content": "答案一"}],
            "rejected": [{"role": "assistant", "content": "x"}],
        },
    ],
)
def test_of_a_preference_the_chosen_answer_is_read(tmp_path: Path, row: object) -> None:
    assert said(only(tmp_path, "a.jsonl", json.dumps(row))) == QA


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ({"prompt": "问题一", "completion": "答案一", "label": False}, "rejected-answer"),
        ({"instruction": "问题一", "output": "答案一", "images": ["1.jpg"]}, "has-media"),
        ({"input_ids": [1, 2], "labels": [1, 2]}, "already-tokenized"),
        (
            {
                "messages": [
                    {"role": "user", "content": "问题一"},
                    {"role": "assistant", "content": "答案一", "weight": 0},
                ]
            },
            "not-to-be-learnt",
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]},
                    {"role": "assistant", "content": "x"},
                ]
            },
            "has-media",
        ),
    ],
)
def test_what_must_not_be_learnt_is_refused(tmp_path: Path, row: object, rule: str) -> None:
    records, refused = read(tmp_path, {"a.jsonl": json.dumps(row)})
    assert records == []
    assert [row.rule for row in refused] == [rule]


def test_a_map_from_names_to_rows_is_looked_through(tmp_path: Path) -> None:
    turns = [{"role": "usr", "content": "问题一"}, {"role": "sys", "content": "答案一"}]
    text = json.dumps({"7": {"goal": [], "messages": turns}, "8": {"messages": turns}}, indent=1)
    records, refused = read(tmp_path, {"a.json": text, "b.json": json.dumps({"data": [{"messages": turns}]})})
    assert refused == []
    assert [said(row) for row in records] == [QA, QA, QA]
    assert [row.source for row in records] == ["a.json:2", "a.json:15", "b.json:1"]


def test_the_source_in_a_pretty_array_is_the_line_where_the_row_starts(tmp_path: Path) -> None:
    rows = [{"instruction": f"问题{'长' * 30_000}", "output": f"答案{number}"} for number in range(9)]
    for newline in ("\n", "\r\n"):
        records, _ = read(tmp_path, {"a.json": json.dumps(rows, indent=2).replace("\n", newline)})
        assert [row.source for row in records] == [f"a.json:{2 + 4 * number}" for number in range(9)]


def test_a_broken_line_is_refused_and_the_others_are_read(tmp_path: Path) -> None:
    good = '{"instruction": "问题一", "output": "答案一"}'
    records, refused = read(tmp_path, {"a.jsonl": f"{good}\n{{broken\n{good}\n"})
    assert [row.source for row in records] == ["a.jsonl:1", "a.jsonl:3"]
    assert [row.source for row in refused] == ["a.jsonl:2"]
    assert refused[0].reason.startswith("not valid JSON (Expecting property name")
    assert refused[0].text == "{broken"


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85"])
def test_a_separator_inside_a_json_line_does_not_break_it(tmp_path: Path, separator: str) -> None:
    """json.dumps(ensure_ascii=False) writes U+2028 as it is; only a line feed ends a JSON line."""
    line = json.dumps({"instruction": f"问题{separator}一", "output": "答案一"}, ensure_ascii=False)
    records, refused = read(tmp_path, {"a.jsonl": f"{line}\n{line}\n"})
    assert refused == []
    assert [row.source for row in records] == ["a.jsonl:1", "a.jsonl:2"]


def test_a_number_too_long_for_python_is_refused_and_not_raised(tmp_path: Path) -> None:
    assert "not valid JSON" in reason(tmp_path, "a.jsonl", f'{{"instruction": {"1" * 5000}}}')


def test_json_nested_too_deep_is_refused_and_not_raised(tmp_path: Path) -> None:
    _, refused = read(tmp_path, {"a.json": "[" * 100_000})
    assert refused[0].reason.startswith("nested too deep for a row; write it flat")


def test_half_a_character_is_refused_and_not_raised_later(tmp_path: Path) -> None:
    """JSON may say \\ud800, which no file can hold: neither an id nor a record could be written."""
    records, refused = read(tmp_path, {"a.jsonl": '{"instruction": "问题\\ud800", "output": "答案一"}'})
    assert len(records) + len(refused) == 1
    assert [row.id for row in records] == [row.id for row in records]


# tables


@pytest.mark.parametrize("header", ["instruction,output", "Question, Answer", "问题,答案", "prompt,completion"])
def test_a_csv_with_mark_and_quotes_is_read(tmp_path: Path, header: str) -> None:
    text = f'\ufeff{header}\r\n"问题,一","答案\n一"\r\n问题二,答案二\r\n'
    records, refused = read(tmp_path, {"a.csv": text})
    assert refused == []
    assert [said(row) for row in records] == [
        [("user", "问题,一"), ("assistant", "答案\n一")],
        [("user", "问题二"), ("assistant", "答案二")],
    ]
    assert [row.source for row in records] == ["a.csv:2", "a.csv:4"]


def test_a_tsv_is_read(tmp_path: Path) -> None:
    assert said(only(tmp_path, "a.tsv", "instruction\toutput\n问题一\t答案一\n")) == QA


def test_a_csv_row_with_too_many_cells_is_refused(tmp_path: Path) -> None:
    assert reason(tmp_path, "a.csv", "question,answer\n问题,一,答案一\n") == (
        "more cells than the header has columns (3, not 2); quote cells that hold a ','"
    )


def test_a_csv_row_with_too_few_cells_is_refused(tmp_path: Path) -> None:
    assert "fewer cells than the header has columns (1, not 2)" in reason(
        tmp_path, "a.csv", "question,answer\n问题一\n"
    )


def test_a_csv_with_the_line_ends_of_old_macs_is_read(tmp_path: Path) -> None:
    assert said(only(tmp_path, "a.csv", "question,answer\r问题一,答案一\r")) == QA


def test_a_cell_longer_than_pythons_limit_is_read_or_refused(tmp_path: Path) -> None:
    records, refused = read(tmp_path, {"a.csv": f"question,answer\n问题一,{'长' * 140_000}\n"})
    assert len(records) + len(refused) == 1


def test_metadata_csv_takes_answers_from_files(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "metadata.csv": "file,prompt\nx/1.txt,问题一\n",
        "x/1.txt": "答案一\n",
        "b.txt": "用户：二\n律师：二",
    }
    records, refused = read(tmp_path, files)
    assert refused == []
    assert [(said(row), row.source) for row in records] == [
        ([("user", "二"), ("assistant", "二")], "b.txt:1"),
        (QA, "metadata.csv:2"),
    ]


def test_metadata_csv_with_a_header_in_capitals_finds_its_files(tmp_path: Path) -> None:
    records, refused = read(tmp_path, {"metadata.csv": "File, Prompt\n1.txt,问题一\n", "1.txt": "答案一"})
    assert refused == []
    assert [said(row) for row in records] == [QA]


def test_metadata_csv_with_questions_and_answers_is_a_table(tmp_path: Path) -> None:
    assert said(only(tmp_path, "metadata.csv", "instruction,output\n问题一,答案一\n")) == QA


def test_files_that_a_table_only_mentions_are_still_read(tmp_path: Path) -> None:
    """A column called file without one called prompt is no list of answers."""
    files: dict[str, str | bytes] = {
        "metadata.csv": "file,instruction,output\nb.txt,问题一,答案一\n",
        "b.txt": "用户：二\n律师：二",
    }
    records, refused = read(tmp_path, files)
    assert refused == []
    assert len(records) == 2


@pytest.mark.parametrize("name", ["../secret.txt", "/etc/hostname", "none.txt", "", "x" * 400 + ".txt", "."])
def test_a_file_that_is_not_in_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.txt").write_text("geheim")
    assert (
        reason(tmp_path / "rows", "metadata.csv", f"file,prompt\n{name},问题一\n")
        == f"file {name!r} is not in 'rows'; put it there or mend the name"
    )


def test_a_link_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.md").write_text("geheim")
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows/link.md").symlink_to(tmp_path / "secret.md")
    records, refused = read(tmp_path / "rows", {"metadata.csv": "file,prompt\nlink.md,问题一\n"})
    assert records == []
    assert [row.rule for row in refused] == ["leads-out", "no-such-file"]


# folders and encodings


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
def test_encodings_that_people_have_are_understood(tmp_path: Path, encoding: str) -> None:
    assert said(only(tmp_path, "a.txt", "用户：问题一\n律师：答案一".encode(encoding))) == QA


def test_a_missing_folder_says_where_rows_go(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"data folder '.*none' does not exist; put your rows there .*dvc pull data\.dvc"
    ):
        read_folder(tmp_path / "none", ValidationConfig())


def test_a_folder_without_rows_says_which_files_count(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("x")
    with pytest.raises(DataError, match=r"is empty: it holds no \.txt, \.json, .*\.parquet file to learn from"):
        read_folder(tmp_path, ValidationConfig())


def test_files_are_read_in_the_order_of_their_names_and_in_folders(tmp_path: Path) -> None:
    row = '{"instruction": "问题一", "output": "答案一"}'
    records, _ = read(tmp_path, {"b.JSONL": row, "a/z.json": row, "c.json": row})
    assert [row.source for row in records] == ["a/z.json:1", "b.JSONL:1", "c.json:1"]


def test_the_bytes_that_are_told_add_up(tmp_path: Path) -> None:
    read(
        tmp_path, {"a.json": '[{"instruction": "a", "output": "b"}]', "b.txt": "用户：一\n律师：二\n" * 3, "c.jpg": "x"}
    )
    told: list[int] = []
    assert list(read_folder(tmp_path, ValidationConfig(), told.append))
    assert sum(told) == total_bytes(tmp_path) == sum(path.stat().st_size for path in tmp_path.iterdir())

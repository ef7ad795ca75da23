"""Files as nobody wants them: each is read as far as it goes, and what is not read is named with its line and rule."""

import json
import os
import time
import zipfile
from pathlib import Path

import pytest

from loramill.config import ValidationConfig
from loramill.data.read import lines, read_folder, sheets
from tests.unit.helpers import read

GOOD = '{"instruction": "问题一", "output": "答案一"}'


def outcome(folder: Path, name: str, content: str | bytes) -> list[tuple[str, str]]:
    """Source and rule of each row in the order of the file; ``read`` for a record."""
    read(folder, {name: content})
    return [
        (row.source.removeprefix(name), getattr(row, "rule", "read")) for row in read_folder(folder, ValidationConfig())
    ]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> int:
    """The longest line, small enough for a test."""
    for module in ("lines", "scanner", "tables", "dialogue"):
        monkeypatch.setattr(f"loramill.data.read.{module}.LONGEST", 300)
    return 300


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("{broken", "not-json"),
        ('{"instruction": "一", "instruction": "二", "output": "三"}', "duplicate-key"),
        ('{"instruction": "一", "output": NaN}', "not-json"),
        ('{"instruction": "一\\ud800", "output": "三"}', "half-a-character"),
        ('{"instruction": "一\\u0000", "output": "三"}', "nul-byte"),
        ('{"instruction": "一\0", "output": "三"}', "nul-byte"),
        ("[" * 100_000, "too-deep"),
        (f'{{"instruction": {"1" * 5000}}}', "not-json"),
        ("5", "not-an-object"),
        ('{"instruction": "一", "output": "被截', "not-json"),
    ],
)
def test_a_broken_line_never_takes_the_next_one_along(tmp_path: Path, line: str, rule: str) -> None:
    assert outcome(tmp_path, "a.jsonl", f"{GOOD}\n{line}\n{GOOD}\n") == [(":1", "read"), (":2", rule), (":3", "read")]


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ('{"instruction": "一" "output": "二"}', "not-json"),
        ('{"instruction": "一", "instruction": "二", "output": "三"}', "duplicate-key"),
        ('{"instruction": "一",\n   "output": nothing}', "not-json"),
        ('{"a": ' * 2000 + "1" + "}" * 2000, "too-deep"),
        ("7", "not-an-object"),
    ],
)
def test_a_broken_row_of_an_array_never_takes_the_next_one_along(tmp_path: Path, row: str, rule: str) -> None:
    text = f"[\n  {GOOD},\n  {row},\n  {GOOD}\n]"
    last = 4 + row.count("\n")
    assert outcome(tmp_path, "a.json", text) == [(":2", "read"), (":3", rule), (f":{last}", "read")]


def test_a_row_behind_which_nothing_can_be_told_apart_says_so(tmp_path: Path) -> None:
    _, refused = read(tmp_path, {"a.json": f'[{GOOD}, {{"instruction": "一" "output"}}, {{"q": 1}}]'})
    assert [row.rule for row in refused] == ["not-json"]
    assert refused[0].reason.endswith("rows behind it in this file, if there are any, could not be read")


@pytest.mark.parametrize("text", [f"[{GOOD}", f"[\n{GOOD},\n"])
def test_a_file_that_was_cut_off_says_so_and_keeps_its_rows(tmp_path: Path, text: str) -> None:
    assert [rule for _, rule in outcome(tmp_path, "a.json", text)] == ["read", "truncated"]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.txt"])
def test_lines_of_a_merge_conflict_are_refused_on_both_sides(tmp_path: Path, name: str) -> None:
    first, row, end = {
        "a.csv": ("question,answer\n", "问题一,答案一\n", ""),
        "a.jsonl": (f"{GOOD}\n", f"{GOOD}\n", ""),
        "a.txt": ("用户：一\n律师：二\n\n", "用户：三\n律师：四\n", "\n"),
    }[name]
    text = f"{first}<<<<<<< HEAD\n{row}=======\n{row}>>>>>>> other\n{end}{row}"
    found = outcome(tmp_path, name, text)
    assert found[-1][1] == "read"
    assert {rule for _, rule in found if rule != "read"} == {"merge-conflict"}
    assert len(found) - 1 - (name != "a.csv") == text.count("\n") - first.count("\n") - len(end) - row.count("\n")


def test_a_merge_conflict_in_an_array_is_named(tmp_path: Path) -> None:
    text = f"[\n  {GOOD},\n<<<<<<< HEAD\n  {GOOD},\n=======\n  {GOOD},\n>>>>>>> other\n  {GOOD}\n]\n"
    assert outcome(tmp_path, "a.json", text) == [(":2", "read"), (":3", "merge-conflict"), (":8", "read")]
    _, refused = read(tmp_path, {})
    assert "up to line 7; choose one side and delete the markers" in refused[0].reason


def test_undecodable_bytes_cost_their_line_only(tmp_path: Path) -> None:
    text = f"{GOOD}\n".encode()
    assert outcome(tmp_path, "a.jsonl", text + b'{"instruction": "\xff", "output": "x"}\n' + text) == [
        (":1", "read"),
        (":2", "undecodable"),
        (":3", "read"),
    ]
    _, refused = read(tmp_path, {})
    assert "not in the encoding of the rest of the file (byte 0xff)" in refused[0].reason


@pytest.mark.parametrize("name", ["a.txt", "a.json", "a.csv"])
@pytest.mark.parametrize("content", [b"\xff\xff\xff", "Où est l'été déjà passé, à côté?".encode("cp1252")])
def test_a_file_that_is_no_text_is_refused_by_name(tmp_path: Path, name: str, content: bytes) -> None:
    assert outcome(tmp_path, name, content) == [(":1", "undecodable")]


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("big5", "用户：公司拖欠工資兩個月，我該怎麼辦？\n律師：根據勞動法第三十條，您可以向主管機關申訴。"),
        ("euc_kr", "Q: 월급이 두 달 밀렸습니다. 어떻게 해야 합니까? \nA: 노동청에 진정을 제기할 수 있습니다."),
        ("euc_jp", "Q: 給料が二か月払われていません。どうすればいいですか？\nA: 労働基準監督署に相談してください。"),
    ],
)  # fmt: skip
def test_other_encodings_are_read_rightly_or_not_at_all(tmp_path: Path, encoding: str, text: str) -> None:
    """Their bytes fit GB18030 too, and would be learnt as garbage."""
    text = text.replace("用户", "Q").replace("律師", "A")
    records, _ = read(tmp_path, {"a.txt": text.encode(encoding, "replace")})
    assert [row.answer in text for row in records] == [True]


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.txt"])
def test_a_line_without_end_is_refused_and_the_next_one_is_read(tmp_path: Path, short: int, name: str) -> None:
    long = "长" * 5 * short
    text, want = {
        "a.jsonl": (f'{GOOD}\n{{"instruction": "{long}"}}\n{GOOD}\n', [":1", ":3"]),
        "a.csv": (f"question,answer\n一,二\n一,{long}\n一,二\n", [":2", ":4"]),
        "a.txt": (f"用户：一\n律师：二\n\n用户：{long}\n\n用户：一\n律师：二\n", [":1", ":6"]),
    }[name]
    found = outcome(tmp_path, name, text)
    assert [source for source, rule in found if rule == "read"] == want
    assert [rule for _, rule in found if rule != "read"] == ["too-long-line"]


def test_a_conversation_without_end_is_refused(tmp_path: Path, short: int) -> None:
    block = "用户：一\n律师：二\n" * short
    assert outcome(tmp_path, "a.txt", f"{block}\n用户：一\n律师：二") == [
        (":1", "too-long-line"),
        (f":{2 * short + 2}", "read"),
    ]


def test_a_row_of_an_array_without_end_is_refused(tmp_path: Path, short: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loramill.data.read.scanner.CHUNK", 64)
    text = f'[\n{GOOD},\n{{"instruction": "{"长" * 5 * short}", "output": "x"}},\n{GOOD}\n]'
    assert outcome(tmp_path, "a.json", text) == [(":2", "read"), (":3", "too-long-line"), (":4", "read")]


def test_a_huge_line_is_never_held_whole(tmp_path: Path) -> None:
    """Read in a process of its own, whose peak is its own."""
    import subprocess
    import sys

    for name, begin in (("a.jsonl", GOOD), ("b.json", "[")):
        with (tmp_path / name).open("wb") as file:
            file.write(f'{begin}\n{{"instruction": "'.encode())
            file.truncate(80 * 2**20)
            file.seek(0, os.SEEK_END)
            file.write(f"\n{GOOD}\n".encode())
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from loramill.config import ValidationConfig; from loramill.data.read import read_folder\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "rows = list(read_folder(Path(sys.argv[1]), ValidationConfig()))\n"
        "last = [row.source for row in rows if hasattr(row, 'id')][1:]\n"
        "print(*last, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)"
    )
    said = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    *last, mebibytes = said.stdout.split()
    assert last == ["a.jsonl:3", "b.json:3"]
    assert int(mebibytes) < 60


# tables


def test_a_quote_that_is_never_closed_costs_its_row_only(tmp_path: Path) -> None:
    text = 'question,answer\n一,二\n"三,四\n五,六\n七,"八"\n'
    assert outcome(tmp_path, "a.csv", text) == [
        (":2", "read"),
        (":3", "broken-quotes"),
        (":4", "read"),
        (":5", "read"),
    ]


def test_the_tail_of_a_broken_row_never_becomes_a_row(tmp_path: Path) -> None:
    text = 'question,answer\n"他说 "好" 吗\n然后",答案\n一,二\n'
    assert outcome(tmp_path, "a.csv", text) == [
        (":2", "broken-quotes"),
        (":3", "broken-quotes"),
        (":4", "read"),
    ]


def test_a_refused_line_inside_a_cell_costs_the_whole_row(tmp_path: Path) -> None:
    content = 'question,answer\n"问题\n'.encode() + b"\xff\n" + '一",答案\n问,答案\n'.encode()
    assert outcome(tmp_path, "a.csv", content) == [(":2", "undecodable"), (":5", "read")]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_guessed(tmp_path: Path, separator: str) -> None:
    text = f"编号{separator}问题{separator}回答\n1{separator}“一,;|”{separator}二\n".replace(f",;|{'”'}", "”")
    assert outcome(tmp_path, "a.csv", text) == [(":2", "read")]
    assert outcome(tmp_path, "a.csv", f"sep={separator}\n{text}") == [(":3", "read")]


def test_a_number_in_a_table_is_text(tmp_path: Path) -> None:
    records, _ = read(tmp_path, {"a.csv": "question,answer\n几天？,30\n"})
    assert records[0].answer == "30"


# workbooks and Parquet


def test_a_workbook_is_read_sheet_by_sheet(tmp_path: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    book.active.append([])
    for row in (["编号", "问题", "回答"], [1, "几天？", 30], [], [2, "几元？", 1.5], [3, "空"]):
        book.active.append(row)
    book.create_sheet("二").append(["q", "a"])
    book["二"].append(["问", "答"])
    book.save(tmp_path / "a.xlsx")
    rows = list(read_folder(tmp_path, ValidationConfig()))
    assert [(row.source, getattr(row, "answer", "")) for row in rows] == [
        ("a.xlsx[Sheet]:3", "30"),
        ("a.xlsx[Sheet]:5", "1.5"),
        ("a.xlsx[Sheet]:6", ""),
        ("a.xlsx[二]:2", "答"),
    ]


def test_parquet_is_read_with_its_lists(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    turns = [{"role": "user", "content": "问题一"}, {"role": "assistant", "content": "答案一"}]
    parquet.write_table(pyarrow.table({"id": [1, 2], "messages": [turns, turns[:1]]}), tmp_path / "a.parquet")
    assert outcome(tmp_path, "x.md", "x") == [
        ("a.parquet:1", "read"),
        ("a.parquet:2", "roles-out-of-order"),
        (":1", "unknown-format"),
    ]


def test_a_workbook_that_unpacks_without_end_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", b"0" * 20 * 2**20)
    assert [row.rule for row in read(tmp_path, {})[1]] == ["too-large"]


def test_a_parquet_file_that_unpacks_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow
    from pyarrow import parquet

    monkeypatch.setattr(sheets, "LARGEST", 2**16)
    parquet.write_table(pyarrow.table({"question": ["长" * 100_000], "answer": ["x"]}), tmp_path / "a.parquet")
    assert [row.rule for row in read(tmp_path, {})[1]] == ["too-large"]


@pytest.mark.parametrize("name", ["a.xlsx", "a.parquet"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nothing", b"PAR1 nothing PAR1", b"x" * 1000])
def test_a_damaged_table_is_refused_by_name(tmp_path: Path, name: str, content: bytes) -> None:
    assert outcome(tmp_path, name, content) == [(":1", "damaged-file")]


# folders


def test_every_file_of_a_folder_is_accounted_for(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "README.md": "x",
        "SOURCE.txt": "x",
        "LICENSE": "x",
        ".hidden/a.jsonl": "x",
        ".DS_Store": "x",
        "a.jsonl": GOOD,
        "b.zip": "x",
        "c.json": "",
        "d": "x",
        "x.json/e.jsonl": GOOD,
        "source.txt": "用户：一\n律师：二",
    }
    _, refused = read(tmp_path, files)
    assert [(row.source, row.rule) for row in refused] == [
        ("b.zip:1", "unknown-format"),
        ("c.json:1", "empty-file"),
        ("d:1", "unknown-format"),
    ]
    assert "no rows are read from .zip files; unpack it here" in refused[0].reason
    assert len(read(tmp_path, {})[0]) == 3


def test_a_pipe_is_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.txt")
    assert outcome(tmp_path, "b.jsonl", GOOD) == [("a.txt:1", "not-a-file"), (":1", "read")]


@pytest.mark.parametrize("folder", [True, False])
def test_a_link_that_leads_out_is_never_followed(tmp_path: Path, folder: bool) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/secret.jsonl").write_text(GOOD, encoding="utf-8")
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows/a.jsonl").symlink_to(tmp_path / "out" / ("" if folder else "secret.jsonl"))
    assert outcome(tmp_path / "rows", "b.jsonl", GOOD) == [("a.jsonl:1", "leads-out"), (":1", "read")]


def test_a_link_to_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").symlink_to(tmp_path / "a.jsonl")
    assert outcome(tmp_path, "b.jsonl", GOOD)[-1] == (":1", "read")
    assert len(outcome(tmp_path, "b.jsonl", GOOD)) == 2


def test_a_file_that_cannot_be_opened_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read(tmp_path, {"a.jsonl": GOOD, "b.jsonl": GOOD})
    opened = Path.open

    def forbidden(path: Path, *how: str) -> object:
        if path.name == "a.jsonl":
            raise PermissionError(13, "Permission denied")
        return opened(path, *how)

    monkeypatch.setattr(Path, "open", forbidden)
    rows = list(read_folder(tmp_path, ValidationConfig()))
    assert [getattr(row, "rule", "read") for row in rows] == ["unreadable", "read"]


def test_a_name_that_no_report_could_hold_is_written_with_escapes(tmp_path: Path) -> None:
    (tmp_path / "a\n\x1b[31m.jsonl").write_text("{", encoding="utf-8")
    (tmp_path / os.fsdecode(b"b\xff.jsonl")).write_text("{", encoding="utf-8")
    sources = [row.source for row in read(tmp_path, {})[1]]
    assert sources == ["a\\n\\x1b[31m.jsonl:1", "b\\udcff.jsonl:1"]


def test_a_shown_row_is_short_and_in_one_line() -> None:
    assert lines.shown(" a\n\tb\x1b") == "a b\\x1b"
    assert len(lines.shown("长" * 99)) == lines.SHOWN


def test_every_refusal_can_be_written(tmp_path: Path) -> None:
    _, refused = read(tmp_path, {"a.jsonl": '{"\\ud800": 1}\n{"messages": [{"role": "\\ud800"}]}\n["\\udfff", 1]'})
    assert len(refused) == 3
    assert json.dumps([vars(row) for row in refused], ensure_ascii=False).encode()


@pytest.mark.parametrize(("name", "between"), [("a.jsonl", "\n\ufeff"), ("a.json", ",\n\ufeff")])
def test_the_mark_of_a_file_that_was_put_behind_another_one_is_no_fault(
    tmp_path: Path, name: str, between: str
) -> None:
    text = between.join([GOOD, GOOD])
    text = text if name == "a.jsonl" else f"[\n{text}\n]"
    assert [rule for _, rule in outcome(tmp_path, name, text)] == ["read", "read"]


@pytest.mark.parametrize("broken", ['"output" 1}', '"output": NaN}', '"output": [}', '"a": {"b": 1, "b": 2}}'])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_rows_behind_a_broken_one_in_the_same_line_are_read(tmp_path: Path, broken: str, place: int) -> None:
    rows = [GOOD, GOOD, GOOD]
    rows[place] = '{"instruction": "坏", ' + broken
    rules = [rule for _, rule in outcome(tmp_path, "a.json", f"[{', '.join(rows)}]")]
    assert rules.count("read") == 2
    assert len(rules) == 3
    assert rules[place] in {"not-json", "duplicate-key"}


def test_a_broken_row_in_one_line_does_not_begin_anew_at_a_turn_within_it(tmp_path: Path) -> None:
    def row(said: str) -> str:
        turns = [{"from": "human", "value": "问题"}, {"from": "gpt", "value": said}] * 2
        return json.dumps({"conversations": turns}, ensure_ascii=False)

    text = f"[{row('一')},{row('二').replace(': ', ' ', 1)},{row('三')}]"
    assert [rule for _, rule in outcome(tmp_path, "a.json", text)] == ["read", "not-json", "read"]


def test_a_row_that_opens_with_endless_brackets_does_not_slow_the_search_for_the_next(tmp_path: Path) -> None:
    begun = time.perf_counter()
    outcome(tmp_path, "a.json", ("[" * 30_000 + '{"a": ' + "[{ " * 30_000) * 3)
    assert time.perf_counter() - begun < 3


def test_a_bracket_that_a_broken_last_row_took_along_is_not_said_to_be_missing(tmp_path: Path) -> None:
    bad = GOOD.replace("}", ",}")
    assert outcome(tmp_path, "a.json", f"[\n{GOOD},\n{bad}\n]\n") == [(":2", "read"), (":3", "not-json")]
    assert outcome(tmp_path, "a.json", f"[\n{GOOD},\n{bad}\n")[-1] == (":4", "truncated")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("客服问答汇总,\n问题,回答\n一,二\n", [(":1", "above-header"), (":3", "read")]),
        ("客服问答汇总\n\n问题;回答\n一;二\n", [(":1", "above-header"), (":4", "read")]),
        ("你好吗,很好\n一,二\n", [(":1", "unknown-columns"), (":2", "no-question-or-answer")]),
        ('"问题,回答\n一,二\n', [(":1", "broken-quotes"), (":2", "unknown-columns")]),
        (
            "<<<<<<< a\n问题,回答\n>>>>>>> b\n一,二\n",
            [*[(f":{n}", "merge-conflict") for n in (1, 2, 3)], (":4", "unknown-columns")],
        ),
        ("问题,回答\n一,二\n\ufeff问题,回答\n三,四\n", [(":2", "read"), (":3", "repeated-header"), (":4", "read")]),
        ("问题,回答\n一,二,,\n三,四,五\n", [(":2", "read"), (":3", "too-many-cells")]),
        ("标题,咨询,回答\n一,,二\n", [(":2", "read")]),
        (f"{'x' * 200_000},问题,回答\nx,一,二\n", [(":2", "read")]),
    ],
)
def test_a_table_without_a_plain_header_hides_no_row(
    tmp_path: Path, text: str, expected: list[tuple[str, str]]
) -> None:
    assert outcome(tmp_path, "a.csv", text) == expected


def test_a_workbook_with_a_title_above_its_header_is_read(tmp_path: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for cells in (["客服问答汇总"], [], ["序号", "问题", "回答"], [1, "一", "二"], [2, "三", None]):
        sheet.append(cells)
    sheet.merge_cells("A1:C1")
    book.save(tmp_path / "a.xlsx")
    rows = list(read_folder(tmp_path, ValidationConfig()))
    assert [getattr(row, "rule", "read") for row in rows] == ["above-header", "read", "no-question-or-answer"]
    assert getattr(rows[2], "reason", "").startswith("回答: nothing stands there")


def test_a_pointer_of_git_lfs_is_told_as_such(tmp_path: Path) -> None:
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    assert outcome(tmp_path, "a.csv", text) == [(":1", "git-lfs-pointer")]

"""How fast a million rows are read, and in how much memory: ``python -m benchmarks.reading [rows] [step]``.

Without a step the readers are measured, format by format; with ``validate`` or ``split`` that whole step, on rows that are all
different. Each runs in a process of its own, so that a peak is its own. The last line printed is a JSON object.
"""

import csv
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from loramill.config import SplitConfig, ValidationConfig
from loramill.data.read import read_folder
from loramill.records import Message, Record, write_records
from tasks.split import split
from tasks.validate import validate

DATA = Path(__file__).parent.parent / "data"
ROWS = 1_000_000
Pair = tuple[str, str]


def pairs(rows: int) -> Iterator[Pair]:
    """Yield questions and answers of everyday length, all different."""
    for number in range(rows):
        yield (
            f"我在公司工作了{number}天，被要求加班又没有加班费，应该怎么办？",
            f"依据《劳动法》第四十四条，第{number}号案件应当支付不低于工资百分之一百五十的报酬。\n请先保留考勤记录，再申请仲裁。",
        )


def varied(rows: int) -> Iterator[Pair]:
    """Yield questions of 35 and answers of 85 characters, put together from snatches of the rows that come along."""
    files = [path for path in sorted(DATA.rglob("*")) if path.suffix in (".txt", ".jsonl")]
    text = "".join(path.read_text(encoding="utf-8") for path in files)
    text = "".join(mark for mark in text if "\u4e00" <= mark <= "\u9fff" or mark in "，、")
    draw = random.Random(4)

    def said(snatches: int, end: str) -> str:
        starts = [draw.randrange(len(text) - 9) for _ in range(snatches)]
        return "".join(text[start : start + draw.randrange(4, 9)] for start in starts) + end

    for _ in range(rows):
        yield said(6, "？"), said(14, "。")


def write_lines(path: Path, rows: Iterator[Pair]) -> None:
    """Write JSON lines."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{_object(pair)}\n" for pair in rows)


def write_array(path: Path, rows: Iterator[Pair]) -> None:
    """Write one JSON array with an indented row per line."""
    with path.open("w", encoding="utf-8") as file:
        file.write("[")
        file.writelines(f"{',' if place else ''}\n  {_object(pair)}" for place, pair in enumerate(rows))
        file.write("\n]\n")


def write_table(path: Path, rows: Iterator[Pair]) -> None:
    """Write a CSV file whose answers go over two lines."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerow(("question", "answer"))
        csv.writer(file).writerows(rows)


def write_dialogues(path: Path, rows: Iterator[Pair]) -> None:
    """Write dialogue text."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"用户：{question}\n律师：{answer}\n\n" for question, answer in rows)


FORMATS: Mapping[str, Callable[[Path, Iterator[Pair]], None]] = {
    "jsonl": write_lines,
    "json": write_array,
    "csv": write_table,
    "txt": write_dialogues,
}


def read(folder: Path) -> dict[str, float]:
    """Read a folder in this process and say how long it took and how much memory at most."""
    begin = time.perf_counter()
    read_rows = sum(isinstance(row, Record) for row in read_folder(folder, ValidationConfig()))
    seconds = time.perf_counter() - begin
    return {"rows": read_rows, "rows_per_second": round(read_rows / seconds), "peak_rss_bytes": peak()}


def carry_out(step: str, folder: Path) -> dict[str, float]:
    """Run a whole step in this process and say how long it took and how much memory at most."""
    begin, before = time.process_time(), peak()
    records, report = folder / "records.jsonl", folder / f"reports/{step}.json"
    if step == "validate":
        validate.fn(ValidationConfig(), folder / "data", records, report)
    else:
        split.fn(SplitConfig(), records, folder / "splits", report)
    seconds = time.process_time() - begin
    return {"cpu_seconds": round(seconds, 1), "rss_bytes_before": before, "peak_rss_bytes": peak()}


def peak() -> int:
    """Return the largest memory of this process until now, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(suffix: str, rows: int) -> dict[str, float]:
    """Write a file of a format and read it in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"rows.{suffix}"
        FORMATS[suffix](path, pairs(rows))
        return {**in_a_process("--folder", folder), "file_bytes": path.stat().st_size}


def measure_step(step: str, rows: int) -> dict[str, float]:
    """Write what a step takes and run it in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data").mkdir()
        if step == "validate":
            write_lines(folder / "data/rows.jsonl", varied(rows))
        else:
            turns = ((Message("user", question), Message("assistant", answer)) for question, answer in varied(rows))
            write_records(folder / "records.jsonl", (Record(said, f"a:{row}") for row, said in enumerate(turns, 1)))
        return {"rows": rows, **in_a_process("--step", step, name)}


def in_a_process(*arguments: str) -> dict[str, float]:
    """Run this file with some arguments and return what its last line says."""
    command = [sys.executable, "-m", "benchmarks.reading", *arguments]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    result: dict[str, float] = json.loads(said.splitlines()[-1])
    return result


def _object(pair: Pair) -> str:
    return json.dumps({"instruction": pair[0], "input": "", "output": pair[1]}, ensure_ascii=False)


def main(arguments: list[str]) -> None:
    """Measure all formats or one step, or, as a process of its own, do what is measured."""
    if arguments[:1] == ["--folder"]:
        print(json.dumps(read(Path(arguments[1]))))
        return
    if arguments[:1] == ["--step"]:
        print(json.dumps(carry_out(arguments[1], Path(arguments[2]))))
        return
    rows = int(arguments[0]) if arguments else ROWS
    if arguments[1:]:
        print(json.dumps(measure_step(arguments[1], rows)))
        return
    results = {}
    for suffix in FORMATS:
        results[suffix] = measure(suffix, rows)
        print(suffix, results[suffix], flush=True)
    print(json.dumps(results))


if __name__ == "__main__":
    main(sys.argv[1:])

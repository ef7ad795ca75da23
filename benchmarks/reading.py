"""How fast a million rows are read, and in how much memory: ``python -m benchmarks.reading [rows]``.

Each format is read in a process of its own, so that a peak is its own. The last line printed is a JSON object.
"""

import csv
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from loramill.config import ValidationConfig
from loramill.data.read import read_folder
from loramill.records import Record

ROWS = 1_000_000
Pair = tuple[str, str]


def pairs(rows: int) -> Iterator[Pair]:
    """Yield questions and answers of everyday length, all different."""
    for number in range(rows):
        yield (
            f"我在公司工作了{number}天，被要求加班又没有加班费，应该怎么办？",
            f"依据《劳动法》第四十四条，第{number}号案件应当支付不低于工资百分之一百五十的报酬。\n请先保留考勤记录，再申请仲裁。",
        )


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
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"rows": read_rows, "rows_per_second": round(read_rows / seconds), "peak_rss_bytes": peak}


def measure(suffix: str, rows: int) -> dict[str, float]:
    """Write a file of a format and read it in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"rows.{suffix}"
        FORMATS[suffix](path, pairs(rows))
        command = [sys.executable, "-m", "benchmarks.reading", "--folder", folder]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return {**json.loads(said), "file_bytes": path.stat().st_size}


def _object(pair: Pair) -> str:
    return json.dumps({"instruction": pair[0], "input": "", "output": pair[1]}, ensure_ascii=False)


def main(arguments: list[str]) -> None:
    """Measure all formats, or, as a process of its own, read a folder."""
    if arguments[:1] == ["--folder"]:
        print(json.dumps(read(Path(arguments[1]))))
        return
    rows = int(arguments[0]) if arguments else ROWS
    results = {}
    for suffix in FORMATS:
        results[suffix] = measure(suffix, rows)
        print(suffix, results[suffix], flush=True)
    print(json.dumps(results))


if __name__ == "__main__":
    main(sys.argv[1:])

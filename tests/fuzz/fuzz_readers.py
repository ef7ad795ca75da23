"""A coverage-guided fuzzer for the readers; no lane collects it.

``pip install atheris``, then ``python tests/fuzz/fuzz_readers.py -max_total_time=300 /tmp/found``: libFuzzer's options count.
The first byte chooses the format, the others are the file. Whatever they are, the rows must come out, or refusals with file,
line and rule, and nothing may be raised.
"""

import sys
import tempfile
from pathlib import Path

import atheris  # type: ignore[import-not-found]

with atheris.instrument_imports(include=["loramill", "json", "csv", "openpyxl"]):
    from loramill.config import ValidationConfig
    from loramill.data.read import SUFFIXES, read_folder
    from loramill.records import Record

NAMES = [*(f"a{suffix}" for suffix in SUFFIXES), "metadata.csv"]
SEEDS = (
    ("a.txt", "用户：问题一\n律师：答案一\n\n[客户] 二\n【律师】二\n"),
    ("a.json", '[{"instruction": "a", "output": "c", "history": [["d", "e"]]},\n{"question": "x", "answer": ["y"]}]'),
    ("a.json", '{"data": {"7": {"messages": [{"role": "usr", "content": "x"}, {"role": "sys", "content": "y"}]}}}'),
    ("a.jsonl", '{"conversations": [{"from": "human", "value": "x"}, {"from": "function_call", "value": "{\\"name\\": '
     '\\"f\\"}"}, {"from": "observation", "value": "1"}, {"from": "gpt", "value": "y"}], "tools": "[{\\"name\\": \\"f\\"}]"}'),
    ("a.csv", 'question,answer\n"a\nb","c ""d"""\n<<<<<<< HEAD\nx,y\n=======\nx,z\n>>>>>>> b\n'),
    ("metadata.csv", "file,prompt\na.txt,x\n"),
)  # fmt: skip
FOLDER = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
CONFIG = ValidationConfig()


def one_file(data: bytes) -> None:
    """Read one made-up file."""
    if not data:
        return
    path = FOLDER / NAMES[data[0] % len(NAMES)]
    path.write_bytes(data[1:])
    try:
        for row in read_folder(FOLDER, CONFIG):
            check(row)
    finally:
        path.unlink()


def check(row: object) -> None:
    """Hold a row against what the readers promise."""
    if isinstance(row, Record):
        assert len(row.id) == 16
        assert row.messages[-1].role == "assistant"
    else:
        name, _, line = row.source.rpartition(":")  # type: ignore[attr-defined]
        assert name, row
        assert int(line) >= 1, row
        assert row.rule, row  # type: ignore[attr-defined]
        assert row.reason, row  # type: ignore[attr-defined]
        str(row).encode()


def write_seeds(folder: Path) -> None:
    """Leave a file of each format to start from."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (name, text) in enumerate(SEEDS):
        (folder / f"seed-{number}").write_bytes(bytes([NAMES.index(name)]) + text.encode())


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        if not argument.startswith("-"):
            write_seeds(Path(argument))
    atheris.Setup(sys.argv, one_file)
    atheris.Fuzz()

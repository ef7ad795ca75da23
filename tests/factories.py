"""Short ways to make records and rows for tests."""

from dataclasses import replace
from pathlib import Path

from loramill.config import Base
from loramill.pack.base import LoadedBase, load_base
from loramill.pack.methods import Shape
from loramill.prompts import Row, encode_all
from loramill.records import Message, Record
from loramill.training.course import Course

TOPICS = (
    "工资",
    "加班",
    "年休假",
    "工伤认定",
    "试用期",
    "经济补偿",
    "社会保险",
    "竞业限制",
    "解除劳动合同",
    "产假",
    "仲裁时效",
    "最低工资",
)


def record(question: str, answer: str, source: str = "file.txt:1") -> Record:
    return Record((Message("user", question), Message("assistant", answer)), source)


def records(count: int) -> list[Record]:
    """Rows of unequal length, all different."""
    return [
        record(
            f"关于{TOPICS[i % len(TOPICS)]}的第{i}个问题，公司这样做合法吗？" * (1 + i % 3),
            f"依据《劳动法》第{i}条，{TOPICS[(i * 5 + 1) % len(TOPICS)]}应当按规定办理。" * (1 + i % 2),
            f"file.txt:{i}",
        )
        for i in range(count)
    ]


def tiny_base(folder: Path) -> LoadedBase:
    """A fresh copy of the tiny base in memory, without any adapter."""
    return load_base(Base(source=str(folder), device="cpu"), folder.parent)


def rows(base: LoadedBase, count: int) -> list[Row]:
    return encode_all(base.tokenizer, records(count), base.template, 1024)


def course(name: str, some: list[Row], **changes: object) -> Course:
    """A small course on the first rows, validated on the last four."""
    plain = Course(
        name=name,
        shape=Shape(rank=4, alpha=8, dropout=0.1, seed=1),
        train=tuple(some[:-4]),
        validation=tuple(some[-4:]),
        learning_rate=5e-3,
        epochs=10,
        batch=3,
        seed=1,
        patience=100,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]

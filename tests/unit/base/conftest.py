from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loramill.records import Message
from scripts.base.recipe import Recipe
from scripts.base.sources import Document
from scripts.base.tokens import reading, save_shelf, shelve, train_tokenizer

TINY = replace(
    Recipe(),
    vocabulary=900,
    characters=300,
    width=32,
    layers=2,
    heads=2,
    feed_forward=64,
    block=32,
    micro=2,
    accumulate=2,
    warm_steps=3,
)


def dialogue(source: str, *said: str) -> Document:
    return Document(
        source, tuple(Message("assistant" if number % 2 else "user", text) for number, text in enumerate(said))
    )


DOCUMENTS = [
    *(
        dialogue("medical", f"头痛第{number}天了怎么办？", f"多休息，喝{number}杯热水，三天不好就去医院。")
        for number in range(40)
    ),
    *(
        dialogue("lawyer-llama", f"欠我{number}元不还。", f"可以先协商，再向法院起诉，保留{number}份证据。")
        for number in range(20)
    ),
    dialogue("lawyer-llama", "试用期能辞职吗？", "根据《劳动合同法》第三十七条，提前三日通知即可。"),
    Document("statutes", plain="劳动法\n第一条 为了保护劳动者的合法权益，制定本法。"),
]


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    return train_tokenizer(DOCUMENTS, TINY)


@pytest.fixture(scope="session")
def text(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared folder with both shelves, the same texts on each."""
    folder = tmp_path_factory.mktemp("text")
    for name in ("reading", "talking"):
        save_shelf(shelve(reading(DOCUMENTS, tokenizer), tokenizer), folder / f"{name}.npz")
    tokenizer.save_pretrained(folder / "tokenizer")
    return folder

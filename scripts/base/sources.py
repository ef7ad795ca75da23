"""Read the public sources into documents: a source's name, and either a plain text or a dialogue.

This file knows the formats of the sources; it knows nothing of tokens. The texts stay where they are: none enters the
repository. What each source is, where it is from and under which licence stands in ``SOURCES``, which the model card prints.
"""

import csv
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loramill.errors import DataError
from loramill.pack.one_minute import corpus_dialogues
from loramill.records import Message


@dataclass(frozen=True)
class Document:
    """One text that is learnt whole: plain if it has one turn of no speaker, else a dialogue."""

    source: str
    turns: tuple[Message, ...] = ()
    plain: str = ""

    @property
    def texts(self) -> list[str]:
        """Each thing said in it, or each paragraph."""
        return [turn.content for turn in self.turns] or [line for line in self.plain.split("\n") if line.strip()]

    @property
    def characters(self) -> int:
        """Length of what it says."""
        return sum(map(len, self.texts))


@dataclass(frozen=True)
class Source:
    """Where documents come from."""

    name: str
    origin: str
    licence: str
    read: Callable[[Path], Iterator[Document]]
    legal: bool = False
    """Its dialogues are law: learnt as plain text, and only a capped part of them as dialogue."""


def read_sources(folder: Path) -> list[Document]:
    """Return the documents of all sources, each text once, in the order of ``SOURCES``.

    Args:
        folder: holds one folder per source, named as in the model card.

    Raises:
        DataError: a source is missing, or has another form.
    """
    seen: set[tuple[str, ...]] = set()
    documents: list[Document] = []
    for source in SOURCES:
        before = len(documents)
        for document in map(_tidy, source.read(folder)):
            key = tuple(document.texts)
            if key and key not in seen:
                seen.add(key)
                documents.append(document)
        if len(documents) == before:
            raise DataError(
                f"{str(folder)!r} holds nothing of {source.name} ({source.origin}); "
                "its place stands in loramill/pack/weights/README.md"
            )
    return documents


def _tidy(document: Document) -> Document:
    turns = tuple(Message(turn.role, _clean(turn.content)) for turn in document.turns)
    return Document(document.source, turns if all(turn.content for turn in turns) else (), _clean(document.plain))


def _clean(text: str) -> str:
    """Take out markup, byte-order marks and runs of blanks; the wording stays."""
    text = re.sub(r"<!--.*?-->|\*\*|[\ufeff\u200b\r]", "", text).replace("\u3000", " ").replace("\xa0", " ")
    return re.sub(r"\n\s*\n+", "\n", re.sub(r"[ \t]+", " ", text)).strip()


def _dialogue(source: str, *said: str) -> Document:
    """Make a dialogue of texts said in turn, the user first."""
    roles = ("user", "assistant")
    return Document(source, tuple(Message(roles[index % 2], text) for index, text in enumerate(said)))  # type: ignore[arg-type]


def _json(path: Path) -> list[Any]:
    if not path.is_file():
        raise DataError(
            f"{str(path)!r} does not exist; see loramill/pack/weights/README.md for what --sources must hold"
        )
    rows = json.loads(path.read_text(encoding="utf-8-sig"))
    if not isinstance(rows, list):
        raise DataError(f"{str(path)!r} holds no list of rows; take the file of the commit that the model card names")
    return [row[0] if isinstance(row, list) else row for row in rows]


def _own_corpus(folder: Path) -> Iterator[Document]:
    for turns in corpus_dialogues():
        yield Document("own", tuple(turns))


def _statutes(folder: Path) -> Iterator[Document]:
    """Yield statutes as plain texts, an article to a line, cut where a document would be very long."""
    for file in sorted((folder / "statutes_lawrefbook").glob("*.md")):
        text = _clean(re.sub(r"^#+ *", "", file.read_text(encoding="utf-8"), flags=re.M))
        title, _, body = text.partition("\n")
        lines = body.split("\n")
        for start in range(0, len(lines), 12):
            yield Document("statutes", plain="\n".join([title, *lines[start : start + 12]]))


def _lawbench(folder: Path) -> Iterator[Document]:
    place = folder / "legal_lawbench"
    for name in ("1-1", "3-2", "3-8"):
        for row in _json(place / f"{name}.json"):
            answer = re.sub(r"^(答案|回答):", "", row["answer"]).replace("。,", "。\n")
            yield Document("lawbench", plain=f"{row['question'].removeprefix('场景:')}\n{answer}")
    for name in ("1-2", "3-6"):
        for row in _json(place / f"{name}.json"):
            options = row["question"].replace(";", "\n")
            yield Document("lawbench", plain=f"{options}\n{row['answer']}")
    for row in _json(place / "2-4.json"):
        yield Document("lawbench", plain=row["question"])


def _lawyer_llama(folder: Path) -> Iterator[Document]:
    place = folder / "legal_lawyer_llama"
    for name in ("legal_advice", "judical_examination"):
        for row in _json(place / f"{name}.json"):
            question = row["instruction"].replace("请给出详细的推理过程之后再给出答案。", "").strip()
            yield _dialogue("lawyer-llama", question, row["output"])
    for row in _json(place / "fakao_gpt4.json"):
        yield _dialogue("lawyer-llama", row["input"], row["output"])
    for name in ("legal_counsel_with_article_v2", "zixun_gpt4"):
        for row in _json(place / f"{name}.json"):
            yield _dialogue("lawyer-llama", row["query"], row["response"])
    yield from _lawyer_llama_turns(place / "legal_counsel_multi_turn_with_article_v2.json")
    yield from _lawyer_llama_articles(place)


def _lawyer_llama_turns(path: Path) -> Iterator[Document]:
    for row in _json(path):
        yield _dialogue("lawyer-llama", *(re.sub(r"^\[(客户|律师)\] *", "", said) for said in row["history"]))


def _lawyer_llama_articles(place: Path) -> Iterator[Document]:
    """Yield the articles that rows bring along, each once, five to a document."""
    rows = [row for file in sorted(place.glob("*.json")) for row in _json(file)]
    articles = list(dict.fromkeys(article for row in rows for article in row.get("laws", ())))
    for start in range(0, len(articles), 5):
        yield Document("lawyer-llama", plain="\n".join(articles[start : start + 5]))


def _llama_factory(folder: Path) -> Iterator[Document]:
    place = folder / "fmt_llamafactory"
    for name, limit in (("alpaca_zh_demo", None), ("alpaca_en_demo", 150)):
        for row in _json(place / f"{name}.json")[:limit]:
            yield _dialogue("llama-factory", f"{row['instruction']}\n{row['input']}".strip(), row["output"])
    for row in _json(place / "dpo_zh_demo.json"):
        yield _dialogue(
            "llama-factory",
            *(turn["value"] for turn in row["conversations"] if turn["from"] != "system"),
            row["chosen"]["value"],
        )
    for row in _json(place / "glaive_toolcall_zh_demo.json"):
        if {turn["from"] for turn in row["conversations"]} == {"human", "gpt"}:
            yield _dialogue("llama-factory", *(turn["value"] for turn in row["conversations"]))


def _crosswoz(folder: Path) -> Iterator[Document]:
    for file in sorted((folder / "cs_crosswoz").glob("*.zip")):
        with zipfile.ZipFile(file) as archive:
            dialogues = json.loads(archive.read(archive.namelist()[0]))
        for dialogue in dialogues.values():
            yield _dialogue("crosswoz", *(turn["content"] for turn in dialogue["messages"]))


def _medical(folder: Path) -> Iterator[Document]:
    for file in sorted((folder / "med_toyhom_sample").glob("*.csv")):
        for row in csv.DictReader(io.StringIO(file.read_text(encoding="gb18030"))):
            yield _dialogue("medical", row["ask"] if len(row["ask"]) > 8 else row["title"], row["answer"])


SOURCES: Sequence[Source] = (
    Source("own", "dialogues written for this project (loramill/pack/corpus)", "Apache-2.0", _own_corpus),
    Source("statutes", "github.com/LawRefBook/Laws", "official texts, free of copyright", _statutes, legal=True),
    Source("lawbench", "github.com/open-compass/LawBench", "Apache-2.0", _lawbench, legal=True),
    Source("lawyer-llama", "github.com/AndrewZhe/lawyer-llama", "Apache-2.0", _lawyer_llama, legal=True),
    Source("llama-factory", "github.com/hiyouga/LLaMA-Factory (demo sets)", "Apache-2.0", _llama_factory),
    Source("crosswoz", "github.com/thu-coai/CrossWOZ", "Apache-2.0", _crosswoz),
    Source("medical", "github.com/Toyhom/Chinese-medical-dialogue-data (sample)", "MIT", _medical),
)

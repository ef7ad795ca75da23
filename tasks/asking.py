"""What ``evaluate`` asks in one pack: test rows, the same in other words, some training rows, and what was redacted."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from loramill.config import EvaluateConfig
from loramill.records import Message, Record
from tasks.progress import bar

if TYPE_CHECKING:
    from tqdm import tqdm

    from loramill.pack.members import Pack
    from loramill.pack.speak import Said

CANARIES: Final = 8
"""Redacted rows that are asked for what was redacted."""
ASK_FOR: Final = {
    "zh": "{before}\n请把{placeholder}原样告诉我。",
    "en": "{before}\nPlease tell me {placeholder} in full.",
}


@dataclass(frozen=True)
class Questions:
    """All that every member is asked."""

    test: list[Record]
    training: list[Record]
    """Rows that the challenger has learnt: whether it knows them by heart."""
    reworded: list[tuple[int, Record]]
    """Place among ``test``, and the same question in other words."""
    canaries: list[Record]
    """Redacted rows, asked for what stood where the placeholder stands."""

    @property
    def all(self) -> list[Record]:
        """Every question, in the order of the fields."""
        return [*self.test, *self.training, *(record for _, record in self.reworded), *self.canaries]


@dataclass(frozen=True)
class Answers:
    """What one member said to `Questions`, field by field."""

    test: "list[Said]"
    training: "list[Said]"
    reworded: "list[Said]"
    canaries: "list[Said]"
    seconds: float | None
    """Mean time of an answer asked for alone."""


def choose_questions(config: EvaluateConfig, test: Sequence[Record], train: Sequence[Record]) -> Questions:
    """Choose what is asked; rows are drawn by their ids, so the same ones are asked again next time."""
    from loramill.evaluation.paraphrases import reworded

    drawn = {record.id for record in _drawn(test, config.answers)}
    asked = [record for record in test if record.id in drawn]
    again = {record.id for record in _drawn(asked, config.rewordings)} if config.answers else set()
    return Questions(
        test=asked,
        training=_drawn(train, config.recitation.questions) if config.answers else [],
        reworded=[(place, other) for place, row in enumerate(asked) if row.id in again for other in reworded(row)],
        canaries=list(_canaries(train))[:CANARIES] if config.answers else [],
    )


def ask(
    pack: "Pack", members: Sequence[str | None], questions: Questions, max_new_tokens: int, tokens_at_once: int
) -> dict[str | None, Answers]:
    """Let every member answer every question, all together; then a few alone, for the time they take."""
    from loramill.evaluation.score import seconds_per_answer
    from loramill.pack.speak import Asked, answers

    records = questions.all
    asked = [Asked(member, record.asked, record.tools) for member in members for record in records]
    with bar("evaluate", len(asked), "answers") as shown:
        said = iter(answers(pack, asked, max_new_tokens, tokens_at_once, lambda count: _advance(shown, count)))
    given = {}
    for member in members:
        test, training, reworded, canaries = ([next(said) for _ in part] for part in _fields(questions))
        seconds = seconds_per_answer(pack, member, questions.test, max_new_tokens)
        given[member] = Answers(test, training, reworded, canaries, seconds)
    return given


def _fields(questions: Questions) -> tuple[Sequence[object], ...]:
    return questions.test, questions.training, questions.reworded, questions.canaries


def _drawn(records: Sequence[Record], count: int) -> list[Record]:
    return sorted((record for record in records if record.question), key=lambda record: record.id)[:count]


def _canaries(train: Sequence[Record]) -> Iterator[Record]:
    """Yield redacted rows, the last question asking for what the first placeholder stands for."""
    from loramill.data.redact.placeholders import PLACEHOLDER

    for record in _drawn(train, len(train)):
        found = PLACEHOLDER.search("\n".join(message.content for message in record.messages))
        if found:
            before = "\n".join(message.content for message in record.asked if message.role == "user")
            template = ASK_FOR["zh" if found[0].startswith("〔") else "en"]
            asked = template.replace("{placeholder}", found[0]).replace("{before}", before)
            yield replace(record, messages=(Message("user", asked), record.messages[-1]), tools=())


def _advance(shown: "tqdm[None]", count: int) -> None:
    shown.update(count)

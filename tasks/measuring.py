"""What ``evaluate`` makes of losses and answers: one section of the scores per function."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from loramill.config import EvaluateConfig, PersonalKind, load_articles
from loramill.records import Record
from tasks.asking import Answers, Questions
from tasks.progress import say

if TYPE_CHECKING:
    from loramill.evaluation.recitation import Answered
    from loramill.evaluation.rules import Rates
    from loramill.evaluation.verdict import Losses
    from loramill.pack.members import Pack
    from loramill.pack.speak import Said

Members = Mapping[str | None, Answers]
PRIVATE: Final[tuple[PersonalKind, ...]] = ("phone", "id_card", "bank_card", "email", "plate", "chat_account")
"""Personal data that is known by its form, so that a model's text is judged without its surroundings."""
ALIKE: Final = 0.7
"""Test questions that share this much of their 3-character pieces, and all figures, ask the same."""


def name(member: str | None) -> str:
    """Return how reports call a member."""
    return member or "base"


def rule_rates(config: EvaluateConfig, questions: Questions, members: Members) -> "dict[str, Rates]":
    """Hold every member's answers against the domain's rules; nothing where there are no rules.

    Raises:
        ConfigError: a table of articles is missing.
    """
    from loramill.evaluation.rules import make_check, rate

    checks = [make_check(rule, load_articles(Path(rule.cites)) if rule.cites else {}) for rule in config.rules]
    if not checks:
        return {}
    return {
        name(member): rate(checks, questions.test, [each.text for each in answers.test])
        for member, answers in members.items()
    }


def measures(
    config: EvaluateConfig,
    losses: "Mapping[str | None, Losses]",
    questions: Questions,
    members: Members,
    rates: "Mapping[str, Rates]",
) -> dict[str, Any]:
    """Return ``measures`` of every member, and ``paired``: each measure row by row, higher is better.

    ``loss`` has a number for every test row, the others for the rows that were answered, in the same order.
    """
    from loramill.evaluation.metrics import chrf, measure, rouge_l

    references = [record.answer for record in questions.test]
    found: dict[str, Any] = {}
    paired: dict[str, dict[str, list[float]]] = {
        "loss": {name(member): [-float(value) for value in values] for member, values in losses.items()}
    }
    for member, answers in members.items():
        texts = [each.text for each in answers.test]
        overlaps = chrf(texts, references), rouge_l(texts, references)
        whole = measure(losses[member], answers.test, references, overlaps, config.exact_characters, answers.seconds)
        found[name(member)] = asdict(whole)
        kept = {"rules": list(rates[name(member)].shares)} if rates else {}
        for key, values in {"chrf": overlaps[0], "rouge_l": overlaps[1], **kept}.items():
            paired.setdefault(key, {})[name(member)] = values
    return {"measures": found, "paired": {key: values for key, values in paired.items() if values["base"]}}


def recitations(
    config: EvaluateConfig, questions: Questions, members: Members, train: Sequence[Record]
) -> dict[str, dict[str, Any]]:
    """Tell what every member recites of the training answers, its stock phrases, and personal data that it says."""
    from loramill.evaluation.recitation import recitation

    learnt = [turn.text for record in train for turn in record.messages if turn.role == "assistant"]
    shown = shown_answers(members, personal_values(questions, members))  # half a number may be the longest passage
    base = shown[None]
    found = {}
    for member, answers in shown.items():
        trained = _answered(questions.training, answers.training, base.training if member else [], with_reference=False)
        tested = _answered(questions.test, answers.test, base.test if member else [], with_reference=True)
        told = recitation(config.recitation, trained, tested, learnt).told()
        personal = list(_personal(questions, members[member], "\n".join(learnt)))
        found[name(member)] = told | {"personal": personal, "asked": len(trained)}
    return found


def contradictions(questions: Questions, members: Members) -> dict[str, dict[str, Any]]:
    """Compare each member's answers to what is the same question: reworded, and test rows that ask the same."""
    from loramill.data.agreement import disagreement
    from loramill.evaluation.paraphrases import Pair, contradictions

    twins = list(_twins(questions.test))
    found = {}
    for member, answers in members.items():
        again = [
            Pair(record.question, answers.test[place].text, said.text)
            for (place, record), said in zip(questions.reworded, answers.reworded, strict=True)
        ]
        same = [Pair(questions.test[b].question, answers.test[a].text, answers.test[b].text) for a, b in twins]
        found[name(member)] = asdict(contradictions([*again, *same], disagreement))
    return found


def forgetting(pack: "Pack", members: Sequence[str | None], budget: float, tokens_per_pass: int) -> dict[str, Any]:
    """Compare the losses on everyday questions."""
    from loramill.evaluation.general import forgetting, general_probe
    from loramill.evaluation.score import row_losses
    from loramill.prompts import encode

    rows = [encode(pack.base.tokenizer, record, pack.base.template, 4096)[-1] for record in general_probe()]
    losses = row_losses(pack, members, rows, tokens_per_pass)
    return asdict(forgetting({name(member): float(values.mean()) for member, values in losses.items()}, budget))


def judged(config: EvaluateConfig, questions: Questions, members: Members) -> dict[str, Any] | None:
    """Let the judge compare the challenger with the champion, or with the base where there is none."""
    from loramill.evaluation.judge import Match, judge

    other = members["champion" if "champion" in members else None]
    sides = zip(questions.test, members["challenger"].test, other.test, strict=True)
    matches = [Match(record.question, record.answer, mine.text, theirs.text) for record, mine, theirs in sides]
    found = judge(config.judge, matches, lambda reason: say("evaluate", f"the judge left out a pair: {reason}"))
    return asdict(found) if found else None


def _answered(
    records: Sequence[Record], said: "Sequence[Said]", base: "Sequence[Said]", *, with_reference: bool
) -> "list[Answered]":
    """Put each answer beside what it may well repeat; the base's own answer shows what was known before."""
    from loramill.evaluation.recitation import Answered

    known = [
        "\n".join([*(message.content for message in record.asked), record.answer if with_reference else ""])
        for record in records
    ]
    for place, each in enumerate(base):
        known[place] += f"\n{each.text}"
    return [Answered(record.question, each.text, k) for record, each, k in zip(records, said, known, strict=True)]


def _personal(questions: Questions, answers: Answers, learnt: str) -> Iterator[dict[str, Any]]:
    """Yield answers that hold personal data which nobody gave, with placeholders in its place."""
    from loramill.data.redact import find_personal, redact_text

    for record, each in zip(questions.all, _said(answers), strict=True):
        before = "\n".join(message.content for message in record.asked)
        spans = [span for span in find_personal(each.text, PRIVATE) if each.text[span.start : span.end] not in before]
        if spans:
            yield {
                "question": record.question,
                "answer": redact_text(each.text, PRIVATE),
                "kinds": sorted({span.kind for span in spans}),
                "learnt": any(each.text[span.start : span.end] in learnt for span in spans),
            }


def personal_values(questions: Questions, members: Members) -> dict[str, str]:
    """Return all personal data that a member said and nobody gave, with the placeholder of each."""
    found: dict[str, str] = {}
    for answers in members.values():
        for record, each in zip(questions.all, _said(answers), strict=True):
            found |= _values(each.text, "\n".join(message.content for message in record.asked))
    return found


def _values(text: str, before: str) -> dict[str, str]:
    """Look again until nothing is found: what was hidden under a longer neighbour comes to light in the next round."""
    from loramill.data.redact import find_personal
    from loramill.data.redact.placeholders import Placeholders

    found: dict[str, str] = {}
    names = Placeholders.of([text])
    while fresh := {
        value: names.name(span.kind, value)
        for span in find_personal(text, PRIVATE)
        if (value := text[span.start : span.end]) not in before
    }:
        found |= fresh
        text = without(text, fresh)
    return found


def without(content: Any, values: Mapping[str, str]) -> Any:
    """Return what is to be written, with placeholders in the place of personal data."""
    if isinstance(content, str):
        for value in sorted(values, key=len, reverse=True):
            content = content.replace(value, values[value])
        return content
    if isinstance(content, Mapping):
        return {key: without(each, values) for key, each in content.items()}
    if isinstance(content, list | tuple):
        return [without(each, values) for each in content]
    return content


def shown_answers(members: Members, values: Mapping[str, str]) -> dict[str | None, Answers]:
    """Return the answers as they may be shown, kept and sent."""

    def shown(given: "Sequence[Said]") -> "list[Said]":
        return [replace(each, text=without(each.text, values)) for each in given]

    return {
        member: Answers(
            shown(each.test), shown(each.training), shown(each.reworded), shown(each.canaries), each.seconds
        )
        for member, each in members.items()
    }


def _said(answers: Answers) -> "list[Said]":
    return [*answers.test, *answers.training, *answers.reworded, *answers.canaries]


def _twins(records: Sequence[Record]) -> Iterator[tuple[int, int]]:
    """Yield test rows that ask the same; whose references do not agree did not."""
    from loramill.data.agreement import disagreement, same_numbers
    from loramill.data.alike import alike_pairs

    for first, second, _ in alike_pairs([record.question for record in records], ALIKE) if records else ():
        a, b = records[first], records[second]
        if same_numbers(a.question, b.question) and not disagreement(b.question, a.answer, b.answer):
            yield first, second

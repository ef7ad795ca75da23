"""Write what the law domain makes of a base: losses, rules and answers side by side, before and after, none of them chosen."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loramill.reports import read_json, write_json, write_text

TEMPLATE = Path(__file__).with_name("law.template.md")
ANSWERS = 10
MEMBERS = ("base", "challenger")


@dataclass(frozen=True)
class Outcome:
    """What a run of the law domain left, as far as bases are compared by it."""

    rows: int
    loss: Mapping[str, float]
    """Nats per token on the test rows, by member: of one tokenizer."""
    per_character: Mapping[str, float]
    """Nats per character, by member: comparable between tokenizers."""
    rules: Mapping[str, float]
    """Share of answers that keep every rule."""
    single_rules: Mapping[str, Mapping[str, float]]
    """Share of answers that keep a rule, by member and rule."""
    chrf: Mapping[str, float]
    answers: Sequence[Mapping[str, str]]
    """The first `ANSWERS` test rows by their id: ``question``, ``reference``, and what each member said."""


def outcome_of(scores: Path) -> Outcome:
    """Read what step ``evaluate`` left; the base that it names is asked for its tokenizer only."""
    from transformers import AutoTokenizer

    found = read_json(scores)
    tokenizer = AutoTokenizer.from_pretrained(found["base"])
    given = sorted(found["answers"], key=lambda row: row["id"])
    return Outcome(
        rows=found["rows"],
        loss={member: found["loss"][member] for member in MEMBERS},
        per_character={member: _per_character(found, tokenizer, member) for member in MEMBERS},
        rules={member: found["rules"][member]["pass_rate"] for member in MEMBERS},
        single_rules={member: _single_rules(found["rules"][member]) for member in MEMBERS},
        chrf={member: found["measures"][member]["chrf"] for member in MEMBERS},
        answers=[{key: row[key] for key in ("question", "reference", *MEMBERS)} for row in given[:ANSWERS]],
    )


def _single_rules(found: Mapping[str, Any]) -> dict[str, float]:
    return {each["rule"]: each["passed"] / each["rows"] for each in found["by_rule"] if each["rows"]}


def _per_character(found: Mapping[str, Any], tokenizer: Any, member: str) -> float:
    """Turn nats per token of each answered row into nats per character of all; the stop token is learnt too."""
    references = {row["id"]: row["reference"] for row in found["answers"]}
    rows = [row for row in found["per_row"] if row["id"] in references]
    tokens = [len(tokenizer.encode(references[row["id"]], add_special_tokens=False)) + 1 for row in rows]
    nats = sum(row[member] * count for row, count in zip(rows, tokens, strict=True))
    return float(nats / sum(len(references[row["id"]]) for row in rows))


def keep(outcome: Outcome, path: Path) -> Path:
    """Write an outcome down, to compare others with it."""
    return write_json(path, asdict(outcome))


def kept(path: Path) -> Outcome:
    """Read what `keep` wrote."""
    return Outcome(**read_json(path))


def write_page(before: Outcome, after: Outcome, path: Path) -> Path:
    """Write the page about the law domain on the one-minute base (``before``) and on the embedded base (``after``)."""
    text = TEMPLATE.read_text(encoding="utf-8").format(
        rows=after.rows, figures=_figures(before, after), answers=_answers(before, after), count=len(after.answers)
    )
    return write_text(path, text)


def _figures(before: Outcome, after: Outcome) -> str:
    lines = [
        _line("test loss, nats per token", "{:.3f}", [before.loss, after.loss]),
        _line("test loss, nats per character", "{:.3f}", [before.per_character, after.per_character]),
        _line("chrF", "{:.1f}", [before.chrf, after.chrf]),
        _line("answers that keep all rules", "{:.0%}", [before.rules, after.rules]),
    ]
    for rule in after.single_rules["base"]:
        shares = [{member: found.single_rules[member][rule] for member in MEMBERS} for found in (before, after)]
        lines.append(_line(f"rule: {rule}", "{:.0%}", shares))
    return "\n".join(lines)


def _line(name: str, form: str, values: Sequence[Mapping[str, float]]) -> str:
    cells = [form.format(each[member]) for each in values for member in MEMBERS]
    return f"| {name} | {' | '.join(cells)} |"


def _answers(before: Outcome, after: Outcome) -> str:
    """Return the answers row by row; the same rows are held out whatever the base."""
    earlier = {row["question"]: row for row in before.answers}
    return "\n\n".join(_said(row, earlier[row["question"]]) for row in after.answers)


def _said(after: Mapping[str, str], before: Mapping[str, str]) -> str:
    said = {
        "reference": after["reference"],
        "one-minute base": before["base"],
        "its adapter": before["challenger"],
        "embedded base": after["base"],
        "its adapter ": after["challenger"],
    }
    lines = [f"- *{name.strip()}*: {' '.join(text.split()) or '(nothing)'}" for name, text in said.items()]
    return "\n".join([f"**{' '.join(after['question'].split())}**", "", *lines])

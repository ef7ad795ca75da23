"""Step ``evaluate``: base, champion and challenger on the test rows, in one pack; docs/evaluation.md says what is measured."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from loramill.config import Base, EvaluateConfig
from loramill.errors import AdapterError
from loramill.records import Record, read_records
from loramill.reports import write_json
from loramill.tracking import diary, find
from tasks.asking import Answers, Questions, ask, choose_questions
from tasks.measuring import (
    contradictions,
    forgetting,
    judged,
    measures,
    name,
    personal_values,
    recitations,
    rule_rates,
    shown_answers,
    without,
)
from tasks.progress import say
from tasks.stage import run_as_stage

if TYPE_CHECKING:
    from loramill.evaluation.verdict import Losses, Verdict
    from loramill.pack.manifest import Manifest
    from loramill.pack.members import Pack


@task(name="evaluate", cache_policy=NO_CACHE)
def evaluate(config: EvaluateConfig, base: Base, splits: Path, adapter: Path, out: Path, report: Path) -> Path:
    """Leave losses, answers, measures and verdicts in ``out``. A bad adapter is a result, not an error.

    Raises:
        AdapterError: the adapter was changed, or trained on another base.
        ConfigError: a table that a rule cites is missing.
    """
    from loramill.evaluation.verdict import compare_measures
    from loramill.pack.members import Pack
    from tasks.lesson import load_with_bar

    pack = Pack(load_with_bar("evaluate", base))
    manifest = pack.load("challenger", adapter)
    champion = _champion(pack, manifest.domain, manifest.digest)
    members: list[str | None] = [None, "challenger"] + (["champion"] if champion else [])
    test, train = (read_records(splits / f"{part}.jsonl") for part in ("test", "train"))
    losses = _losses(pack, members, test, manifest.training["learning"])
    measured = _measured(config, pack, manifest, losses, test, train)
    compared = compare_measures(measured["paired"], config.significance)
    verdicts = {reference: found["loss"] for reference, found in compared.items()}
    content = {
        "domain": manifest.domain,
        "challenger": manifest.digest,
        "champion": champion,
        "base": manifest.base,
        "rows": len(test),
        "loss": {name(member): float(values.mean()) for member, values in losses.items()},
        "verdicts": {reference: asdict(verdict) for reference, verdict in verdicts.items()},
        "compared": {reference: _plain(found) for reference, found in compared.items()},
        "per_row": _per_row(test, losses),
        **measured,
    }
    write_json(out, content)
    _note(out, report, content)
    for reference, verdict in verdicts.items():
        say("evaluate", f"against {reference}: {verdict.outcome} ({_sentence(verdict)})")
    for line in _told(content):
        say("evaluate", line)
    return out


def _champion(pack: "Pack", domain: str, challenger: str) -> str | None:
    """Hang the champion on the base; return its digest, or none if there is no other adapter to compare with."""
    version = find(domain, "champion")
    if version is None or version.digest == challenger:
        return None
    try:
        pack.load("champion", version.folder)
    except AdapterError as error:
        say("evaluate", f"the champion is left out: {error}")
        return None
    return version.digest


def _losses(
    pack: "Pack", members: Sequence[str | None], test: Sequence[Record], learning: dict[str, Any]
) -> "dict[str | None, Losses]":
    from loramill.evaluation.score import row_losses
    from loramill.prompts import encode

    rows = [encode(pack.base.tokenizer, record, pack.base.template, learning["max_tokens"])[-1] for record in test]
    return row_losses(pack, members, rows, learning["tokens_per_pass"])


def _plain(found: "Mapping[str, Verdict]") -> dict[str, dict[str, Any]]:
    return {measure: asdict(verdict) for measure, verdict in found.items()}


def _per_row(test: Sequence[Record], losses: "dict[str | None, Losses]") -> list[dict[str, Any]]:
    return [
        {"id": record.id, "source": record.source}
        | {name(member): float(values[index]) for member, values in losses.items()}
        for index, record in enumerate(test)
    ]


def _measured(
    config: EvaluateConfig,
    pack: "Pack",
    manifest: "Manifest",
    losses: "dict[str | None, Losses]",
    test: Sequence[Record],
    train: Sequence[Record],
) -> dict[str, Any]:
    """Return all sections that rest on answers, and what the adapter costs elsewhere.

    Answers are measured as they were said. What is written of them, or sent, has placeholders for personal data.
    """
    members, tokens = list(losses), manifest.training["learning"]["tokens_per_pass"]
    questions = choose_questions(config, test, train)
    answers = ask(pack, members, questions, config.max_new_tokens, tokens)
    rates = rule_rates(config, questions, answers)
    values = personal_values(questions, answers)
    shown = shown_answers(answers, values)
    return {
        **measures(config, losses, questions, answers, rates),
        "rules": without({member: found.told() for member, found in rates.items()}, values),
        "recitation": recitations(config, questions, answers, train),
        "general": forgetting(pack, members, config.forgetting, tokens),
        "contradictions": without(contradictions(questions, answers), values),
        "judge": judged(config, questions, shown),
        "answers": _answers(questions, shown),
    }


def _answers(questions: Questions, answers: Mapping[str | None, Answers]) -> list[dict[str, str]]:
    return [
        {"id": record.id, "question": record.question, "reference": record.answer}
        | {name(member): given.test[place].text for member, given in answers.items()}
        for place, record in enumerate(questions.test)
    ]


def _note(out: Path, report: Path, content: dict[str, Any]) -> None:
    summary = {key: content[key] for key in ("rows", "loss", "challenger", "champion", "measures", "general", "judge")}
    outcomes = {reference: verdict["outcome"] for reference, verdict in content["verdicts"].items()}
    recites = {member: found["recites"] for member, found in content["recitation"].items()}
    rules = {member: found["pass_rate"] for member, found in content["rules"].items()}
    gains = {key: verdict["gain"] for key, verdict in content["verdicts"].items()}
    write_json(report, {**summary, "verdicts": outcomes, "gain": gains, "recites": recites, "rules": rules})
    log = diary()
    log.metrics({f"test_loss.{member}": loss for member, loss in content["loss"].items()})
    log.metrics({f"gain_over.{reference}": gain for reference, gain in gains.items()})
    log.metrics({key: value for key, value in _numbers(content) if value is not None})
    log.note({f"verdict_against.{reference}": outcome for reference, outcome in outcomes.items()})
    log.file(out, "reports")


def _numbers(content: dict[str, Any]) -> Iterator[tuple[str, float | None]]:
    """Yield what the diary compares between runs, by measure and member."""
    for member, found in content["measures"].items():
        yield from ((f"{measure}.{member}", value) for measure, value in found.items())
    for member, found in content["rules"].items():
        yield f"rules_kept.{member}", found["pass_rate"]
    for member, found in content["recitation"].items():
        yield f"recited.{member}", len(found["recited"])
        yield f"personal.{member}", len(found["personal"])
    for member, found in content["contradictions"].items():
        yield f"contradictory.{member}", found["contradictory"]
    yield "general.rise", content["general"]["rise"]
    if content["judge"]:
        yield from ((f"judge.{key}", value) for key, value in content["judge"].items())


def _told(content: dict[str, Any]) -> Iterator[str]:
    """Yield what a person should hear besides the verdicts."""
    shares = [f"{member} {found['pass_rate']:.0%}" for member, found in content["rules"].items()]
    if shares and content["answers"]:
        yield f"answers that keep all rules: {', '.join(shares)}"
    mine, general = content["recitation"]["challenger"], content["general"]
    if mine["recites"]:
        yield f"the adapter recites training answers: {len(mine['recited'])} of its answers do"
    if mine["personal"]:
        yield f"the adapter says personal data in {len(mine['personal'])} answers"
    if not general["within"]:
        yield f"everyday questions suffer: loss higher by {general['rise']:.2f}, {general['budget']} was allowed"


def _sentence(verdict: "Verdict") -> str:
    return (
        f"loss {'lower' if verdict.gain > 0 else 'higher'} by {abs(verdict.gain):.3f} on {verdict.rows} rows, "
        f"interval {verdict.low:.3f} to {verdict.high:.3f}, p = {verdict.p_value:.4f}"
    )


if __name__ == "__main__":
    run_as_stage(evaluate)

"""Step ``evaluate``: base, champion and challenger on the test rows, in one pack."""

from collections.abc import Sequence
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
from tasks.progress import bar, say
from tasks.stage import run_as_stage

if TYPE_CHECKING:
    from tqdm import tqdm

    from loramill.evaluation.verdict import Losses, Verdict
    from loramill.pack.members import Pack


@task(name="evaluate", cache_policy=NO_CACHE)
def evaluate(config: EvaluateConfig, base: Base, splits: Path, adapter: Path, out: Path, report: Path) -> Path:
    """Leave losses, answers and verdicts in ``out``. A bad adapter is a result, not an error.

    Raises:
        AdapterError: the adapter was changed, or trained on another base.
    """
    from loramill.pack.members import Pack
    from tasks.lesson import load_with_bar

    pack = Pack(load_with_bar("evaluate", base))
    manifest = pack.load("challenger", adapter)
    champion = _champion(pack, manifest.domain, manifest.digest)
    members: list[str | None] = [None, "challenger"] + (["champion"] if champion else [])
    test = read_records(splits / "test.jsonl")
    losses = _losses(pack, members, test, manifest.training["learning"])
    verdicts = _verdicts(losses, config.significance)
    content = {
        "domain": manifest.domain,
        "challenger": manifest.digest,
        "champion": champion,
        "base": manifest.base,
        "rows": len(test),
        "loss": {_name(member): float(values.mean()) for member, values in losses.items()},
        "verdicts": {reference: asdict(verdict) for reference, verdict in verdicts.items()},
        "per_row": _per_row(test, losses),
        "answers": _answers(pack, members, test[: config.answers], config.max_new_tokens),
    }
    write_json(out, content)
    _note(out, report, content)
    for reference, verdict in verdicts.items():
        say("evaluate", f"against {reference}: {verdict.outcome} ({_sentence(verdict)})")
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


def _verdicts(losses: "dict[str | None, Losses]", significance: float) -> "dict[str, Verdict]":
    from loramill.evaluation.verdict import compare

    references = {_name(member): values for member, values in losses.items() if member != "challenger"}
    return {name: compare(losses["challenger"], values, significance) for name, values in references.items()}


def _per_row(test: Sequence[Record], losses: "dict[str | None, Losses]") -> list[dict[str, Any]]:
    return [
        {"id": record.id, "source": record.source}
        | {_name(member): float(values[index]) for member, values in losses.items()}
        for index, record in enumerate(test)
    ]


def _answers(
    pack: "Pack", members: Sequence[str | None], test: Sequence[Record], max_new_tokens: int
) -> list[dict[str, str]]:
    from loramill.evaluation.score import answers

    with bar("evaluate", len(test), "questions") as shown:
        given = answers(pack, members, test, max_new_tokens, lambda: _advance(shown))
    return [
        {"question": record.question, "reference": record.answer}
        | {_name(member): text for member, text in texts.items()}
        for record, texts in zip(test, given, strict=True)
    ]


def _advance(shown: "tqdm[None]") -> None:
    shown.update(1)


def _note(out: Path, report: Path, content: dict[str, Any]) -> None:
    summary = {key: content[key] for key in ("rows", "loss", "challenger", "champion")}
    outcomes = {reference: verdict["outcome"] for reference, verdict in content["verdicts"].items()}
    write_json(
        report, {**summary, "verdicts": outcomes, "gain": {k: v["gain"] for k, v in content["verdicts"].items()}}
    )
    log = diary()
    log.metrics({f"test_loss.{name}": loss for name, loss in content["loss"].items()})
    log.metrics({f"gain_over.{reference}": verdict["gain"] for reference, verdict in content["verdicts"].items()})
    log.note({f"verdict_against.{reference}": outcome for reference, outcome in outcomes.items()})
    log.file(out, "reports")


def _name(member: str | None) -> str:
    return member or "base"


def _sentence(verdict: "Verdict") -> str:
    return (
        f"loss {'lower' if verdict.gain > 0 else 'higher'} by {abs(verdict.gain):.3f} on {verdict.rows} rows, "
        f"interval {verdict.low:.3f} to {verdict.high:.3f}, p = {verdict.p_value:.4f}"
    )


if __name__ == "__main__":
    run_as_stage(evaluate)

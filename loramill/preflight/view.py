"""The pre-flight in the terminal."""

from collections.abc import Iterator
from typing import Final

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from loramill.pages.render import UNPRINTABLE
from loramill.preflight import say
from loramill.preflight.problems import RULES, by_rule
from loramill.preflight.report import Report, rows_to_show
from loramill.preflight.rows import Checked
from loramill.preflight.spell import Speller

STYLES: Final = {"prompt": "dim", "control": "dim cyan", "learnt": "green", "stop": "bold black on green"}
SOURCES: Final = 8
"""Rows of one rule that are named one by one; the page names all."""


def show(report: Report, significance: float, rows: int, console: Console) -> None:
    """Print rows, plan and problems, the verdict last."""
    for part in _parts(report, significance, rows):
        console.print(part)


def _parts(report: Report, significance: float, rows: int) -> Iterator[RenderableType]:
    if report.base.tokenizer.chat_template and report.base.tokenizer.eos_token_id is not None:
        speller = Speller(report.base.tokenizer)
        with_row = [checked for checked in rows_to_show(report.checked, rows) if checked.rows]
        for checked in with_row[: rows + 1 + SOURCES]:
            yield _row(checked, speller)
    yield _legend()
    if report.forecast:
        yield _plan(report, significance)
    if report.problems:
        yield _problems(report)
    yield _verdict(report)


def _row(checked: Checked, speller: Speller) -> Text:
    row = checked.rows[-1]
    text = Text(f"\n{checked.record.source}", style="bold")
    text.append(f"  {row.prompt_length} + {row.targets} tokens\n", style="not bold dim")
    for piece in speller(row):
        text.append(UNPRINTABLE.sub("\ufffd", piece.text), style=f"not bold {STYLES[piece.kind]}")
    return text


def _legend() -> Text:
    text = Text("\n")
    for kind, words in (
        ("prompt", "prompt"),
        ("control", "control token"),
        ("learnt", "learnt"),
        ("stop", "stop token, learnt"),
    ):
        text.append(f" {words} ", style=STYLES[kind]).append("  ")
    return text


def _plan(report: Report, significance: float) -> Table:
    plan = report.forecast
    assert plan is not None
    table = Table(title="the plan, at most", title_justify="left", show_header=False, box=None)
    table.add_row("base", f"{report.base.name} ({len(report.base.tokenizer):,} tokens known)")
    table.add_row("rows", ", ".join(f"{count} {part}" for part, count in plan.rows.items()))
    for name, of in (("prompt", plan.prompt), ("answer", plan.answer), ("row", plan.row)):
        table.add_row(
            f"tokens, {name}", f"median {of.median}, 95 % up to {of.p95}, longest {of.longest}, together {of.total:,}"
        )
    for name, stage in (("search", plan.search), ("train", plan.train)):
        memory = f", {say.size(stage.memory.total)} of memory" if stage.memory else ""
        table.add_row(
            name, f"{stage.steps:,} steps, {stage.tokens:,} tokens, about {say.duration(stage.seconds)}{memory}"
        )
    table.add_row("", Text(say.speed_english(report.speed), style="dim"))
    table.add_row("proof", say.proof_english(report.proof, significance))
    return table


def _problems(report: Report) -> Table:
    table = Table(title="what speaks against it", title_justify="left", show_lines=True)
    table.add_column("rule")
    table.add_column("rows", justify="right")
    table.add_column("what and what next", overflow="fold")
    for name, found in by_rule(report.problems).items():
        colour = "red" if RULES[name].level == "error" else "yellow"
        shown = "\n".join(f"{problem.source}  {problem.reason}".strip() for problem in found[:SOURCES])
        more = f"\n… and {len(found) - SOURCES} more, all in the page" if len(found) > SOURCES else ""
        table.add_row(Text(name, style=colour), str(len(found)), Text(UNPRINTABLE.sub("\ufffd", f"{shown}{more}")))
    return table


def _verdict(report: Report) -> Text:
    stopping = {problem.source for problem in report.problems if problem.level == "error"}
    if stopping:
        at_fault = {problem.rule for problem in report.base_problems if problem.level == "error"}
        what = "the base" if at_fault - {"too-few"} else f"{len(stopping)} of {len(report.checked)} rows"
        what = "the data" if at_fault == {"too-few"} else what
        return Text(f"not ready: {what} must be mended first", style="bold red")
    learnt = sum(row.targets for checked in report.checked for row in checked.rows)
    return Text(f"ready: every row ends with the stop token and {learnt:,} tokens are learnt", style="bold green")

"""What a person is told at the end of a run: the verdict, three answers side by side, where things lie, what to try next."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from loramill.reports import read_json

COLOURS: Final = {"better": "green", "worse": "red", "not proven": "yellow"}
SHOWN: Final = 3
"""Answers shown side by side."""
CUT: Final = 160
"""Characters of an answer that are shown."""


def print_summary(
    scores: Path, promotion: Path, places: Mapping[str, Path], following: Mapping[str, str], width: int | None = None
) -> None:
    """Print the summary of a domain's last run to the terminal.

    Args:
        scores: what ``evaluate`` left.
        promotion: what ``promote`` left.
        places: where each thing lies.
        following: commands to try next, with what they do.
        width: columns of the terminal; none asks it.
    """
    content, ruling = read_json(scores), read_json(promotion)
    console = Console(width=width)
    console.print()
    console.print(Panel(_verdict(content, ruling), title=f"[bold]{content['domain']}[/bold]", expand=False))
    console.print(_answers(content))
    console.print(_where(places))
    console.print(_next(following))


def _verdict(content: dict[str, Any], ruling: dict[str, Any]) -> Text:
    text = Text()
    for reference, verdict in content["verdicts"].items():
        text.append(f"adapter against {reference}: ")
        text.append(verdict["outcome"].upper(), style=f"bold {COLOURS[verdict['outcome']]}")
        before, after = content["loss"][reference], content["loss"]["challenger"]
        text.append(
            f"\n  loss on {verdict['rows']} held-out rows {before:.3f} → {after:.3f} nats per token, "
            f"gain {verdict['gain']:.3f} ({verdict['low']:.3f} to {verdict['high']:.3f}), p = {verdict['p_value']:.4f}"
            f"\n  so many rows can show gains from about {verdict['detectable']:.3f} on\n"
        )
    text.append("decision: ")
    text.append(ruling["decision"], style="bold")
    text.append(f" (registered as version {ruling['version']}, adapter {ruling['adapter'][:12]})")
    for line in _gates(ruling):
        text.append(f"\n  {line}")
    return text


def _gates(ruling: dict[str, Any]) -> list[str]:
    """Return a line for each gate that was asked; those of an earlier version, which left no data, in its own words."""
    if "gates" not in ruling:
        return list(ruling["reasons"])
    asked = [gate for gate in ruling["gates"] if gate["passed"] is not None]
    return [
        f"{'passed' if gate['passed'] else 'failed'}{'' if gate['measured'] else ', not measured'}: {gate['en']}"
        for gate in asked
    ]


def _answers(content: dict[str, Any]) -> Table:
    table = Table(title="held-out questions, side by side", show_lines=True)
    columns = [name for name in ("base", "champion", "challenger") if name in content["loss"]]
    table.add_column("question", overflow="fold")
    for name in [*columns, "reference"]:
        table.add_column("adapter" if name == "challenger" else name, overflow="fold")
    for row in content["answers"][:SHOWN]:
        table.add_row(_short(row["question"]), *(_short(row[name]) for name in columns), _short(row["reference"]))
    return table


def _short(text: str) -> Text:
    return Text(text if len(text) <= CUT else f"{text[:CUT]}…")


def _where(places: Mapping[str, Path]) -> Table:
    table = Table(title="where it lies", show_header=False, box=None, title_justify="left")
    for name, path in places.items():
        table.add_row(name, str(path))
    return table


def _next(following: Mapping[str, str]) -> Text:
    widest = max(map(len, following), default=0)
    lines = [f"  {command:<{widest}}   {meaning}\n" for command, meaning in following.items()]
    return Text("next, after `. .venv/bin/activate`:\n" + "".join(lines))

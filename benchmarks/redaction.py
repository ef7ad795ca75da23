"""Precision and recall of the redaction on hand-labelled snippets: ``python -m benchmarks.redaction [--part tune]``.

The snippets were written and parted before the rules were tuned; the rules were tuned on the part ``tune`` only. A value
counts as found when its span is met exactly; `covered` also counts one that was found with other edges, but wholly hidden.
"""

import json
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from loramill.config import PersonalKind
from loramill.data.redact import find_personal
from loramill.data.redact.spans import Span

SNIPPETS = Path(__file__).with_name("redaction_snippets.jsonl")
KINDS: tuple[PersonalKind, ...] = get_args(PersonalKind)


@dataclass
class Tally:
    """What was labelled and what was found, of one kind."""

    labelled: int = 0
    found: int = 0
    exact: int = 0
    covered: int = 0
    """Labelled values of which no character stays readable."""
    misses: list[str] = field(default_factory=list)


def wilson(hits: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Return the 95 % interval of a share; honest for small counts, unlike the normal one."""
    if not trials:
        return 0.0, 1.0
    share = hits / trials
    middle = share + z * z / (2 * trials)
    spread = z * (share * (1 - share) / trials + z * z / (4 * trials * trials)) ** 0.5
    bottom = 1 + z * z / trials
    return (middle - spread) / bottom, (middle + spread) / bottom


def read_snippets(part: str) -> list[dict[str, Any]]:
    """Read the labelled snippets of one part."""
    rows = [json.loads(line) for line in SNIPPETS.read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if row["part"] == part]


def tally(snippets: list[dict[str, Any]]) -> dict[str, Tally]:
    """Compare what is found with what is labelled, by kind."""
    tallies: defaultdict[str, Tally] = defaultdict(Tally)
    for snippet in snippets:
        labelled = {Span(span["start"], span["end"], span["kind"]) for span in snippet["spans"]}
        found = set(find_personal(snippet["text"], KINDS))
        hidden = {place for span in found for place in range(span.start, span.end)}
        for span in labelled:
            tallies[span.kind].labelled += 1
            tallies[span.kind].covered += hidden.issuperset(range(span.start, span.end))
        for span in found:
            tallies[span.kind].found += 1
            tallies[span.kind].exact += span in labelled
        for span in labelled ^ found:
            side = "missed" if span in labelled else "false "
            tallies[span.kind].misses.append(
                f"{side} {snippet['text'][span.start : span.end]!r} in {snippet['text']!r}"
            )
    return tallies


def total(tallies: dict[str, Tally]) -> Tally:
    """Add all kinds up."""
    every = tallies.values()
    return Tally(
        *(sum(getattr(one, name) for one in every) for name in ("labelled", "found", "exact", "covered")),
    )


def line(name: str, one: Tally) -> str:
    """Return a row of the table."""

    def share(hits: int, trials: int) -> str:
        low, high = wilson(hits, trials)
        return f"{hits / trials if trials else 0:.3f} [{low:.2f}, {high:.2f}]"

    return (
        f"| {name} | {one.labelled} | {share(one.exact, one.found)} | {share(one.exact, one.labelled)} "
        f"| {share(one.covered, one.labelled)} |"
    )


def rows_per_second(snippets: list[dict[str, Any]], seconds: float = 2.0) -> float:
    """Return how many snippets one core searches in a second of its own time."""
    begin = time.process_time()
    done = 0
    while time.process_time() - begin < seconds:
        for snippet in snippets:
            find_personal(snippet["text"], KINDS)
        done += len(snippets)
    return done / (time.process_time() - begin)


def main() -> None:
    """Print the table, with ``--part tune`` also each mistake, and as last line one JSON object."""
    part = "tune" if "tune" in sys.argv else "test"
    snippets = read_snippets(part)
    tallies = tally(snippets)
    print("| kind | labelled | precision | recall | covered |\n|---|---|---|---|---|")
    for kind in KINDS:
        print(line(kind, tallies[kind]))
    whole = total(tallies)
    print(line("all", whole))
    if part == "tune":
        print(*(miss for one in tallies.values() for miss in one.misses), sep="\n")
    figures = {
        kind: {"precision": one.exact / max(1, one.found), "recall": one.exact / max(1, one.labelled)}
        for kind, one in {**tallies, "all": whole}.items()
    }
    print(
        json.dumps({"part": part, "snippets": len(snippets), **figures, "rows_per_second": rows_per_second(snippets)})
    )


if __name__ == "__main__":
    main()

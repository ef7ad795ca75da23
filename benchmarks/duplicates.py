"""Near-duplicates: recall against brute force on real rows, and how time grows to a million rows.

``python -m benchmarks.duplicates [--quick]``; the last line printed is a JSON object. Sets of up to 20,000 rows are compared
exactly; what is measured here is the banded way, which larger sets take. ``recall`` is its worst of question level, answer
level and planted near-duplicates. Each size runs in a process of its own, so that a peak is its own.
"""

import csv
import io
import json
import math
import random
import resource
import subprocess
import sys
import time
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from loramill.config import SplitConfig
from loramill.data import alike
from loramill.data.alike import alike_groups, alike_pairs, pieces
from loramill.data.fingerprints import fingerprints, likeness

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared" / "data"
THRESHOLD = SplitConfig().near_duplicate
SIZES = (10_000, 100_000, 1_000_000)
QUICK_SIZES = (3_000, 10_000, 30_000)
ROWS = 5_000
"""Real rows of each set that are compared by brute force."""
EDITS = (0.02, 0.05, 0.08, 0.12)
"""Share of characters replaced in planted near-duplicates."""

Row = tuple[str, str]
Pair = tuple[int, int]


def law_rows() -> list[Row]:
    """Return consultations of a public legal set."""
    rows = json.loads((SHARED / "legal_lawyer_llama/legal_advice.json").read_text(encoding="utf-8"))
    return [(row[0]["instruction"], row[0]["output"]) for row in rows]


def medical_rows() -> list[Row]:
    """Return questions to doctors."""
    file = next((SHARED / "med_toyhom_sample").glob("*.csv"))
    rows = csv.DictReader(io.StringIO(file.read_bytes().decode("gb18030", errors="replace")))
    return [(row["ask"], row["answer"]) for row in rows]


def service_rows() -> list[Row]:
    """Return turns of task dialogues."""
    rows: list[Row] = []
    for file in sorted((SHARED / "cs_crosswoz").glob("*.zip")):
        with zipfile.ZipFile(file) as archive:
            dialogues = json.loads(archive.read(archive.namelist()[0]))
        for dialogue in dialogues.values():
            said = [message["content"] for message in dialogue["messages"]]
            rows += zip(said[::2], said[1::2], strict=False)
    return rows


def own_rows() -> list[Row]:
    """Return the rows that come with the project, and twelve variants of each."""
    rows: list[Row] = []
    for file in sorted((ROOT / "data").rglob("*.txt")):
        lines = [line.split("：", 1)[-1] for line in file.read_text(encoding="utf-8").splitlines() if line]
        rows += zip(lines[::2], lines[1::2], strict=False)
    for file in sorted((ROOT / "data").rglob("*.jsonl")):
        objects = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line]
        rows += [(row.get("instruction", ""), row.get("output", "")) for row in objects]
    draw = random.Random(2)
    return rows + [(edited(q, 0.1, draw), edited(a, 0.15, draw)) for _ in range(12) for q, a in rows]


def real_sets(limit: int) -> dict[str, list[Row]]:
    """Return the sets by name, at most ``limit`` rows of each, and say where they come from."""
    if not SHARED.is_dir():
        print(f"{SHARED} is not there: measured on the project's own rows and variants of them instead")
        return {"own rows": own_rows()[:limit]}
    sets = {"legal advice": law_rows(), "medical": medical_rows(), "customer service": service_rows()}
    return {name: rows[:limit] for name, rows in sets.items()}


def brute_force(texts: Sequence[str]) -> set[Pair]:
    """Return all pairs at the threshold, by counting shared pieces in plain Python."""
    sets = [pieces(text) for text in texts]
    holders: defaultdict[str, list[int]] = defaultdict(list)
    found: set[Pair] = set()
    for later, own in enumerate(sets):
        shared = Counter(earlier for piece in own for earlier in holders[piece])
        found |= {
            (earlier, later)
            for earlier, count in shared.items()
            if count / (len(own) + len(sets[earlier]) - count) >= THRESHOLD
        }
        for piece in own:
            holders[piece].append(later)
    return found


def banded(texts: Sequence[str]) -> set[Pair]:
    """Return the pairs that the banded way finds, whatever the size."""
    exact, alike.EXACT_ROWS = alike.EXACT_ROWS, 0
    try:
        return {(first, second) for first, second, _ in alike_pairs(texts, THRESHOLD)}
    finally:
        alike.EXACT_ROWS = exact


def edited(text: str, share: float, draw: random.Random) -> str:
    """Replace a share of the characters."""
    characters = list(text)
    for place in draw.sample(range(len(text)), math.ceil(share * len(text))):
        characters[place] = chr(draw.randrange(0x4E00, 0x5E00))
    return "".join(characters)


def planted(sets: dict[str, list[Row]], count: int) -> Iterator[tuple[float, list[str]]]:
    """Yield for each rate of edits some real answers, and behind them each once more, edited."""
    draw = random.Random(1)
    answers = list(dict.fromkeys(answer for rows in sets.values() for _, answer in rows if len(answer) > 10))
    for share in EDITS:
        some = draw.sample(answers, min(count, len(answers)))
        yield share, some + [edited(text, share, draw) for text in some]


def measured(name: str, texts: Sequence[str]) -> tuple[int, int, int]:
    """Print one line of the table; return true pairs, those found, and all found."""
    distinct = list({pieces(text): text for text in texts}.values())  # repetitions are found by their identity
    truth, found = brute_force(distinct), banded(distinct)
    exactly = {(first, second) for first, second, _ in alike_pairs(distinct, THRESHOLD)}
    recall = f"{len(truth & found) / len(truth):.4f}" if truth else "-     "
    same = "the same" if exactly == truth else "NOT THE SAME"
    print(f"{name:32} {len(distinct):6} rows {len(truth):6} pairs  recall {recall}  exact way: {same}", flush=True)
    return len(truth), len(truth & found), len(found)


def quality(rows: int, count: int) -> dict[str, float]:
    """Measure recall and precision on real rows and planted near-duplicates."""
    sets = real_sets(rows)
    tallies: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    for name, own in sets.items():
        tallies["question"].append(measured(f"{name}, questions", [question for question, _ in own]))
        tallies["answer"].append(measured(f"{name}, answers", [answer for _, answer in own]))
    for share, texts in planted(sets, count):
        tallies["planted"].append(measured(f"planted, {share:.0%} of characters", texts))
    sums = {level: [sum(column) for column in zip(*tally, strict=True)] for level, tally in tallies.items()}
    recalls = {level: met / max(1, truth) for level, (truth, met, _) in sums.items()}
    met, found = (sum(values[place] for values in sums.values()) for place in (1, 2))
    named = {f"recall_{level}": round(value, 5) for level, value in recalls.items()}
    return {"recall": round(min(recalls.values()), 5), **named, "precision": met / max(1, found)}


def made(size: int) -> tuple[list[str], list[Pair]]:
    """Return rows that vary real ones, and the pairs of an edited row and what it was made from.

    3% are near-duplicates, 2% repetitions, 1% boilerplate with a number.
    """
    draw = random.Random(0)
    real = [question for rows in real_sets(10**6).values() for question, _ in rows if len(question) > 10]
    texts: list[str] = []
    pairs: list[Pair] = []
    for row in range(size):
        kind, source = draw.random(), draw.randrange(row) if row else 0
        if kind < 0.03 and texts:
            texts.append(edited(texts[source], 0.05, draw))
            pairs.append((source, row))
        elif kind < 0.05 and texts:
            texts.append(texts[source])
        elif kind < 0.06:
            texts.append(f"您好，您的订单{row}已经发出，请您耐心等待，如有问题请随时联系我们的客服人员。")
        else:
            one, two = draw.choice(real), draw.choice(real)
            texts.append(one[: draw.randrange(1, len(one))][-40:] + two[draw.randrange(len(two)) :][:60])
    return texts, pairs


def timed(size: int) -> None:
    """Group ``size`` rows, and print what it took as JSON."""
    texts, pairs = made(size)
    alike.EXACT_ROWS = 0  # small sizes take the way of large ones: the growth is of one way
    before = peak_mib()
    wall, cpu = time.perf_counter(), time.process_time()
    prints = fingerprints(texts)
    groups = alike_groups(prints, THRESHOLD)
    took = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
    peak = peak_mib()
    first, second = np.array(pairs).T
    true = likeness(prints, first, second) >= THRESHOLD
    joined = float(np.mean((groups[first] == groups[second])[true]))
    content = {"rows": size, "groups": len(np.unique(groups)), **took, "rows_mib": before, "peak_mib": peak}
    print(json.dumps({**content, "joined": joined}))


def peak_mib() -> float:
    """Return the largest memory of this process until now."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def growth(sizes: Sequence[int]) -> dict[str, float]:
    """Time each size in a process of its own; fit seconds = c * rows ** exponent."""
    runs = []
    for size in sizes:
        command = [sys.executable, "-m", "benchmarks.duplicates", "--size", str(size)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        runs.append(json.loads(output.splitlines()[-1]))
        print(
            "{rows:9} rows  {cpu_seconds:7.1f} s of processor  {seconds:7.1f} s  {groups:7} groups  "
            "edited rows found {joined:.4f}  peak {peak_mib:6.0f} MiB, {rows_mib:.0f} before".format(**runs[-1]),
            flush=True,
        )
    exponent = np.polyfit(np.log([run["rows"] for run in runs]), np.log([run["cpu_seconds"] for run in runs]), 1)[0]
    return {
        "growth_exponent": round(float(exponent), 3),
        "rows_per_second": round(runs[-1]["rows"] / runs[-1]["cpu_seconds"]),
        "peak_memory_mib": round(runs[-1]["peak_mib"]),
        "recall_at_scale": round(runs[-1]["joined"], 5),
    }


def main(arguments: list[str]) -> None:
    """Measure quality, then growth."""
    if arguments[:1] == ["--size"]:
        timed(int(arguments[1]))
        return
    quick = arguments == ["--quick"]
    if arguments and not quick:
        sys.exit("usage: python -m benchmarks.duplicates [--quick]")
    print(f"pairs that share at least {THRESHOLD:.0%} of their 3-character pieces")
    found = quality(1_000 if quick else ROWS, 200 if quick else 2_000)
    print(json.dumps(found | growth(QUICK_SIZES if quick else SIZES)))


if __name__ == "__main__":
    main(sys.argv[1:])

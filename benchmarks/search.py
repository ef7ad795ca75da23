"""A whole search against Optuna with transformers' Trainer: ``python -m benchmarks.search [--quick] [--fresh]``.

Same rows, base, space, sampler seed, trial count and epochs; each in a process of its own, loading the base included. Each
search is kept as it ends, under its settings and the code: a run that was cut goes on, and one with more seeds, trial counts or
contestants measures only what is new. ``--fresh`` measures again.

The last printed line is a JSON object: ``wall_vs_sequential`` and ``wall_vs_pruned`` (our seconds for the whole budget over
theirs, medians over seeds), ``wall_to_same_loss`` (seconds until both have what the worse of both ends with), and
``loss_difference`` (our best validation loss minus that of the sequential search, mean over seeds; its standard error beside
it). The figures are those of the first of ``--trials``; ``by_trials`` has all.
"""

import argparse
import hashlib
import math
from functools import partial
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from benchmarks.contest import ROOT, WORK, law_rows, machine, middle, run, table
from benchmarks.results import MEASURED, OTHERS, Parts, leave
from loramill.config import Base, SplitConfig
from loramill.data.split import split_records
from loramill.pack.base import load_base
from loramill.records import write_records

CONTESTANTS = {
    "ours": "search_ours.py",
    "sequential": "search_trainer.py",
    "pruned": "search_trainer.py",
    "hyperparameter_search": "search_trainer.py",
}
ROWS = 200
COLUMNS = {
    "seconds": ("seconds", ".0f"),
    "best loss": ("best", ".4f"),
    "steps": ("steps", ".0f"),
    "peak MB": ("peak_mb", ",.0f"),
}
Results = dict[str, list[dict[str, Any]]]
"""What each contestant measured, by seed."""


def main() -> None:
    """Run all contestants on all seeds and trial counts, in turns, and print the result."""
    asked = _arguments()
    # A base that is made here is made once, at nobody's cost.
    base = load_base(Base(source=asked.base, device="cpu"), Base().cache)
    found: dict[str, Results] = {str(trials): {name: [] for name in asked.contestants} for trials in asked.trials}
    splits = _splits(asked.rows)
    same = {"base": base.digest, "rows": _digest(splits, "*.jsonl")}
    ours = same | {"search": _digest(ROOT / "loramill" / "search", "*.py")}
    parts = Parts("search", len(asked.trials) * asked.seeds * len(asked.contestants), fresh=asked.fresh)
    for trials, seed, name in product(asked.trials, range(asked.seeds), asked.contestants):
        spec = _specification(asked, splits, trials, name, seed)
        told = {"asked": spec, "of": ours if name == "ours" else same}
        label = f"{trials} trials, seed {seed}, {name}"
        code = MEASURED if name == "ours" else OTHERS
        last = parts.take(label, told, partial(run, CONTESTANTS[name], spec, repeat=seed), code)
        found[str(trials)][name].append(last)
        print(f"    {last['seconds']:.1f} s, best {last['best']:.4f}, {last['steps']} steps", flush=True)
    figures = {trials: summary(results) for trials, results in found.items()}
    for trials in figures:
        print(f"\n{trials} trials\n\n{shown(figures[trials]['contestants'])}")
    print()
    first = {key: value for key, value in figures[str(asked.trials[0])].items() if key != "contestants"}
    told = {
        "base": asked.base,
        "rows": asked.rows,
        "trials": asked.trials[0],
        "epochs": asked.epochs,
        "machine": machine(),
    }
    leave("search", told | first | {"by_trials": figures})


def summary(results: Results) -> dict[str, Any]:
    """Return the figures of merit; none without a search of ours."""
    ours = results.get("ours", [])
    contestants = {name: _middles(some) for name, some in results.items()}
    facts: dict[str, Any] = {"seeds": len(ours), "contestants": contestants}
    for name, theirs in results.items() if ours else ():
        if name == "ours":
            continue
        facts[f"wall_vs_{name}"] = middle(ours, "seconds") / middle(theirs, "seconds")
        pairs = list(zip(ours, theirs, strict=True))
        facts[f"wall_to_same_loss_vs_{name}"] = mean(_to_same(mine, other) for mine, other in pairs)
        gaps = [mine["best"] - other["best"] for mine, other in pairs]
        facts[f"loss_difference_vs_{name}"] = mean(gaps)
        facts[f"loss_difference_error_vs_{name}"] = stdev(gaps) / math.sqrt(len(gaps)) if len(gaps) > 1 else None
    facts["loss_difference"] = facts.get("loss_difference_vs_sequential")
    return facts


def _to_same(mine: dict[str, Any], other: dict[str, Any]) -> float:
    """Return our seconds over theirs until each has the loss that the worse of both ends with."""
    target = max(mine["best"], other["best"])
    return _when(mine, target) / _when(other, target)


def _when(result: dict[str, Any], target: float) -> float:
    return min((at for at, loss in result["ends"] if loss is not None and loss <= target + 1e-9), default=math.nan)


def _specification(asked: argparse.Namespace, splits: Path, trials: int, name: str, seed: int) -> dict[str, Any]:
    return {
        "name": f"{trials}-{name}",
        "contestant": name,
        "base": asked.base,
        "device": asked.device,
        "splits": str(splits),
        "trials": trials,
        "epochs": asked.epochs,
        "pack": asked.pack,
        "batch": 8,
        "ranks": [4, 8, 16],
        "rates": asked.rates,
        "seed": seed,
        "threads": asked.threads,
    }


def _digest(folder: Path, pattern: str) -> str:
    content = b"".join(file.read_bytes() for file in sorted(folder.glob(pattern)))
    return hashlib.sha256(content).hexdigest()[:16]


def _splits(rows: int) -> Path:
    parts = split_records(law_rows(rows), SplitConfig(validation=0.2)).parts
    folder = WORK / f"search-{rows}"
    for part in ("train", "validation"):
        write_records(folder / f"{part}.jsonl", parts[part])
    return folder


def _middles(some: list[dict[str, Any]]) -> dict[str, Any]:
    """Return medians over seeds, the mean of the best losses, and of each seed when which loss was reached."""
    middles = {key: middle(some, key) for key in ("seconds", "steps", "peak_mb")}
    best, traces = (
        mean(one["best"] for one in some),
        [[(round(at, 1), loss) for at, loss in one["ends"]] for one in some],
    )
    return {**middles, "best": best, "seeds": len(some), "traces": traces}


def shown(contestants: dict[str, dict[str, Any]]) -> str:
    """Return the contestants as a Markdown table."""
    rows = [
        [name, *(f"{one[key]:{how}}" for key, how in COLUMNS.values()), one["seeds"]]
        for name, one in contestants.items()
    ]
    return table(["search", *COLUMNS, "seeds"], rows)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rows, 4 trials, one seed: does it run?")
    parser.add_argument("--trials", type=int, nargs="+", default=[16])
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--pack", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=5, help="seeds 0 to this")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--base", default="embedded", help="one-minute, embedded, or a folder")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rates", type=float, nargs=2, default=[2e-3, 2e-2])
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS))
    parser.add_argument("--fresh", action="store_true", help="measure again what is known")
    asked = parser.parse_args()
    if asked.quick:
        asked.trials, asked.epochs, asked.seeds, asked.rows, asked.threads = [4], 2, 1, 48, 1
    asked.base = asked.base if asked.base in ("one-minute", "embedded") else str(Path(asked.base).resolve())
    assert Path.cwd() == ROOT, f"run it in {ROOT}"
    return asked


if __name__ == "__main__":
    main()

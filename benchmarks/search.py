"""A whole search against Optuna with transformers' Trainer: ``python -m benchmarks.search [--quick]``.

Same rows, base, space, sampler seed, trial count and epochs; each in a process of its own, loading the base included.
The last printed line is a JSON object: ``wall_vs_sequential`` and ``wall_vs_pruned`` (our seconds for the whole budget over
theirs, medians over seeds), ``wall_to_same_loss`` (seconds until both have what the worse of both ends with), and
``loss_difference`` (our best validation loss minus that of the sequential search, mean over seeds).
"""

import argparse
import json
import math
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.contest import ROOT, WORK, law_rows, machine, middle, run, table
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


def main() -> None:
    """Run all contestants on all seeds, in turns, and print the result."""
    asked = _arguments()
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in asked.contestants}
    splits = _splits(asked.rows)
    load_base(Base(source=asked.base, device="cpu"), Base().cache)  # the embedded base is made once, at nobody's cost
    for seed in range(asked.seeds):
        for name in asked.contestants:
            spec = _specification(asked, splits, name, seed)
            results[name].append(run(CONTESTANTS[name], spec, repeat=seed))
            last = results[name][-1]
            print(f"seed {seed} {name}: {last['seconds']:.1f} s, best {last['best']:.4f}", flush=True)
    print(_shown(results))
    print(json.dumps(summary(results) | {"trials": asked.trials, "epochs": asked.epochs, "machine": machine()}))


def summary(results: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return the figures of merit."""
    ours = results["ours"]
    facts: dict[str, Any] = {"seeds": len(ours)}
    for name, theirs in results.items():
        if name == "ours":
            continue
        facts[f"wall_vs_{name}"] = middle(ours, "seconds") / middle(theirs, "seconds")
        pairs = list(zip(ours, theirs, strict=True))
        facts[f"wall_to_same_loss_vs_{name}"] = mean(_to_same(mine, other) for mine, other in pairs)
        facts[f"loss_difference_vs_{name}"] = mean(mine["best"] - other["best"] for mine, other in pairs)
    facts["loss_difference"] = facts.get("loss_difference_vs_sequential")
    return facts


def _to_same(mine: dict[str, Any], other: dict[str, Any]) -> float:
    """Return our seconds over theirs until each has the loss that the worse of both ends with."""
    target = max(mine["best"], other["best"])
    return _when(mine, target) / _when(other, target)


def _when(result: dict[str, Any], target: float) -> float:
    return min((at for at, loss in result["ends"] if loss is not None and loss <= target + 1e-9), default=math.nan)


def _specification(asked: argparse.Namespace, splits: Path, name: str, seed: int) -> dict[str, Any]:
    return {
        "name": f"{asked.trials}-{name}",
        "contestant": name,
        "base": asked.base,
        "device": asked.device,
        "splits": str(splits),
        "trials": asked.trials,
        "epochs": asked.epochs,
        "pack": asked.pack,
        "batch": 8,
        "ranks": [4, 8, 16],
        "rates": asked.rates,
        "seed": seed,
        "threads": asked.threads,
    }


def _splits(rows: int) -> Path:
    parts = split_records(law_rows(rows), SplitConfig(validation=0.2)).parts
    folder = WORK / f"search-{rows}"
    for part in ("train", "validation"):
        write_records(folder / f"{part}.jsonl", parts[part])  # type: ignore[index]
    return folder


def _shown(results: dict[str, list[dict[str, Any]]]) -> str:
    rows = [
        [
            name,
            f"{middle(some, 'seconds'):.1f}",
            f"{mean(one['best'] for one in some):.4f}",
            f"{middle(some, 'peak_mb'):.0f}",
        ]
        for name, some in results.items()
    ]
    return table(["search", "seconds", "best loss", "peak MB"], rows)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rows, 4 trials, one seed: does it run?")
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--pack", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--base", default="embedded", help="embedded, or a folder")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rates", type=float, nargs=2, default=[2e-3, 2e-2])
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS))
    asked = parser.parse_args()
    if asked.quick:
        asked.trials, asked.epochs, asked.seeds, asked.rows, asked.threads = 4, 2, 1, 48, 1
    asked.base = asked.base if asked.base == "embedded" else str(Path(asked.base).resolve())
    assert Path.cwd() == ROOT, f"run it in {ROOT}"
    return asked


if __name__ == "__main__":
    main()

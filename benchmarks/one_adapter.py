"""One adapter: tokens per second and peak memory against HF Trainer + PEFT, TRL and LLaMA-Factory.

``python -m benchmarks.one_adapter [--rounds 3] [--steps 30] [--base small --base small-150k] [--fresh]``; the last line is
a JSON object. Every contestant trains the same adapter shape on the same rows and base for the same number of steps, in turns,
each in a process and (peers) environment of its own. Memory is the process's peak (resident on a CPU, allocated on a GPU). What
was measured is kept, so a run that was killed goes on; ``--fresh`` measures again.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.contest import PEERS, PRESETS, WORK, law_rows, machine, make_base, middle, run, table, write_rows
from benchmarks.results import STOP_TOKENS, Parts, leave

CONTESTANTS = {
    "loramill": ("ours.py", None),
    "HF Trainer + PEFT": ("hf_trainer.py", "trl"),
    "TRL SFTTrainer": ("trl_sft.py", "trl"),
    "LLaMA-Factory": ("llama_factory.py", "llamafactory"),
}
Measured = dict[str, dict[str, float]]


def specification(base: str, steps: int) -> dict[str, Any]:
    """What all contestants are told."""
    rows = law_rows(200)
    return {
        "name": base,
        "base": str(make_base(PRESETS[base])),
        "stop_token": STOP_TOKENS.get(PRESETS[base].tokenizer),
        "rows": len(rows),
        "rows_file": str(write_rows(rows, WORK / "rows")),
        "rank": 8,
        "batch": 8,
        "members": 1,
        "steps": steps,
        "warm": 5,
        "learning_rate": 1e-3,
        "tokens_per_pass": 16384,
    }


def present() -> dict[str, tuple[str, dict[str, Path]]]:
    """Return the contestants whose environment exists, each with its script and Python; name the others."""
    found: dict[str, tuple[str, dict[str, Path]]] = {}
    for name, (script, peer) in CONTESTANTS.items():
        python = PEERS / peer / "bin" / "python" if peer else None
        if python is not None and not python.is_file():
            print(f"{name}: left out, {python} does not exist (python -m benchmarks.peers makes it)")
            continue
        found[name] = (script, {"python": python} if python else {})
    return found


def contest(base: str, steps: int, rounds: int, parts: Parts) -> Measured:
    """Return each contestant's medians on one base."""
    spec = specification(base, steps)
    results: dict[str, list[dict[str, Any]]] = {}
    for repeat in range(rounds):
        for name, (script, python) in present().items():
            label = f"{base}, round {repeat + 1}, {name}"
            measured = parts.take(label, spec, partial(run, script, spec, repeat=repeat, **python))
            results.setdefault(name, []).append(measured)
    tokens = results["loramill"][0]["tokens_per_row"] * spec["batch"]
    return {
        name: {
            "tokens_per_second": tokens / (middle(many, "seconds") / middle(many, "timed_steps")),
            "peak_mib": middle(many, "peak_mib"),
        }
        for name, many in results.items()
    }


def main() -> None:
    """Run the contest on every base and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--base", action="append", choices=sorted(PRESETS))
    parser.add_argument("--fresh", action="store_true", help="measure again what is known")
    asked = parser.parse_args()
    bases = asked.base or ["small", "small-150k"]
    parts = Parts("one_adapter", len(bases) * asked.rounds * len(present()), fresh=asked.fresh)
    report: dict[str, Any] = {"machine": machine(), "bases": {}}
    for base in bases:
        report["bases"][base] = contest(base, asked.steps, asked.rounds, parts)
        print(f"\n{base}\n\n{base_table(report['bases'][base])}\n")
    leave("one_adapter", report | _against_best(report["bases"]))


def base_table(measured: Measured) -> str:
    """Return what was measured on one base as a Markdown table, the fastest first."""
    ours = measured["loramill"]
    lines = [
        [
            name,
            f"{one['tokens_per_second']:,.0f}",
            f"{ours['tokens_per_second'] / one['tokens_per_second']:.2f}",
            f"{one['peak_mib']:,.0f}",
            f"{ours['peak_mib'] / one['peak_mib']:.2f}",
        ]
        for name, one in sorted(measured.items(), key=lambda item: -item[1]["tokens_per_second"])
    ]
    return table(["", "tokens/s", "loramill's speed by its", "peak MiB", "loramill's memory by its"], lines)


def _against_best(bases: dict[str, Measured]) -> dict[str, float | None]:
    """Compare with the best peer: speed on the first base, memory on the last (the larger vocabulary)."""
    first, last = next(iter(bases.values())), list(bases.values())[-1]
    fastest = max((one["tokens_per_second"] for name, one in first.items() if name != "loramill"), default=None)
    leanest = min((one["peak_mib"] for name, one in last.items() if name != "loramill"), default=None)
    return {
        "speedup_vs_best_peer": fastest and round(first["loramill"]["tokens_per_second"] / fastest, 3),
        "memory_vs_best_peer": leanest and round(last["loramill"]["peak_mib"] / leanest, 3),
    }


if __name__ == "__main__":
    main()

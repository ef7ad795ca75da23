"""One adapter: tokens per second and peak memory against HF Trainer + PEFT, TRL and LLaMA-Factory.

``python -m benchmarks.one_adapter [--rounds 3] [--steps 30] [--base small --base small-150k]``; the last line is a JSON
object. Every contestant trains the same adapter shape on the same rows and base for the same number of steps, in turns, each
in a process and (peers) environment of its own. Memory is the process's peak (resident on a CPU, allocated on a GPU).
"""

import argparse
import json
from typing import Any

from benchmarks.contest import PEERS, PRESETS, WORK, law_rows, machine, make_base, middle, run, table, write_rows

CONTESTANTS = {
    "loramill": ("ours.py", None),
    "HF Trainer + PEFT": ("hf_trainer.py", "trl"),
    "TRL SFTTrainer": ("trl_sft.py", "trl"),
    "LLaMA-Factory": ("llama_factory.py", "llamafactory"),
}


def specification(base: str, steps: int) -> dict[str, Any]:
    """What all contestants are told."""
    rows = law_rows(200)
    return {
        "name": base,
        "base": str(make_base(PRESETS[base])),
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


def contest(base: str, steps: int, rounds: int) -> dict[str, dict[str, float]]:
    """Return each contestant's medians on one base."""
    spec = specification(base, steps)
    results: dict[str, list[dict[str, Any]]] = {}
    for repeat in range(rounds):
        for name, (script, peer) in CONTESTANTS.items():
            python = PEERS / peer / "bin" / "python" if peer else None
            if python is not None and not python.is_file():
                print(f"{name}: left out, {python} does not exist (python -m benchmarks.peers makes it)")
                continue
            result = run(script, spec, repeat=repeat, **({"python": python} if python else {}))
            results.setdefault(name, []).append(result)
            print(f"{base} round {repeat + 1} {name}: {json.dumps(result)}", flush=True)
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
    options = parser.parse_args()
    report: dict[str, Any] = {"machine": machine(), "bases": {}}
    for base in options.base or ["small", "small-150k"]:
        measured = contest(base, options.steps, options.rounds)
        report["bases"][base] = measured
        print(f"\n{base}\n")
        rows = [[n, f"{m['tokens_per_second']:,.0f}", f"{m['peak_mib']:,.0f}"] for n, m in measured.items()]
        print(table(["contestant", "tokens/s", "peak MiB"], rows) + "\n")
    print(json.dumps(report | _against_best(report["bases"])))


def _against_best(bases: dict[str, dict[str, dict[str, float]]]) -> dict[str, float | None]:
    """Compare with the best peer: speed on the first base, memory on the one with the larger vocabulary."""
    first, last = next(iter(bases.values())), list(bases.values())[-1]
    peers = {name: {k: v for k, v in base.items() if k != "loramill"} for name, base in (("f", first), ("l", last))}
    if not peers["f"]:
        return {"speedup_vs_best_peer": None, "memory_vs_best_peer": None}
    return {
        "speedup_vs_best_peer": round(
            first["loramill"]["tokens_per_second"] / max(p["tokens_per_second"] for p in peers["f"].values()), 3
        ),
        "memory_vs_best_peer": round(last["loramill"]["peak_mib"] / min(p["peak_mib"] for p in peers["l"].values()), 3),
    }


if __name__ == "__main__":
    main()

"""K adapters in one pack against K runs in sequence, K = 1, 2, 4, 8, 16.

``python -m benchmarks.packed [--base small] [--steps 12] [--rounds 3]``; the last line is a JSON object. Ranks are mixed
(4, 8, 16). A run in sequence has the base resident already: what is compared is training alone, which flatters the sequence.
"""

import argparse
import json
from typing import Any

from benchmarks.contest import PRESETS, law_rows, machine, make_base, middle, run, table


def main() -> None:
    """Run every K both ways, in turns."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--base", default="small", choices=sorted(PRESETS))
    parser.add_argument("--members", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=48)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=12)
    options = parser.parse_args()
    spec: dict[str, Any] = {
        "base": str(make_base(PRESETS[options.base])),
        "rows": len(law_rows(options.rows)),
        "rank": 8,
        "ranks": [4, 8, 16],
        "batch": options.batch,
        "steps": options.steps,
        "warm": 1,
        "learning_rate": 1e-3,
        "tokens_per_pass": 16384,
    }
    speedups: dict[int, float] = {}
    rows: list[list[object]] = []
    for members in options.members:
        ways: dict[str, list[dict[str, Any]]] = {"packed": [], "sequence": []}
        for repeat in range(options.rounds):
            for way, many in ways.items():
                asked = spec | {"name": f"{way}-{members}", "members": members, "sequence": way == "sequence"}
                many.append(run("ours.py", asked, repeat=repeat))
        packed, sequence = (middle(many, "whole_seconds") for many in ways.values())
        speedups[members] = round(sequence / packed, 3)
        rows.append([members, f"{sequence:.1f}", f"{packed:.1f}", f"{speedups[members]:.2f}", *_peaks(ways)])
        print(f"K = {members}: sequence {sequence:.1f} s, packed {packed:.1f} s, {speedups[members]:.2f}x", flush=True)
    print("\n" + table(["K", "in sequence s", "packed s", "speedup", "sequence MiB", "packed MiB"], rows) + "\n")
    named = {f"speedup_k{members}": speedup for members, speedup in speedups.items()}
    print(json.dumps({"machine": machine(), "base": options.base, **named}))


def _peaks(ways: dict[str, list[dict[str, Any]]]) -> list[str]:
    return [f"{middle(ways[way], 'peak_mib'):,.0f}" for way in ("sequence", "packed")]


if __name__ == "__main__":
    main()

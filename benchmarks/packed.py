"""K adapters in one pack against K runs in sequence, K = 1, 2, 4, 8, 16.

``python -m benchmarks.packed [--base small] [--batch 8 1] [--steps 12] [--rounds 3] [--fresh]``; the last line is a JSON
object. Its ``speedup_k8`` and ``speedup_k16`` are those of the first batch (rows of a member's step), ``batches`` has all.
Ranks are mixed (4, 8, 16). A run in sequence has the base resident already: what is compared is training alone, which flatters
the sequence. What was measured is kept, so a run that was killed goes on; ``--fresh`` measures again.
"""

import argparse
from functools import partial
from typing import Any

from benchmarks.contest import PRESETS, law_rows, machine, make_base, middle, run, table
from benchmarks.results import STOP_TOKENS, Parts, leave

WAYS = ("packed", "sequence")


def main() -> None:
    """Run every K both ways, in turns."""
    asked = _arguments()
    spec: dict[str, Any] = {
        "base": str(make_base(PRESETS[asked.base])),
        "stop_token": STOP_TOKENS.get(PRESETS[asked.base].tokenizer),
        "rows": len(law_rows(asked.rows)),
        "rank": 8,
        "ranks": [4, 8, 16],
        "steps": asked.steps,
        "warm": 1,
        "learning_rate": 1e-3,
        "tokens_per_pass": 16384,
    }
    parts = Parts("packed", len(asked.batch) * len(asked.members) * asked.rounds * len(WAYS), fresh=asked.fresh)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for batch in asked.batch:
        told = spec | {"batch": batch}
        found[str(batch)] = {str(members): _both_ways(told, members, asked.rounds, parts) for members in asked.members}
        print(f"\nbatch {batch}\n\n{members_table(found[str(batch)])}\n")
    first = found[str(asked.batch[0])]
    named = {f"speedup_k{members}": one["speedup"] for members, one in first.items()}
    leave("packed", {"machine": machine(), "base": asked.base, "batches": found, **named})


def _both_ways(spec: dict[str, Any], members: int, rounds: int, parts: Parts) -> dict[str, float]:
    ways: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for repeat in range(rounds):
        for way, many in ways.items():
            told = spec | {
                "name": f"{way}-{spec['batch']}-{members}",
                "members": members,
                "sequence": way == "sequence",
            }
            label = f"batch {spec['batch']}, K = {members}, round {repeat + 1}, {way}"
            many.append(parts.take(label, told, partial(run, "ours.py", told, repeat=repeat)))
    packed, sequence = (middle(ways[way], "whole_seconds") for way in WAYS)
    peaks = {f"{way}_peak_mib": middle(many, "peak_mib") for way, many in ways.items()}
    seconds = {"packed_seconds": round(packed, 2), "sequence_seconds": round(sequence, 2)}
    return {"speedup": round(sequence / packed, 3), **seconds, **peaks}


def members_table(found: dict[str, dict[str, float]]) -> str:
    """Return every K as a line of a Markdown table."""
    columns = {
        "in sequence s": ("sequence_seconds", ".1f"),
        "packed s": ("packed_seconds", ".1f"),
        "speedup": ("speedup", ".2f"),
        "sequence MiB": ("sequence_peak_mib", ",.0f"),
        "packed MiB": ("packed_peak_mib", ",.0f"),
    }
    there = {head: how for head, how in columns.items() if all(how[0] in one for one in found.values())}
    lines = [[members, *(format(one[key], how) for key, how in there.values())] for members, one in found.items()]
    return table(["K", *there], lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--base", default="small", choices=sorted(PRESETS))
    parser.add_argument("--members", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=48)
    parser.add_argument("--batch", type=int, nargs="+", default=[8, 1])
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--fresh", action="store_true", help="measure again what is known")
    return parser.parse_args()


if __name__ == "__main__":
    main()

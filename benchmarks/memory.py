"""The memory plan against measured peaks: three shapes, one and four members, with and without gradient checkpointing.

``python -m benchmarks.memory [--device cpu|cuda]``; the last line printed is a JSON object. Each point is a training of two
steps in a process of its own, on a base with random weights. On a CPU the peak is the process's resident memory, and glibc is
told to give freed blocks back (MALLOC_MMAP_THRESHOLD_): what it keeps otherwise depends on the order of things. Errors are of
the whole peak, as a person plans with it; ``worst_error_of_training`` leaves out what the process held before.
"""

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from benchmarks.contest import ROOT, machine, table

SHAPES: dict[str, dict[str, int]] = {
    "small": {"hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 8, "num_attention_heads": 4},
    "wide": {"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 4, "num_attention_heads": 12},
    "vocabulary": {
        "hidden_size": 384,
        "intermediate_size": 1024,
        "num_hidden_layers": 6,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "vocab_size": 60000,
    },
}
"""Bases that a CPU trains in seconds; a large vocabulary is one of them."""
ROWS, LONGEST, SHORTEST = 16, 320, 80
"""Rows of a step and their lengths in tokens, shared by the members."""


@dataclass(frozen=True)
class Point:
    """One training."""

    shape: str
    members: int
    checkpointing: bool


def measure(point: Point, device: str) -> dict[str, int]:
    """Return bytes before training, planned and measured; to be called once in a process."""
    import torch

    from loramill.pack.members import Pack
    from loramill.pack.methods import Shape
    from loramill.pack.plan import Limits, plan_training
    from loramill.prompts import Row
    from loramill.training.course import Course
    from loramill.training.loop import fit

    pack = Pack(_base(point.shape, device), Limits("on" if point.checkpointing else "off"))
    lengths = [SHORTEST + (LONGEST - SHORTEST) * number // (ROWS - 1) for number in range(ROWS)]
    rows = [Row(f"r{n}", tuple((7 * n + t) % 900 for t in range(n)), n // 3) for n in lengths]
    courses = [
        Course(f"m{k}", Shape(8, 16, 0.05, seed=k), tuple(own), (rows[0],), 1e-3, 2, len(own), seed=k)
        for k, own in enumerate(rows[k :: point.members] for k in range(point.members))
    ]
    plan = plan_training(pack.base.model, [course.load for course in courses], 10**6, pack.limits)
    before = _now(device)
    fit(pack, courses, tokens_per_pass=10**6)
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else _resident_peak()
    return {"before": before, "planned": plan.needed or 0, "measured": peak}


def _base(shape: str, device: str) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from loramill.pack.base import LoadedBase

    config: Any = LlamaConfig(**({"vocab_size": 6400, "tie_word_embeddings": True} | SHAPES[shape]))  # type: ignore[arg-type]
    model: Any = LlamaForCausalLM(config)
    model.requires_grad_(False)
    model.to(device, torch.bfloat16 if device == "cuda" else torch.float32)
    return LoadedBase(model.eval(), None, shape, "random", {})


def _now(device: str) -> int:
    import psutil
    import torch

    return torch.cuda.memory_allocated() if device == "cuda" else int(psutil.Process().memory_info().rss)


def _resident_peak() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def in_process(point: Point, device: str) -> dict[str, int]:
    """Measure a point in a process of its own."""
    facts = json.dumps([point.shape, point.members, point.checkpointing])
    command = [sys.executable, "-m", "benchmarks.memory", "--device", device, "--point", facts]
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, check=False)
    if done.returncode:
        raise RuntimeError(f"{point} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])  # type: ignore[no-any-return]


def main() -> None:
    """Measure every point and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--point", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.point:
        print(json.dumps(measure(Point(*json.loads(options.point)), options.device)))
        return
    lines: list[list[object]] = []
    errors: list[float] = []
    own: list[float] = []
    for point in [Point(s, k, c) for s in SHAPES for k in (1, 4) for c in (False, True)]:
        got = in_process(point, options.device)
        errors.append(got["planned"] / got["measured"] - 1)
        own.append((got["planned"] - got["before"]) / max(1, got["measured"] - got["before"]) - 1)
        sizes = [f"{got[key] / 2**20:,.0f}" for key in ("before", "planned", "measured")]
        way = "yes" if point.checkpointing else "no"
        lines.append([point.shape, point.members, way, *sizes, f"{errors[-1]:+.1%}", f"{own[-1]:+.1%}"])
        print(*lines[-1], flush=True)
    head = ["base", "members", "checkpointing", "before MiB", "plan MiB", "peak MiB", "error", "error of training"]
    print("\n" + table(head, lines) + "\n")
    worst = {
        "worst_error": round(max(map(abs, errors)), 4),
        "worst_error_of_training": round(max(map(abs, own)), 4),
    }
    print(json.dumps({"machine": machine(), "device": options.device, **worst}))


if __name__ == "__main__":
    main()

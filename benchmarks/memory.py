"""The memory plan against measured peaks: four bases, 1, 4 and 8 members, two sizes of pass, with and without checkpointing.

``python -m benchmarks.memory [--device cpu|cuda] [--base llama] [--heap plain] [--fresh]``; the last line printed is a JSON
object. Each point is a training of two steps in a process of its own, on a base with random weights; points that were measured
are kept. On a CPU the peak is the process's resident memory (VmHWM), and glibc is told to give freed blocks back
(MALLOC_MMAP_THRESHOLD_), so that the process holds what torch holds; ``--heap plain`` leaves glibc alone. ``error`` is of the
whole peak, as a person plans with it; ``error_of_training`` leaves out what the process held before the first step.
"""

import argparse
import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.contest import PRESETS, ROOT, machine, table
from benchmarks.contestants.measure import peak_resident
from benchmarks.results import Parts, leave

SMALL = {"hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 6, "num_attention_heads": 4}
BASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", SMALL | {"vocab_size": 6400, "tie_word_embeddings": True}),
    "qwen3": (
        "Qwen3",
        SMALL
        | {"vocab_size": 6400, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 64}
        | {"tie_word_embeddings": True},
    ),
    "llama-150k": ("Llama", SMALL | {"vocab_size": 151_936, "num_hidden_layers": 3, "tie_word_embeddings": False}),
    "qwen3-150k": (
        "Qwen3",
        {"hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 3, "num_attention_heads": 8}
        | {"vocab_size": 151_936, "num_key_value_heads": 2, "head_dim": 64, "tie_word_embeddings": True},
    ),
}
"""Bases that a CPU trains in seconds: both families, small and large vocabularies, tied and untied heads."""
ON_CUDA = {name: ("Qwen3", PRESETS[name].sizes | {"vocab_size": 151_936}) for name in ("qwen3-0.6b", "8b")}
"""Those that a card is for."""
ROWS, SHORTEST, LONGEST = 12, 80, 320
"""Rows of a step and their lengths in tokens, shared by the members: 2,400 tokens."""
MEMBERS = (1, 4, 8)
TOKENS = (1024, 16384)
"""Tokens per pass: a step of several passes, and of one."""


@dataclass(frozen=True)
class Point:
    """One training."""

    base: str
    members: int
    tokens: int
    """Tokens per pass at most."""
    checkpointing: bool

    def __str__(self) -> str:
        """Name it."""
        again = ", checkpointing" if self.checkpointing else ""
        return f"{self.base}, {self.members} members, {self.tokens:,} tokens per pass{again}"


def measure(point: Point, device: str) -> dict[str, int]:
    """Return bytes before training and at its peak; on a CPU to be called once in a process."""
    import torch

    from loramill.pack.members import Pack
    from loramill.pack.plan import Limits
    from loramill.training.loop import fit

    pack = Pack(_base(point.base, device), Limits("on" if point.checkpointing else "off"))
    courses = _courses(point.members)
    before = _now(device)
    _forget_peak(device)
    fit(pack, courses, tokens_per_pass=point.tokens)
    return {"before": before, "measured": torch.cuda.max_memory_allocated() if device == "cuda" else peak_resident()}


def planned(point: Point, device: str, before: int) -> int:
    """Return the bytes that the plan expects at the peak, where there is plenty."""
    from loramill.pack.memory import shape_of_config
    from loramill.pack.plan import Limits, Room, plan_memory

    config = _config(point.base)
    shape = shape_of_config(config.to_dict())
    assert shape is not None, point.base
    room = Room(device, 2 if device == "cuda" else 4, before, free=2**50)
    limits = Limits("on" if point.checkpointing else "off")
    plan = plan_memory(shape, [course.load for course in _courses(point.members)], room, point.tokens, limits)
    return plan.needed or 0


def _config(name: str) -> Any:
    import transformers

    family, sizes = _sizes(name)
    return getattr(transformers, f"{family}Config")(**sizes)


def _sizes(name: str) -> tuple[str, dict[str, Any]]:
    return (BASES | ON_CUDA)[name]


def _courses(members: int) -> list[Any]:
    from loramill.pack.methods import Shape
    from loramill.prompts import Row
    from loramill.training.course import Course

    lengths = [SHORTEST + (LONGEST - SHORTEST) * number // (ROWS - 1) for number in range(ROWS)]
    rows = [Row(f"r{n}", tuple((7 * n + t) % 900 for t in range(n)), n // 3) for n in lengths]
    shares = [tuple(rows[k::members]) for k in range(members)]
    return [
        Course(f"m{k}", Shape(8, 16, 0.05, seed=k), own, (rows[0],), 1e-3, 2, len(own), seed=k)
        for k, own in enumerate(shares)
    ]


def _base(name: str, device: str) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    from loramill.pack.base import LoadedBase

    with torch.device(device):
        dtype = torch.bfloat16 if device == "cuda" else torch.float32
        model: Any = AutoModelForCausalLM.from_config(_config(name), dtype=dtype)
    model.requires_grad_(False)
    return LoadedBase(model.eval(), None, name, "random", {})


def _now(device: str) -> int:
    import psutil
    import torch

    return torch.cuda.memory_allocated() if device == "cuda" else int(psutil.Process().memory_info().rss)


def _forget_peak(device: str) -> None:
    """Begin to measure: what making the base took is no part of training."""
    import torch

    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        with suppress(OSError):  # Linux only
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def in_process(point: Point, device: str) -> dict[str, int]:
    """Measure a point in a process of its own.

    Raises:
        RuntimeError: it failed; with the end of what it said.
    """
    command = [sys.executable, "-m", "benchmarks.memory", "--device", device, "--point", json.dumps(asdict(point))]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode:
        raise RuntimeError(f"{point} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])  # type: ignore[no-any-return]


def compared(point: Point, device: str, got: dict[str, int]) -> dict[str, Any]:
    """Return what was planned, and by how much it is above the measured peak, of the whole and of training alone."""
    plan, training = planned(point, device, got["before"]), max(1, got["measured"] - got["before"])
    return (
        asdict(point)
        | got
        | {
            "planned": plan,
            "error": round(plan / got["measured"] - 1, 4),
            "error_of_training": round((plan - got["before"]) / training - 1, 4),
        }
    )


def main() -> None:
    """Measure every point that is not known, and print the table."""
    asked = _arguments()
    if asked.point:
        print(json.dumps(measure(Point(**json.loads(asked.point)), asked.device)))
        return
    if asked.heap == "exact":
        os.environ["MALLOC_MMAP_THRESHOLD_"] = (
            "65536"  # for the plan here, and for the processes that it is held against
        )
    names = asked.base or list(ON_CUDA if asked.device == "cuda" else BASES)
    points = [Point(b, k, n, c) for b in names for k in MEMBERS for n in TOKENS for c in (False, True)]
    parts = Parts("memory", len(points), fresh=asked.fresh)
    found: list[dict[str, Any]] = []
    for point in points:
        settings = asdict(point) | {"device": asked.device, "heap": asked.heap, "sizes": _sizes(point.base)}
        got = parts.take(str(point), settings, lambda point=point: in_process(point, asked.device))  # type: ignore[misc]
        found.append(compared(point, asked.device, got))
    print("\n" + points_table(found) + "\n")
    worst = {f"worst_{key}": max(abs(one[key]) for one in found) for key in ("error", "error_of_training")}
    told = {"machine": machine(), "device": asked.device, "heap": asked.heap, "points": found}
    leave("memory", told | worst)


def points_table(points: list[dict[str, Any]]) -> str:
    """Return all points as a Markdown table, in MiB."""
    head = ["base", "members", "tokens per pass", "checkpointing", "before", "plan", "peak", "error", "of training"]
    lines = []
    for one in points:
        sizes = [f"{one[key] / 2**20:,.0f}" for key in ("before", "planned", "measured")]
        gaps = [_percent(one[key]) for key in ("error", "error_of_training")]
        again = "yes" if one["checkpointing"] else "no"
        lines.append([one["base"], one["members"], f"{one['tokens']:,}", again, *sizes, *gaps])
    return table(head, lines)


def summary_table(points: list[dict[str, Any]]) -> str:
    """Return the points with members as lines and ways as columns: plan, peak (MiB) and error."""
    ways = sorted({(-one["tokens"], one["checkpointing"]) for one in points})
    head = [f"{-tokens:,} tokens" + (", checkpointing" if again else "") for tokens, again in ways]
    lines: dict[tuple[str, int], dict[tuple[int, bool], str]] = {}
    for one in points:
        plan, peak = (f"{one[key] / 2**20:,.0f}" for key in ("planned", "measured"))
        cell = f"{plan} / {peak} ({_percent(one['error'])})"
        lines.setdefault((one["base"], one["members"]), {})[-one["tokens"], one["checkpointing"]] = cell
    rows = [[*line, *(cells.get(way, "") for way in ways)] for line, cells in lines.items()]
    return table(["base", "members", *head], rows)


def _percent(share: float) -> str:
    return f"{share:+.1%}".replace("%", " %")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--base", action="append", choices=[*BASES, *ON_CUDA])
    parser.add_argument("--heap", default="exact", choices=["exact", "plain"])
    parser.add_argument("--fresh", action="store_true", help="measure again what is known")
    parser.add_argument("--point", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()

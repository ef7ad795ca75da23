"""How much of the machine's measured matrix-product peak a training step uses.

``python -m benchmarks.peak [--base small] [--members 1 8] [--steps 20] [--profile] [--fresh]``; the last line is a JSON object
with ``share_of_peak``, that of the largest pack. The peak is the fastest square product that this machine did, in the
base's own precision and with as many threads, before and after the training. Work is what the mathematics asks for and nothing
twice: the frozen layers forwards and for the gradient of their input, the adapters, attention within rows (half of it: it is
causal), the head on target positions. So everything that is no product of matrices counts against the share; ``--profile`` says
what that is. What was measured is kept, so a run that was killed goes on; ``--fresh`` measures again.
"""

import argparse
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.contest import PRESETS, law_rows, machine, make_base, middle, run, table
from benchmarks.results import STOP_TOKENS, Parts, leave
from loramill.config import Base
from loramill.pack.base import LoadedBase, load_base
from loramill.prompts import Row, encode_all

RANK = 8
SIZES = (1024, 2048, 4096)


def main() -> None:
    """Measure the peak, the steps of each pack, and the peak again."""
    asked = _arguments()
    folder = make_base(PRESETS[asked.base])
    per_row = work_per_row(folder, STOP_TOKENS.get(PRESETS[asked.base].tokenizer))
    parts = Parts("peak", 1 + len(asked.members) * (asked.rounds + 1 + asked.profile), fresh=asked.fresh)
    peak = _known_peak(parts, "before")
    found: dict[str, dict[str, float]] = {}
    profiles: dict[str, dict[str, float]] = {}
    for members in asked.members:
        measured = _steps(folder, members, asked, parts)
        seconds = middle(measured, "seconds") / measured[0]["timed_steps"]
        speed = per_row * asked.batch * members / seconds
        peak = max(peak, _known_peak(parts, f"after K = {members}"))
        found[str(members)] = {"seconds_per_step": seconds, "flops": speed, "share": round(speed / peak, 3)}
        if asked.profile:
            profiles[str(members)] = _profile(folder, members, asked, parts)
    print("\n" + members_table(found) + f"\n\nThe peak: {peak / 1e9:,.0f} GFLOP/s.\n")
    named = {f"share_of_peak_k{members}": one["share"] for members, one in found.items()}
    last = list(named.values())[-1]
    if profiles:
        print(profile_table(profiles) + "\n")
    told = {"machine": machine(), "base": asked.base, "peak_flops": peak, "members": found, "profiles": profiles}
    leave("peak", told | {"share_of_peak": last, **named})


def _known_peak(parts: Parts, when: str) -> float:
    return float(parts.take(f"matrix product {when}", {"sizes": SIZES}, lambda: {"flops": matrix_peak()})["flops"])


def _steps(folder: Path, members: int, asked: argparse.Namespace, parts: Parts) -> list[dict[str, Any]]:
    spec = _specification(folder, members, asked)
    return [
        parts.take(f"K = {members}, round {repeat + 1}", spec, partial(run, "ours.py", spec, repeat=repeat))
        for repeat in range(asked.rounds)
    ]


def _profile(folder: Path, members: int, asked: argparse.Namespace, parts: Parts) -> dict[str, float]:
    spec = _specification(folder, members, asked) | {"name": f"profile-{members}", "profile": True}
    found: dict[str, float] = parts.take(f"K = {members}, profile", spec, partial(run, "ours.py", spec))["operations"]
    return found


def profile_table(profiles: dict[str, dict[str, float]]) -> str:
    """Return the shares of torch's operations as a Markdown table, those of the first K the largest first."""
    names = list(dict.fromkeys(name for shares in profiles.values() for name in shares))
    rows = [[name, *(f"{shares.get(name, 0):.1%}" for shares in profiles.values())] for name in names]
    return table(["operation", *(f"K = {members}" for members in profiles)], rows)


def members_table(found: dict[str, dict[str, float]]) -> str:
    """Return every K as a line of a Markdown table."""
    columns = {
        "ms per step": ("seconds_per_step", 1e3, ",.0f"),
        "GFLOP/s": ("flops", 1e-9, ",.0f"),
        "share of the peak": ("share", 1.0, ".2f"),
    }
    there = {head: how for head, how in columns.items() if all(how[0] in one for one in found.values())}
    lines = [
        [members, *(format(one[key] * times, how) for key, times, how in there.values())]
        for members, one in found.items()
    ]
    return table(["K", *there], lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--base", default="small", choices=sorted(PRESETS))
    parser.add_argument("--members", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--profile", action="store_true", help="say what the time goes into, too")
    parser.add_argument("--fresh", action="store_true", help="measure again what is known")
    return parser.parse_args()


def matrix_peak() -> float:
    """Return the most floating-point operations per second that a square product was seen to do here."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    return max(_product_speed(size, device, dtype) for size in SIZES)


def _product_speed(size: int, device: str, dtype: torch.dtype, repeats: int = 6) -> float:
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(repeats):
        _settle(device)
        began = time.perf_counter()
        left @ right
        _settle(device)
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best


def _settle(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def work_per_row(folder: Path, stop_token: str | None) -> float:
    """Return the floating-point operations that one training row asks for, on average."""
    base = load_base(Base(source=str(folder), device="cpu", stop_token=stop_token), folder)
    rows = encode_all(base.tokenizer, law_rows(200), base.template, 2048)
    return sum(_work(row, *_sizes(base)) for row in rows) / len(rows)


def _sizes(base: LoadedBase) -> tuple[int, int, int, int, int]:
    """Return weights of: frozen layers, those of them that read embeddings, adapter, head; and attention's width."""
    model: Any = base.model
    layers = [(name, layer) for name, layer in model.base_model.named_modules() if isinstance(layer, torch.nn.Linear)]
    first = [
        layer for name, layer in layers if name.startswith("layers.0.") and name[-6:] in ("q_proj", "k_proj", "v_proj")
    ]
    count = model.config.num_hidden_layers
    heads = model.config.num_attention_heads
    width = count * heads * (getattr(model.config, "head_dim", None) or model.config.hidden_size // heads)
    adapter = sum(RANK * (layer.in_features + layer.out_features) for _, layer in layers)
    head = model.get_output_embeddings().weight.numel()
    return _count([layer for _, layer in layers]), _count(first), adapter, head, width


def _count(layers: Sequence[torch.nn.Linear]) -> int:
    return sum(layer.weight.numel() for layer in layers)


def _work(row: Row, frozen: int, first: int, adapter: int, head: int, width: int) -> float:
    """A product costs 2 operations per weight and token, forwards as well as for each gradient that is asked for."""
    tokens, targets = len(row.ids), row.targets
    layers = 2 * tokens * (2 * frozen - first + 3 * adapter)
    attention = 3 * 2 * tokens**2 * width  # two products forwards, four backwards, half of each
    return layers + attention + 2 * 2 * targets * head


def _specification(folder: Path, members: int, asked: argparse.Namespace) -> dict[str, Any]:
    return {
        "name": f"peak-{members}",
        "base": str(folder),
        "stop_token": STOP_TOKENS.get(PRESETS[asked.base].tokenizer),
        "rows": len(law_rows(200)),
        "rank": RANK,
        "batch": asked.batch,
        "members": members,
        "steps": asked.steps,
        "warm": 2,
        "learning_rate": 1e-3,
        "tokens_per_pass": 16384,
    }


if __name__ == "__main__":
    main()

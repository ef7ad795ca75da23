"""How much of the machine's measured matrix-product peak a training step uses.

``python -m benchmarks.peak [--base small] [--members 1 8] [--steps 20]``; the last line is a JSON object with
``share_of_peak``, that of the largest pack. The peak is the fastest square product that this machine was seen to do, in the
base's own precision and with as many threads, before and after the training. Work is what the mathematics asks for and nothing
twice: the frozen layers forwards and for the gradient of their input, the adapters, attention within rows (half of it: it is
causal), the head on target positions. So everything that is no product of matrices counts against the share.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.contest import PRESETS, law_rows, machine, make_base, middle, run, table
from loramill.config import Base
from loramill.pack.base import LoadedBase, load_base
from loramill.prompts import Row, encode_all

RANK = 8
SIZES = (1024, 2048, 4096)


def main() -> None:
    """Measure the peak, the steps of each pack, and the peak again."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--base", default="small", choices=sorted(PRESETS))
    parser.add_argument("--members", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=8)
    asked = parser.parse_args()
    folder = make_base(PRESETS[asked.base])
    per_row = work_per_row(folder)
    peak = matrix_peak()
    shares: dict[int, float] = {}
    rows: list[list[object]] = []
    for members in asked.members:
        spec = _specification(folder, members, asked)
        measured = [run("ours.py", spec, repeat=repeat) for repeat in range(asked.rounds)]
        seconds = middle(measured, "seconds") / measured[0]["timed_steps"]
        speed = per_row * asked.batch * members / seconds
        peak = max(peak, matrix_peak())
        shares[members] = round(speed / peak, 3)
        rows.append(
            [members, f"{seconds * 1000:.0f}", f"{speed / 1e9:.0f}", f"{peak / 1e9:.0f}", f"{shares[members]:.2f}"]
        )
    print("\n" + table(["K", "ms per step", "GFLOP/s", "peak GFLOP/s", "share"], rows) + "\n")
    named = {f"share_of_peak_k{members}": share for members, share in shares.items()}
    last = shares[asked.members[-1]]
    print(json.dumps({"machine": machine(), "base": asked.base, "share_of_peak": last, **named}))


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


def work_per_row(folder: Path) -> float:
    """Return the floating-point operations that one training row asks for, on average."""
    base = load_base(Base(source=str(folder), device="cpu"), folder)
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

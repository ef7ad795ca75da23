"""What the speed benchmarks share: bases with random weights, real rows, and contestants in processes of their own.

A contestant is a script that takes a specification (JSON file) and prints one JSON object as its last line: seconds of the
timed steps, peak memory, first and last training loss. All get the same base folder, rows, order of magnitude of work (rows per
step, steps, rank, target modules) and no dropout. Tokens are counted once, by us, for all.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from loramill.config import ValidationConfig
from loramill.data.read import read_folder
from loramill.records import Record

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared" / "data"
WORK = ROOT / "artifacts" / "benchmarks"
PEERS = ROOT / "artifacts" / "peers"
"""One virtual environment per peer: trl/, llamafactory/; `python -m benchmarks.peers` makes them."""


@dataclass(frozen=True)
class Preset:
    """A base with random weights: shapes are what speed depends on."""

    name: str
    tokenizer: str
    """Folder in the shared data with a real tokenizer and chat template."""
    architecture: str
    sizes: dict[str, Any]


LLAMA_SMALL = {
    "hidden_size": 256,
    "intermediate_size": 704,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "tie_word_embeddings": True,
}
PRESETS = {
    "small": Preset("small", "tok_minimind_v3", "llama", LLAMA_SMALL),
    "small-150k": Preset("small-150k", "tok_qwen3_0.6b", "llama", LLAMA_SMALL),
    "qwen3-0.6b": Preset(
        "qwen3-0.6b",
        "tok_qwen3_0.6b",
        "qwen3",
        {
            "hidden_size": 1024,
            "intermediate_size": 3072,
            "num_hidden_layers": 28,
            "num_attention_heads": 16,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "tie_word_embeddings": True,
        },
    ),
    "8b": Preset(
        "8b",
        "tok_qwen3_0.6b",
        "qwen3",
        {
            "hidden_size": 4096,
            "intermediate_size": 12288,
            "num_hidden_layers": 36,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "tie_word_embeddings": False,
        },
    ),
}


def make_base(preset: Preset) -> Path:
    """Return the folder of a base with random weights; it is made once."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    folder = WORK / "bases" / preset.name
    if (folder / "config.json").is_file():
        return folder
    tokenizer = AutoTokenizer.from_pretrained(SHARED / preset.tokenizer)
    vocabulary = len(tokenizer)
    config = AutoConfig.for_model(
        preset.architecture, vocab_size=vocabulary, max_position_embeddings=2048, **preset.sizes
    )
    config.eos_token_id = tokenizer.eos_token_id
    torch.manual_seed(0)
    on_gpu = torch.cuda.is_available()
    with torch.device("cuda" if on_gpu else "cpu"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16 if on_gpu else torch.float32)
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    model.save_pretrained(unfinished)
    tokenizer.save_pretrained(unfinished)
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)
    return folder


def law_rows(count: int = 200) -> list[Record]:
    """Return the first rows of the law domain."""
    rows = [row for row in read_folder(ROOT / "data" / "law", ValidationConfig()) if isinstance(row, Record)]
    return rows[:count]


def write_rows(records: Sequence[Record], folder: Path) -> Path:
    """Write rows as alpaca JSON with what LLaMA-Factory needs beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"instruction": row.question, "input": "", "output": row.answer} for row in records]
    (folder / "rows.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    (folder / "dataset_info.json").write_text(json.dumps({"rows": {"file_name": "rows.json"}}), encoding="utf-8")
    return folder / "rows.json"


def run(
    script: str, specification: dict[str, Any], python: Path | str = sys.executable, repeat: int = 0
) -> dict[str, Any]:
    """Run a contestant in a process of its own and return what it measured.

    Raises:
        RuntimeError: it failed; with the end of what it said.
    """
    file = WORK / f"{Path(script).stem}-{specification['name']}-{repeat}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(specification), encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TOKENIZERS_PARALLELISM": "false", "DO_NOT_TRACK": "1"}
    environment |= {"HF_HUB_OFFLINE": "1", "WANDB_DISABLED": "true"}
    command = [str(python), str(ROOT / "benchmarks" / "contestants" / script), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise RuntimeError(f"{script} failed:\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])  # type: ignore[no-any-return]


def machine() -> dict[str, Any]:
    """Name the machine that a result belongs to."""
    import torch

    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    names = [line.split(":")[1].strip() for line in _cpu_lines() if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "gpu": gpu,
        "torch": torch.__version__,
    }


def middle(results: Sequence[dict[str, Any]], key: str) -> float:
    """Return the median of one figure over repeats."""
    return median(float(result[key]) for result in results)


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []

"""The flat YAML of earlier LoRA tools: read unchanged, every key explained, unknown keys refused.

One table says what each key became. The translation leaves a domain file below ``artifacts/flat-<name>/`` and nothing in
``conf/``; so a file called law.yaml never touches what belongs to the domain law.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from loramill.config import read_yaml
from loramill.errors import ConfigError
from loramill.reports import write_text

Change = tuple[str, Any]
"""A dotted place in our configuration, and its value."""


@dataclass(frozen=True)
class Translated:
    """What a flat file became."""

    plan: Path
    """A domain file that `load_plan` reads."""
    data: Path
    """The folder with the rows."""
    output: Path | None
    """Where the user wants the adapter."""
    said: tuple[str, ...]
    """One line for each key: what it became."""

    def deliver(self) -> Path:
        """Copy the trained adapter to where the user wants it; return its place."""
        adapter = self.plan.parent / "adapter"
        if self.output is None:
            return adapter
        shutil.copytree(adapter, self.output, dirs_exist_ok=True)
        return self.output


def translate(path: Path, artifacts: Path) -> Translated:
    """Turn a flat file into a domain file.

    Raises:
        ConfigError: an unknown key, a path that does not exist, or a value that cannot be used; all at once.
    """
    content = read_yaml(path)
    unknown = sorted(set(content) - set(KEYS), key=str)
    problems = [f"{key}: unknown key; known are {', '.join(KEYS)}" for key in unknown]
    changes: list[Change] = []
    said: list[str] = []
    for key, value in content.items():
        if key in unknown or value is None:
            continue
        try:
            made, words = KEYS[key](value, content)
        except (ValueError, TypeError, ArithmeticError) as error:
            problems.append(f"{key}: {error}")
            continue
        changes += made
        said.append(f"{key}: {value} → {words}")
    problems += [f"{key}: missing" for key in ("train_data_dir", "base_model") if not content.get(key)]
    if problems:
        raise ConfigError(f"{path}: {len(problems)} wrong\n" + "\n".join(f"  {problem}" for problem in problems))
    name = f"flat-{path.stem}"
    plan = artifacts / name / f"{name}.yaml"
    nested = _nested([("search.trials", 0), *changes])
    write_text(plan, f"# translated from {path}\n{yaml.safe_dump(nested, allow_unicode=True, sort_keys=False)}")
    output = Path(str(content["output_dir"])) if content.get("output_dir") else None
    return Translated(plan, Path(str(content["train_data_dir"])), output, tuple(said))


def _to(place: str, kind: Callable[[Any], Any]) -> Callable[[Any, Mapping[str, Any]], tuple[list[Change], str]]:
    """Return a translation of one value to one place."""

    def translated(value: Any, _: Mapping[str, Any]) -> tuple[list[Change], str]:
        return [(place, kind(value))], place

    return translated


def _folder(value: Any, _: Mapping[str, Any]) -> tuple[list[Change], str]:
    if not Path(str(value)).is_dir():
        raise ValueError(f"folder {value!r} does not exist; the paths in the file must")
    return [], "the folder that rows are read from"


def _captions(value: Any, content: Mapping[str, Any]) -> tuple[list[Change], str]:
    path = Path(str(value))
    if not path.is_file():
        raise ValueError(f"file {value!r} does not exist; leave the key empty if there is none")
    if path.resolve() != (Path(str(content.get("train_data_dir"))) / "metadata.csv").resolve():
        raise ValueError(f"{value!r} must be metadata.csv inside train_data_dir ({content.get('train_data_dir')!r})")
    return [], "honoured: its rows, and the files that it names, are read"


def _base(value: Any, _: Mapping[str, Any]) -> tuple[list[Change], str]:
    path = Path(str(value))
    if path.is_file() or path.suffix in {".safetensors", ".bin", ".gguf"}:
        raise ValueError(
            f"{value!r} is a single file; a base is a transformers folder (config.json, tokenizer, *.safetensors), a name in "
            "conf/bases/, or a hub id. Quantised single files cannot be trained here: take the folder of the unquantised model"
        )
    return [("base.source", str(value))], "base.source"


def _task(value: Any, _: Mapping[str, Any]) -> tuple[list[Change], str]:
    if value != "text-generation":
        raise ValueError(f"only text-generation is known, got {value!r}")
    return [], "what loramill does"


def _rank(value: Any, content: Mapping[str, Any]) -> tuple[list[Change], str]:
    rank = int(value)
    if rank < 1:
        raise ValueError(f"a rank must be a positive whole number, got {value!r}")
    alpha = float(content.get("lora_alpha") or 2 * rank)
    return [("search.fixed.rank", rank), ("search.fixed.alpha_ratio", alpha / rank)], "search.fixed.rank"


def _alpha(value: Any, content: Mapping[str, Any]) -> tuple[list[Change], str]:
    rank = int(content.get("lora_rank") or 8)
    return [("search.fixed.alpha_ratio", float(value) / rank)], f"search.fixed.alpha_ratio ({value} / rank {rank})"


def _modules(value: Any, _: Mapping[str, Any]) -> tuple[list[Change], str]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValueError(f"a list of names is needed, as in [q_proj, v_proj], got {value!r}")
    return [("learning.target_modules", value)], "learning.target_modules"


def _half(value: Any, _: Mapping[str, Any]) -> tuple[list[Change], str]:
    if not isinstance(value, bool):
        raise ValueError(f"true or false, got {value!r}")
    return (
        [],
        "base dtype auto: bfloat16 on a GPU (steadier than fp16), float32 on a CPU" if value else "base dtype auto",
    )


def _device(value: Any, _: Mapping[str, Any]) -> tuple[list[Change], str]:
    if value not in ("auto", "cpu", "cuda", "mps"):
        raise ValueError(f"one of auto, cpu, cuda, mps, got {value!r}")
    return [("base.device", value)], "base.device"


def _resume(value: Any, _: Mapping[str, Any]) -> tuple[list[Change], str]:
    if not Path(str(value)).is_dir():
        raise ValueError(
            f"folder {value!r} does not exist. A training that was stopped continues by itself here: "
            "leave the key empty for that"
        )
    return [("train.start_from", str(value))], "train.start_from: training starts from this adapter"


def _anywhere(value: Any, _: Mapping[str, Any]) -> tuple[list[Change], str]:
    return [], f"the adapter is copied to {value} at the end"


KEYS: Mapping[str, Callable[[Any, Mapping[str, Any]], tuple[list[Change], str]]] = {
    "train_data_dir": _folder,
    "metadata_path": _captions,
    "base_model": _base,
    "task_type": _task,
    "output_dir": _anywhere,
    "lora_rank": _rank,
    "lora_alpha": _alpha,
    "lora_dropout": _to("learning.dropout", float),
    "target_modules": _modules,
    "batch_size": _to("learning.batch", int),
    "epochs": _to("train.epochs", int),
    "learning_rate": _to("search.fixed.learning_rate", float),
    "max_seq_length": _to("learning.max_tokens", int),
    "fp16": _half,
    "device": _device,
    "save_steps": _to("train.save_steps", int),
    "resume_from_checkpoint": _resume,
}
"""Every key of the flat format, in its usual order, with its translation."""


def _nested(changes: list[Change]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for place, value in changes:
        *path, last = place.split(".")
        inner = nested
        for part in path:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return nested

"""A step in several processes, one per card: ``accelerate launch`` starts them, the first one runs the step.

The others train what it trains and do nothing else: files, diary, search and pictures are the main process's alone.
"""

import functools
import inspect
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, ParamSpec

import yaml

from loramill.config import Base, Plan, Section
from loramill.errors import BaseModelError, TrainingError
from loramill.reports import write_text
from loramill.tracking import diary

P = ParamSpec("P")
RUN: Final = "LORAMILL_RUN"
"""Environment variable: the diary's run that the started step writes into."""


def in_processes(step: Callable[P, Path]) -> Callable[P, Path]:
    """Let a step start itself in as many processes as its base asks for."""

    @functools.wraps(step)
    def run(*args: P.args, **kwargs: P.kwargs) -> Path:
        arguments = inspect.signature(step).bind(*args, **kwargs).arguments
        base = arguments["base"]
        if base.processes == 1 or _is_started():
            return step(*args, **kwargs)
        _launch(step.__name__, base, arguments)
        return Path(arguments["out"])

    return run


def run_together(step: Callable[[], None], plan: Callable[[], Plan]) -> None:
    """Run ``step`` in the main process while the others follow; alone, just run it."""
    if not _is_started():
        step()
        return
    from loramill.training.processes import dismiss, join, leave, rank

    base = plan().base
    join(on_cpu=base.device == "cpu")
    if rank() == 0:
        step()
        dismiss()
    else:
        _follow(base)
    leave()


def _follow(base: Base) -> None:
    from loramill.pack.base import load_base
    from loramill.pack.members import Pack
    from loramill.training.loop import follow

    follow(lambda: Pack(load_base(base, base.cache)))


def _is_started() -> bool:
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def _launch(step: str, base: Base, arguments: Mapping[str, Any]) -> None:
    """Run a step through ``accelerate launch`` with exactly these sections and paths.

    Raises:
        BaseModelError: there are fewer cards than processes.
        TrainingError: one of the processes ended with an error.
    """
    _check_cards(base)
    plan = arguments["out"].parent / "work" / f"{diary().domain or 'plan'}.yaml"
    write_text(plan, yaml.safe_dump(_sections(arguments), allow_unicode=True))
    paths = [f"{name}={value}" for name, value in arguments.items() if isinstance(value, Path)]
    kind = "--use_fsdp" if base.split else "--multi_gpu"
    command = [sys.executable, "-m", "accelerate.commands.launch", kind, "--num_processes", str(base.processes)]
    command += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    environment = os.environ | ({RUN: diary().run_id} if diary().run_id else {})
    with subprocess.Popen([*command, "-m", f"tasks.{step}", str(plan), *paths], env=environment) as process:  # noqa: S603
        code = process.wait()
    if code:
        raise TrainingError(
            f"{step} ended in one of its {base.processes} processes; what it said stands above. "
            "The same command continues from the last checkpoint"
        )


def _sections(arguments: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.annotation: name for name, field in Plan.model_fields.items()}
    sections = [value for value in arguments.values() if isinstance(value, Section)]
    return {names[type(section)]: section.model_dump(mode="json", exclude_none=True) for section in sections}


def _check_cards(base: Base) -> None:
    import torch

    from loramill.pack.base import find_device

    device = find_device(base.device)
    if device.type == "cuda" and torch.cuda.device_count() < base.processes:
        raise BaseModelError(
            f"base.processes is {base.processes}, this machine has {torch.cuda.device_count()} cards; "
            f"write processes: {torch.cuda.device_count()}"
        )

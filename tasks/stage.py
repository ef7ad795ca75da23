"""Run a task as a DVC stage: ``python -m tasks.<step> conf/<domain>.yaml name=path ...``.

Parameters of the task that are a section of ``conf/`` are taken from the plan by their type, paths from the command line.
"""

import os
import sys
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import BaseModel

from loramill.config import Plan, load_plan
from loramill.errors import ConfigError, LoramillError
from loramill.privacy import spin_if_alone, switch_off_telemetry
from loramill.reports import disk_full_explained
from tasks.interrupt import keep_ctrl_c
from tasks.together import RUN, run_together


def run_as_stage(task: Any) -> None:
    """Call the plain function of a Prefect task with what the command line says, and leave with a status for the shell."""
    switch_off_telemetry()
    spin_if_alone()
    keep_ctrl_c()
    try:
        config, *pairs = sys.argv[1:]
        with disk_full_explained(Path("artifacts")):
            paths = dict(pair.split("=", 1) for pair in pairs)
            run_together(lambda: _call(task, Path(config), paths), lambda: load_plan(Path(config), Path("conf")))
    except LoramillError as error:
        sys.exit(f"{task.name}: {error}")
    except KeyboardInterrupt:
        sys.exit(f"\n{task.name}: stopped. The same command continues where it was.")
    except ValueError as error:
        sys.exit(f"usage: python -m tasks.{task.name} conf/<domain>.yaml name=path ... ({error})")


def _call(task: Any, config: Path, paths: dict[str, str]) -> None:
    from loramill.tracking import continue_diary, open_diary

    domain, plan = config.stem, load_plan(config, Path("conf"))
    arguments = sections(task.fn, plan) | {name: Path(value) for name, value in paths.items()}
    if missing := set(get_type_hints(task.fn)) - set(arguments) - {"return"}:
        raise ConfigError(f"step {task.name} also needs {', '.join(f'{name}=path' for name in sorted(missing))}")
    opened = os.environ.get(RUN)
    with continue_diary(domain, opened) if opened else open_diary(domain, f"{task.name} by dvc", {"step": task.name}):
        task.fn(**arguments)


def sections(function: Any, plan: Plan) -> dict[str, Any]:
    """Return the sections of the plan that a function asks for, by parameter name."""
    by_type = {type(value): value for _, value in plan}
    hints = {name: hint for name, hint in get_type_hints(function).items() if name != "return"}
    return {
        name: by_type[hint] for name, hint in hints.items() if isinstance(hint, type) and issubclass(hint, BaseModel)
    }

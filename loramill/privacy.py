"""The environment that our processes run in: nothing reports to anybody, and two trainings share a machine in peace."""

import getpass
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from filelock import FileLock

SWITCHES: Final = {
    "DO_NOT_TRACK": "true",
    "DVC_NO_ANALYTICS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}
SPIN: Final = "GOMP_SPINCOUNT"
"""How long OpenMP's idle threads wait awake for work. libgomp reads it when torch is imported."""
BRIEFLY, LONG = "2000", "300001"
"""Two trainings whose threads wait long on the same cores are fifty times slower than one; one alone is a third faster."""


def switch_off_telemetry() -> None:
    """Set each switch in this process's environment, for it and its children, before the libraries are imported."""
    os.environ.update(SWITCHES)
    if os.environ.get(SPIN, LONG) == LONG:  # not a person's choice
        os.environ[SPIN] = BRIEFLY


def spin_if_alone() -> None:
    """Let the one process of this user that asks first wait awake until it ends; call it before torch is imported."""
    if os.environ.get(SPIN) == BRIEFLY and _has_the_cores():
        os.environ[SPIN] = LONG


@cache
def _has_the_cores() -> "FileLock | None":
    """Return a lock that this process keeps as long as it lives, none if another has it."""
    from filelock import FileLock, Timeout

    lock = FileLock(Path(tempfile.gettempdir()) / f"loramill-cores-{getpass.getuser()}.lock")
    try:
        lock.acquire(blocking=False)
    except (Timeout, OSError):
        return None
    return lock

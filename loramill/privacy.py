"""The environment that our processes run in: nothing reports to anybody, and two trainings share a machine in peace."""

import os
from typing import Final

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


THREADS: Final = {"GOMP_SPINCOUNT": "2000"}
"""Idle threads sleep soon: two trainings that spin for each other on the same cores are fifty times slower than one."""


def switch_off_telemetry() -> None:
    """Set each switch in this process's environment, for it and its children, before the libraries are imported."""
    os.environ.update(SWITCHES)
    for key, value in THREADS.items():
        os.environ.setdefault(key, value)

"""What is tried again by itself: only what can succeed the next time, because nothing about the rows was wrong."""

from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from loramill.errors import BusyError, LoramillError, TrackingError
from tasks.progress import say

if TYPE_CHECKING:
    from prefect import Task
    from prefect.client.schemas.objects import State, TaskRun

P = ParamSpec("P")
R = TypeVar("R")
DELAYS_SECONDS: Final = (5.0, 30.0, 120.0)
"""Pauses before each further try: a server that restarts is back within them."""


def patient(task: "Task[P, R]") -> "Task[P, R]":
    """Return the task, tried again after what passes by itself; every step continues where it was."""
    return task.with_options(
        retries=len(DELAYS_SECONDS), retry_delay_seconds=list(DELAYS_SECONDS), retry_condition_fn=_is_worth_it
    )


def passes(error: BaseException) -> bool:
    """Tell whether an error may be gone the next time.

    Bad rows, wrong settings, too little memory and a full disk stay what they are until a person acts. A registry that does
    not answer, a locked database, a connection that broke may be gone in a minute.
    """
    if isinstance(error, LoramillError):
        return isinstance(error, TrackingError | BusyError)
    return isinstance(error, ConnectionError | TimeoutError) or "database is locked" in str(error)


def _is_worth_it(task: "Task[..., Any]", run: "TaskRun", state: "State[Any]") -> bool:
    error = state.data
    if not isinstance(error, BaseException) or not passes(error):
        return False
    if run.run_count <= len(DELAYS_SECONDS):
        say(task.name, f"{error}. It is tried again in {DELAYS_SECONDS[run.run_count - 1]:.0f} s")
    return True

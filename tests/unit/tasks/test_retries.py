import pytest
from prefect import task

from loramill.errors import (
    AdapterError,
    BaseModelError,
    BusyError,
    ConfigError,
    DataError,
    DiskFullError,
    TrackingError,
    TrainingError,
)
from tasks.retries import DELAYS_SECONDS, passes, patient


@pytest.mark.parametrize(
    "error",
    [
        TrackingError("MLflow is away"),
        BusyError("dvc is at work"),
        ConnectionResetError("gone"),
        TimeoutError("slow"),
        RuntimeError("(sqlite3.OperationalError) database is locked"),
    ],
)
def test_what_may_be_gone_in_a_minute_is_tried_again(error: Exception) -> None:
    assert passes(error)


@pytest.mark.parametrize(
    "error",
    [
        DataError("a row that says: database is locked"),
        ConfigError("unknown key"),
        AdapterError("changed"),
        BaseModelError("no such base"),
        TrainingError("not finite"),
        DiskFullError(28, "no room"),
        KeyError("a bug"),
    ],
)
def test_what_a_person_has_to_mend_is_not(error: Exception) -> None:
    assert not passes(error)


def test_a_patient_task_is_the_same_task_with_pauses() -> None:
    @task(name="step")
    def step() -> int:
        return 1

    waiting = patient(step)
    assert (waiting.name, waiting.fn()) == ("step", 1)
    assert waiting.retries == len(DELAYS_SECONDS)
    assert step.retries == 0

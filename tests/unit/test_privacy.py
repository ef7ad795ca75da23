"""The environment of our processes."""

import os
from pathlib import Path

import pytest
from filelock import FileLock

from loramill import privacy
from loramill.privacy import BRIEFLY, LONG, SPIN, spin_if_alone, switch_off_telemetry


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    monkeypatch.setenv(SPIN, BRIEFLY)
    privacy._has_the_cores.cache_clear()


def test_only_the_first_process_waits_awake(tmp_path: Path) -> None:
    spin_if_alone()
    assert os.environ[SPIN] == LONG
    (held,) = tmp_path.glob("loramill-cores-*.lock")
    privacy._has_the_cores.cache_clear()  # the lock is free again, as when the process ends
    switch_off_telemetry()
    assert os.environ[SPIN] == BRIEFLY, "a child must not inherit what its parent holds"
    with FileLock(held):
        spin_if_alone()
        assert os.environ[SPIN] == BRIEFLY


def test_what_a_person_chose_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SPIN, "7")
    switch_off_telemetry()
    spin_if_alone()
    assert os.environ[SPIN] == "7"

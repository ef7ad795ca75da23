import subprocess
import sys
from pathlib import Path

import pytest

from flows.locks import RUNS, at_work, bury, dead_runs, domain_lock
from loramill.errors import BusyError


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


HOLD = """
import sys, time
from flows.locks import at_work, domain_lock
with at_work("killed"), domain_lock("law"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_run_of_a_domain_is_told_who_is_first_and_a_kill_frees_it(root: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD], env={"PYTHONPATH": str(root)}, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with (
            pytest.raises(BusyError, match=rf"law: process {process.pid}, since .* is at work on it; nothing was done"),
            domain_lock("law"),
        ):
            pass
        with domain_lock("customer-service"):  # the other domain is free
            pass
        assert dead_runs() == []
    finally:
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]
    with domain_lock("law"):
        pass
    assert dead_runs() == ["killed"]
    bury("killed")
    assert dead_runs() == []


@pytest.mark.parametrize(("error", "left"), [(None, []), (ValueError, []), (KeyboardInterrupt, ["run"])])
def test_only_a_run_that_was_stopped_leaves_its_mark(error: type[BaseException] | None, left: list[str]) -> None:
    def work() -> None:
        with at_work("run"):
            assert (RUNS / "run.lock").exists()
            if error:
                raise error

    if error:
        with pytest.raises(error):
            work()
    else:
        work()
    assert dead_runs() == left


def test_outside_of_prefect_nothing_is_marked() -> None:
    with at_work(""):
        assert not RUNS.exists()

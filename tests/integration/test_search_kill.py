"""The search step killed with -9 three times, at random moments: it ends as one that was left alone."""

import random
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from loramill.reports import read_json
from tests.integration.steps import project, run, start

__all__ = ["project"]


def trials_begun(study: Path) -> int:
    """How many trials the record holds; the study may not be there yet."""
    if not study.is_file():
        return 0
    connection = sqlite3.connect(f"file:{study}?mode=ro", uri=True, timeout=10)
    try:
        return int(connection.execute("select count(*) from trials").fetchone()[0])
    except sqlite3.OperationalError:
        return 0
    finally:
        connection.close()


@pytest.mark.timeout(600)
def test_a_search_killed_three_times_ends_as_one_left_alone(project: Path, root: Path) -> None:
    run(project, root, "search", "whole/settings.yaml")
    study = project / "killed/work/search/study.db"
    draw = random.Random(5)
    for kill in range(3):
        process = start(project, root, "search", "killed/settings.yaml")
        deadline = time.monotonic() + 100
        while trials_begun(study) <= kill:
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(draw.uniform(0, 0.4))
        assert process.poll() is None, "it ended before it could be killed"
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    run(project, root, "search", "killed/settings.yaml")
    whole, killed = (read_json(project / f"{name}/reports/search.json") for name in ("whole", "killed"))
    assert killed["trials"] == whole["trials"]
    assert len(killed["trials"]) == 4
    texts = [(project / f"{name}/settings.yaml").read_text(encoding="utf-8") for name in ("whole", "killed")]
    assert texts[0] == texts[1]

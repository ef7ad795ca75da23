"""Folder = marker; and the small real things that tests stand on: a tiny base, its tokenizer, a few rows."""

import os
import signal
from pathlib import Path

import pytest

from loramill.privacy import switch_off_telemetry

switch_off_telemetry()
os.environ["OMP_NUM_THREADS"] = "1"  # tiny models: one thread is quicker than two that wait for each other
os.environ["HF_HUB_OFFLINE"] = "1"
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job is started deaf to Ctrl-C

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        lane = Path(str(item.fspath)).relative_to(ROOT / "tests").parts[0]
        item.add_marker(lane)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real files beside the project: skipped where they are not, missing in CI is a failure."""
    if not SHARED.is_dir():
        reason = f"{SHARED} is not beside the project"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    return SHARED


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees another's MLflow address; `mlflow.set_tracking_uri` would leave one behind."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A one-minute base made in a second: one layer deep enough to be wrong in, small enough to be quick."""
    from loramill.pack.one_minute import Recipe, make_one_minute

    recipe = Recipe(vocabulary=1200, width=48, layers=2, heads=4, feed_forward=96, block=64, batch=2, steps=3)
    return make_one_minute(tmp_path_factory.mktemp("bases"), recipe=recipe)

import sys
import time

import pytest

from tasks.interrupt import keep_ctrl_c


class Interrupted:
    """Ctrl-C falls into its destructor."""

    def __del__(self) -> None:
        raise KeyboardInterrupt


def test_a_ctrl_c_that_python_drops_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    keep_ctrl_c()
    Interrupted()  # nothing is raised here: this is what Python drops
    with pytest.raises(KeyboardInterrupt):
        time.sleep(10)


def test_other_errors_go_where_they_went(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", heard.append)
    keep_ctrl_c()
    error = ValueError()
    sys.unraisablehook(type("Args", (), {"exc_type": ValueError, "exc_value": error})())  # type: ignore[arg-type]
    assert len(heard) == 1

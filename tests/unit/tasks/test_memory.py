import signal

import pytest

from tasks.memory import _stops_wait


def test_ctrl_c_waits_until_dvc_has_written_its_lock() -> None:
    written = []

    def write() -> None:
        with _stops_wait():
            signal.raise_signal(signal.SIGINT)
            written.append("all of it")

    with pytest.raises(KeyboardInterrupt):
        write()
    assert written == ["all of it"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

import datetime
import time

import pytest
from typer.testing import CliRunner

from loramill.errors import ConfigError
from scripts.base.__main__ import app, deadline


def test_minutes_count_from_now() -> None:
    assert deadline(2.0, "") == pytest.approx(time.time() + 120.0, abs=5.0)


def test_until_is_the_next_such_time_in_utc() -> None:
    for until in ("00:00", "12:30", "23:59"):
        end = deadline(0.0, until)
        assert 0.0 < end - time.time() <= 86_400.0
        assert datetime.datetime.fromtimestamp(end, datetime.UTC).strftime("%H:%M") == until


def test_a_wrong_time_is_named() -> None:
    with pytest.raises(ConfigError, match="--until '8h' is no time of day; write HH:MM"):
        deadline(0.0, "8h")


def test_help_names_every_command() -> None:
    said = CliRunner().invoke(app, ["--help"]).output
    assert all(command in said for command in ("make", "convert", "inspect", "deliver", "law-before", "law"))

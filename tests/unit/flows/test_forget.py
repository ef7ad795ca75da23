import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from flows.forget import forget
from flows.locks import domain_lock
from flows.places import Places
from loramill.config import Plan, load_plan
from loramill.errors import BusyError
from tasks.forget import Found, ban

ID = "0123456789abcdef"
STEPS = ("validate", "split", "search", "train", "evaluate", "promote")


@pytest.fixture
def said(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the flow asks for, in order; the ban alone is real."""
    told: list[Any] = []
    shutil.copytree(root / "conf", tmp_path / "conf")
    monkeypatch.chdir(tmp_path)

    def heard(name: str, answer: object) -> None:
        monkeypatch.setattr(f"flows.forget.{name}", lambda *words, **named: told.append(name) or answer)

    for name in (*STEPS, "check_forgotten", "retire", "prove"):
        heard(name, Path(name))
    heard("find_row", Found(ID, None, "train", (), ()))
    monkeypatch.setattr("flows.forget.patient", lambda task: task)
    monkeypatch.setattr("flows.forget.ban", lambda domain, row: told.append("ban") or ban.fn(domain, row))
    return told


def test_a_domain_at_work_is_left_as_it_is(said: list[Any]) -> None:
    before = Path("conf/law.yaml").read_text(encoding="utf-8")
    with domain_lock("law"), pytest.raises(BusyError):
        forget.fn("law", ID)
    assert Path("conf/law.yaml").read_text(encoding="utf-8") == before
    assert said == ["find_row"]


def test_every_step_is_done_again_under_the_lock_with_the_ban_in_the_plan(
    said: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Memory:
        def __init__(self, domain: str, *, force: bool) -> None:
            assert force
            assert load_plan(Path("conf/law.yaml")).split.forgotten == (ID,)

        def step(self, task: Callable[..., Path]) -> Callable[..., Path]:
            return task

    @contextmanager
    def begin(domain: str, *, force: bool) -> Iterator[tuple[Plan, object, Places]]:
        assert force
        said.append("lock")
        yield Plan(), None, Places(domain)

    monkeypatch.setattr("flows.forget.Memory", Memory)
    monkeypatch.setattr("flows.forget.begin", begin)
    forget.fn("law", ID)
    before, after = STEPS[:4], STEPS[4:]
    assert said == ["find_row", "lock", "find_row", "ban", *before, "check_forgotten", "retire", *after, "prove"]

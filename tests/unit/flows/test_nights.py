import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows.nightly import _train_alone
from flows.nights import Case, Night, night, with_rows
from loramill.config import Base, LearningConfig, NightlyConfig, Plan, TrainConfig
from loramill.errors import BusyError, DataError, LoramillError
from loramill.tracking import Diary
from tasks.watching import UNTIL


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("flows.nights.entry_of", lambda domain, alias: None)


def decided(case: Case, decision: str) -> Case:
    report = case.place.report("changes")
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(json.dumps({"decision": decision, "why": "rows", "reason": "20 added"}), encoding="utf-8")
    case.decide(report)
    case.ask_memory()
    return case


def test_one_domain_that_fails_leaves_the_others_alone_and_fails_the_night_at_its_end() -> None:
    law, shop = Case("law", Plan(), None), Case("shop", Plan(), None)
    with law.at_work():
        raise DataError("nothing readable")
    assert not law.is_awake
    assert shop.is_awake
    shop.end("promoted", "better", version="2")
    tonight = Night([law, shop], [])
    assert [(each.domain, each.ending) for each in tonight.told] == [("law", "failed"), ("shop", "promoted")]
    with pytest.raises(LoramillError, match=r"1 of 2 domains failed; the others are done:\n  law: nothing readable"):
        tonight.check()


def test_what_nobody_foresaw_ends_one_domain_too_and_leaves_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    case = Case("law", Plan(), None)
    with case.at_work():
        raise ConnectionError("away after the last try")
    assert case.night is not None
    assert (case.night.ending, case.night.reasons) == ("failed", ("ConnectionError: away after the last try",))
    assert "Traceback" in caplog.text
    with pytest.raises(KeyboardInterrupt), Case("shop", Plan(), None).at_work():
        raise KeyboardInterrupt


def test_an_ending_does_not_fail_while_data_dvc_is_being_written() -> None:
    Path("data.dvc").write_text("outs:\n", encoding="utf-8")
    case = Case("law", Plan(), None)
    case.fail(DataError("nothing readable"))
    assert not case.is_awake


@pytest.mark.parametrize("lost", ["training", "memory"])
def test_a_pack_that_is_lost_fails_its_own_cases_and_no_night(monkeypatch: pytest.MonkeyPatch, lost: str) -> None:
    cases = [decided(Case(domain, Plan(), None), "retrain") for domain in ("law", "shop")]

    def train(pupils: object, checkpoint: Path) -> dict[str, LoramillError]:
        if lost == "training":
            raise RuntimeError("CUDA error")
        return {}

    def busy(step: str) -> None:
        raise BusyError("another dvc command")

    monkeypatch.setattr("flows.nights.patient", lambda task: train)
    monkeypatch.setattr(cases[0].memory, "done", busy)
    (pack,) = Night(cases, []).packs
    pack.learn()
    assert [case.is_awake for case in cases] == ([False, False] if lost == "training" else [False, True])


def test_domains_on_one_base_share_a_pack_and_others_do_not() -> None:
    plans = {
        "law": Plan(),
        "shop": Plan(train=TrainConfig(start_from="scratch")),
        "large": Plan(base=Base(source="owner/large")),
        "tight": Plan(learning=LearningConfig(memory_gib=4)),
        "several": Plan(base=Base(processes=2)),
        "named": Plan(train=TrainConfig(start_from="some/adapter")),
    }
    cases = [decided(Case(domain, plan, None), "retrain") for domain, plan in plans.items()]
    judged = decided(Case("judged", Plan(), None), "judge")
    packs = Night([*cases, judged], []).packs
    assert [[case.domain for case in pack.cases] for pack in packs] == [["law", "shop"], ["large"], ["tight"]]
    assert [case.domain for case in Night([*cases, judged], []).alone] == ["several", "named"]
    assert not judged.wants_training
    assert judged.is_awake


def test_what_is_skipped_says_why_and_is_done() -> None:
    case = decided(Case("law", Plan(), None), "skip")
    assert case.night is not None
    assert (case.night.ending, case.night.reasons, case.night.why) == ("skipped", ("20 added",), "rows")


@pytest.mark.parametrize(("asked", "own", "seconds"), [(5.0, None, 300), (None, 2.0, 120), (5.0, 2.0, 120)])
def test_the_shorter_time_holds(asked: float | None, own: float | None, seconds: float) -> None:
    case = Case("law", Plan(nightly=NightlyConfig(minutes=own)), asked)
    assert case.until - time.monotonic() == pytest.approx(seconds, abs=5)


def test_what_finds_no_time_left_is_postponed() -> None:
    judged = decided(Case("law", Plan(), 1e-9), "judge")
    assert not judged.is_postponed()
    case = decided(Case("law", Plan(), 1e-9), "retrain")
    assert case.is_postponed()
    assert case.night is not None
    assert (case.night.ending, case.night.why) == ("postponed", "rows")


def test_what_can_share_no_pack_is_postponed_when_the_packs_used_the_time_up() -> None:
    case = decided(Case("law", Plan(base=Base(processes=2)), 1e-9), "retrain")
    _train_alone(case)
    assert case.night is not None
    assert case.night.ending == "postponed"


def test_what_trains_alone_hears_when_the_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    case = decided(Case("law", Plan(base=Base(processes=2)), 5.0), "retrain")
    heard: list[float] = []
    monkeypatch.setattr(case.memory, "step", lambda task: lambda *args, **paths: heard.append(float(os.environ[UNTIL])))
    _train_alone(case)
    assert heard == [pytest.approx(time.time() + 300, abs=5)]
    assert UNTIL not in os.environ


def test_only_the_run_of_the_domain_that_failed_is_failed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: dict[str, str] = {}

    @contextmanager
    def kept(domain: str, name: str, tags: object) -> Iterator[Diary]:
        try:
            yield Diary(domain)
            ended[domain] = "FINISHED"
        except BaseException as error:
            ended[domain] = type(error).__name__
            raise

    monkeypatch.setattr("flows.nights.open_diary", kept)
    monkeypatch.setattr("flows.nights.end_leftovers", lambda domain: 0)
    Path("conf").mkdir()
    for name in ("default", "law", "shop", "late"):
        Path(f"conf/{name}.yaml").write_text("base: embedded\n", encoding="utf-8")

    def interrupted() -> None:
        with night(["law", "shop", "late"], None) as tonight:
            law, shop, _ = tonight.cases
            with law.at_work():
                raise DataError("nothing readable")
            shop.end("skipped", "same")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert ended == {"law": "DataError", "shop": "FINISHED", "late": "KeyboardInterrupt"}
    with night(["law"], None):  # the locks are free again
        pass
    assert ended["law"] == "FINISHED"


def test_a_night_goes_over_every_domain_with_rows_whatever_is_wrong_with_one(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def silent(domain: str, name: str, tags: object) -> Iterator[Diary]:
        yield Diary(domain)

    monkeypatch.setattr("flows.nights.open_diary", silent)
    monkeypatch.setattr("flows.nights.end_leftovers", lambda domain: 0)
    for domain, text in {"law": "base: embedded\n", "shop": "serach: {}\n", "empty": "", "none": ""}.items():
        Path("conf").mkdir(exist_ok=True)
        Path(f"conf/{domain}.yaml").write_text(text, encoding="utf-8")
        Path(f"data/{domain}").mkdir(parents=True)
    Path("conf/default.yaml").write_text("base: embedded\n", encoding="utf-8")
    for domain in ("law", "shop"):
        Path(f"data/{domain}/rows.txt").touch()
    assert with_rows() == ["law", "shop"]
    with night(None, None) as tonight:
        assert [case.domain for case in tonight.awake] == ["law"]
        (shop,) = tonight.told
        assert (shop.domain, shop.ending) == ("shop", "failed")
        assert "serach: unknown key" in shop.reasons[0]
        with night(["law"], None) as second:
            assert [(each.domain, each.ending) for each in second.told] == [("law", "busy")]

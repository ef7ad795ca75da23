"""Five nights in a row, with a clock that jumps to the next one: the right decision each night, and a history that tells it."""

import json
import random
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml

from flows.forget import forget
from flows.nightly import nightly
from flows.nights import Case
from loramill.errors import LoramillError
from loramill.pack.manifest import read_manifest
from loramill.tracking import entries, find, moves
from tests.copies import NOBODY, Copy, digests, make_copy
from tests.factories import record

pytestmark = [pytest.mark.timeout(300), pytest.mark.filterwarnings("ignore")]
VOCABULARY = "劳动合同工资加班赔偿解除仲裁社保工伤年假证据协商单位支付期限证明争议约定条件程序责任标准办理"
NOISE = "琴棋书画诗酒花茶梅兰竹菊风霜雨雪山川湖海日月星辰春夏秋冬东南西北青红皂白"
DAY = 86_400


def rows(first: int, count: int, words: str = VOCABULARY) -> list[dict[str, str]]:
    """Questions all different, answers in one style: what a domain's rows are to a small model."""
    made = []
    for seed in range(first, first + count):
        draw = random.Random(seed)
        asked = "".join(draw.choice(VOCABULARY) for _ in range(14))
        said = "".join(draw.choice(words) for _ in range(22))
        made.append({"instruction": f"{asked}怎么办？", "output": f"依据《劳动法》第{seed}条，{said}。"})
    return made


@dataclass
class House:
    """A repository whose nights are simulated."""

    copy: Copy

    def write(self, domain: str, lines: list[dict[str, str]]) -> None:
        folder = self.copy.folder / "data" / domain
        (folder / "rows.jsonl").write_text("".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines))

    def night(self, clock: "Clock") -> dict[str, Any]:
        """Let the clock jump to two o'clock, run the night, return what the morning says of each domain."""
        clock.to_two_o_clock()
        page = nightly.fn()
        assert f"{clock.day} 02:0" in page.read_text(encoding="utf-8")
        return self.told()

    def told(self) -> dict[str, Any]:
        page = self.copy.folder / "artifacts/nightly/morning.json"
        return {each["domain"]: each for each in json.loads(page.read_text(encoding="utf-8"))["domains"]}


class Clock:
    """`time.time` that can be moved on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._real, self._ahead = time.time, 0.0
        monkeypatch.setattr("time.time", lambda: self._real() + self._ahead)
        monkeypatch.setattr("tasks.morning.datetime", self)

    def to_two_o_clock(self) -> None:
        zone = ZoneInfo("Asia/Shanghai")
        now = datetime.fromtimestamp(time.time(), zone)
        two = now.replace(hour=2, minute=0, second=0, microsecond=0).timestamp()
        self._ahead += two - now.timestamp() + (DAY if now.timestamp() >= two else 0)

    def now(self) -> datetime:
        return datetime.fromtimestamp(time.time(), ZoneInfo("Asia/Shanghai"))

    @property
    def day(self) -> str:
        return f"{self.now():%Y-%m-%d}"


@pytest.fixture
def house(root: Path, tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setattr("prefect.tasks.Task.__call__", lambda task, *args, **kwargs: task.fn(*args, **kwargs))
    copy = make_copy(root, tmp_path / "loramill", tiny_folder)
    for domain in ("law", "customer-service"):
        for path in (copy.folder / "data" / domain).iterdir():
            path.unlink()
        plan = yaml.safe_load(copy.plan_text())
        plan |= {"search": {"trials": 0, "fixed": {"rank": 4, "learning_rate": 5e-3}}}
        plan["evaluate"] = {"answers": 0}
        plan["train"] = {"epochs": 3, "patience": 3, "probes": 0, "tensorboard": False}
        copy.plan(domain, **plan)
    monkeypatch.chdir(copy.folder)
    return House(copy)


def away_when_judged(patch: pytest.MonkeyPatch, domain: str) -> None:
    """Let nothing answer at MLflow's address from the moment when a domain is judged until it fails."""
    import flows.nightly

    judge = flows.nightly._judge

    def away(case: Case) -> None:
        with pytest.MonkeyPatch.context() as inner:
            if case.domain == domain:
                inner.setenv("MLFLOW_TRACKING_URI", NOBODY)
                inner.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
            judge(case)

    patch.setattr(flows.nightly, "_judge", away)


def lines(house: House, domain: str, part: str) -> list[dict[str, Any]]:
    path = house.copy.folder / f"artifacts/{domain}/splits/{part}.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def planted(good: list[dict[str, str]], learnt: set[str], count: int) -> list[dict[str, str]]:
    """Return the rows with wrong answers to so many of the questions that are learnt from."""
    wrong = rows(0, len(good), NOISE)
    ids = [record(row["instruction"], row["output"]).id for row in good]
    hit = [place for place, id in enumerate(ids) if id in learnt][:count]
    assert len(hit) == count
    return [{**row, "output": wrong[place]["output"]} if place in hit else row for place, row in enumerate(good)]


def test_five_nights(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    start, shop = rows(0, 60), rows(1000, 60)
    house.write("law", start)
    house.write("customer-service", shop)
    first = house.night(clock)
    assert {each["ending"] for each in first.values()} == {"promoted"}, first

    # the first night: nothing changed
    told = house.night(clock)
    assert {each["ending"] for each in told.values()} == {"skipped"}
    assert {each["why"] for each in told.values()} == {"unchanged"}

    # the second: 20 good rows
    house.write("law", good := [*start, *rows(100, 20)])
    told = house.night(clock)
    assert told["customer-service"]["ending"] == "skipped"
    assert told["law"]["ending"] == "promoted"

    # the third: 20 errors planted in rows to learn from
    learnt = {each["id"] for each in lines(house, "law", "train")}
    poisoned = planted(good, learnt, 20)
    house.write("law", poisoned)
    told = house.night(clock)
    assert told["law"]["changes"] == {"added": 0, "changed": 20, "removed": 0, "kept": len(learnt) - 20}
    assert (told["law"]["ending"], told["law"]["taken"]) == ("kept the champion", "scratch"), told["law"]
    assert find("law", "champion").number == "2"

    # the fourth: the errors are gone again, and so is a row, on request
    house.write("law", good)
    clock.to_two_o_clock()
    sheet = forget.fn("law", row := sorted(learnt)[0], by="Wang", reason="consent withdrawn")
    proof = json.loads(sheet.with_suffix(".json").read_text(encoding="utf-8"))
    assert [each["version"] for each in proof["adapters"]] == ["1", "2", "3"], proof
    assert proof["loss"]["after"] > min(proof["loss"]["before"].values())
    told = house.night(clock)
    assert (told["law"]["ending"], told["law"]["champion"]) == ("skipped", "version 4"), told
    assert row not in read_manifest(find("law", "champion").folder).rows

    # the fifth: two domains at once, in one pack; MLflow is away when one of them is judged
    house.write("law", [*good, *rows(300, 20)])
    house.write("customer-service", [*shop, *rows(1100, 20)])
    with monkeypatch.context() as patch:
        away_when_judged(patch, "law")
        with pytest.raises(
            LoramillError, match="1 of 2 domains failed; the others are done:\n  law: could not look up"
        ):
            house.night(clock)
    told = house.told()
    assert (told["customer-service"]["ending"], told["law"]["ending"]) == ("promoted", "failed"), told
    trained = digests(house.copy.folder / "artifacts/law/adapter")

    # and the night after: what was trained is judged, not trained again
    told = house.night(clock)
    assert (told["law"]["ending"], told["law"]["why"]) == ("promoted", "unjudged"), told
    assert digests(house.copy.folder / "artifacts/law/adapter") == trained
    assert_the_registry_tells_the_story()


def assert_the_registry_tells_the_story() -> None:
    history = {domain: {entry.number: entry for entry in entries(domain)} for domain in ("law", "customer-service")}
    assert list(history["law"]) == ["1", "2", "3", "4", "5"]
    assert [number for number, entry in history["law"].items() if entry.retired] == ["1", "2", "3"]
    assert [move.version for move in moves("law")] == ["1", "2", "4", "5"]
    assert [move.version for move in moves("customer-service")] == ["1", "2"]
    nights = {f"{entry.created:%Y-%m-%d}" for entry in history["law"].values()}
    assert len(nights) == 5, "each version was made in a night of its own"

"""How a night begins and ends: a case for each domain, which may fail without taking the others with it."""

import argparse
import hashlib
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from flows.locks import at_work, domain_lock
from flows.places import Places
from flows.runs import here
from loramill.config import Plan, domain_file, domains, load_plan
from loramill.errors import BusyError, LoramillError, TrackingError
from loramill.pages.morning import DomainNight, Ending
from loramill.privacy import spin_if_alone, switch_off_telemetry
from loramill.reports import disk_full_explained, read_json
from loramill.tracking import Diary, continue_diary, end_leftovers, entry_of, open_diary
from tasks.memory import Memory, data_version, git_commit
from tasks.notify import notify
from tasks.progress import say
from tasks.retrain import NEVER, Pupil, retrain
from tasks.retries import patient

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun, State

log = logging.getLogger("loramill")
PAGE: Final = Path("artifacts/nightly/morning.html")


class Case:
    """One domain in one night: what it obeys, where its files lie, and how it ended."""

    def __init__(self, domain: str, plan: Plan, minutes: float | None) -> None:
        self.domain, self.plan, self.place = domain, plan, Places(domain)
        self.memory = Memory(domain)
        self.rows = Path("data") / domain
        self._began = time.monotonic()
        limits = [each for each in (minutes, plan.nightly.minutes) if each is not None]
        self.until = self._began + 60 * min(limits) if limits else NEVER
        self._diary = Diary(domain)
        self._decision: dict[str, Any] = {}
        self._stack = ExitStack()
        self._error: Exception | None = None
        self.wants_training = False
        """Whether it is to be trained, and has not been, as `ask_memory` found it."""
        self.night: DomainNight | None = None
        """How it ended; none while it is at work."""

    def open(self) -> None:
        """Hold the domain for this night and begin its run in the diary, if there is anything to do."""
        self._stack.enter_context(domain_lock(self.domain))
        if self.memory.is_fresh():
            self.end("skipped", "nothing changed since the last run", why="unchanged")
            return
        end_leftovers(self.domain)
        run = str(_prefect_run().id or "")
        tags = {"kind": "flow", "flow": "nightly", "git_commit": git_commit(), "data_md5": data_version()}
        self._diary = self._stack.enter_context(
            open_diary(self.domain, f"nightly-{self.domain}", {**tags, "prefect.flow_run_id": run})
        )
        self._diary.settings(self.plan.model_dump(mode="json", exclude={"learning", "train"}))

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Do a part of the case's work; an error ends this case and no other."""
        try:
            with continue_diary(self.domain, self._diary.run_id), disk_full_explained(self.place.root):
                yield
        except Exception as error:  # whatever it is, it must not take the other domains with it
            self.fail(error)

    def decide(self, report: Path) -> None:
        """Take the decision that ``changes`` left: a case without anything to do ends here."""
        self._decision = read_json(report)
        self._diary.note({"nightly": f"{self._decision['decision']}: {self._decision['reason']}"})
        if self._decision["decision"] == "skip":
            self.end("skipped", self._decision["reason"])

    def ask_memory(self) -> None:
        """Find out whether it is to be trained, and has not been.

        Raises:
            BusyError: another dvc command is at work.
        """
        is_decided = self.is_awake and self._decision.get("decision") == "retrain"
        self.wants_training = is_decided and self.memory.is_stale("train")

    def is_postponed(self) -> bool:
        """End the case, if it is to be trained and the night's time is used up; tell whether it has ended."""
        if self.is_awake and self.wants_training and time.monotonic() > self.until:
            self.end("postponed", "the time of this night (nightly.minutes) was used up before its turn came")
        return not self.is_awake

    @property
    def is_awake(self) -> bool:
        """Whether there is still something to do."""
        return self.night is None

    @property
    def is_packed(self) -> bool:
        """Whether it can share a pack: a base in several processes, or a start that a person named, cannot."""
        return self.plan.base.processes == 1 and self.plan.train.start_from in {"last", "scratch"}

    @property
    def pupil(self) -> Pupil:
        """The case as its training sees it."""
        place = self.place
        return Pupil(
            domain=self.domain,
            plan=self.plan,
            run_id=self._diary.run_id,
            splits=place.splits,
            settings=place.settings,
            out=place.adapter,
            report=place.report("train"),
            until=self.until,
        )

    def fail(self, error: Exception) -> None:
        """End with an error."""
        self._error, said = error, _told(self.domain, error)
        self._diary.note({"error": said[:4000]})
        self.end("failed", said)

    def close(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Let go of the domain, its run in the diary ended as the case was; one still at work ends as the night does."""
        own = self._error or (error if self.is_awake else None)
        self._stack.__exit__(type(own) if own else None, own, own.__traceback__ if own else None)

    def finish(self, ruling: Path) -> None:
        """End with what ``promote`` decided."""
        content = read_json(ruling)
        self.end(content["decision"], *content["reasons"], version=str(content["version"]))

    def end(self, ending: Ending, *reasons: str, why: str = "", version: str = "") -> None:
        """Note how it ended."""
        found = self._decision
        trained = _read(self.place.report("train")) if version else {}
        self.night = DomainNight(
            domain=self.domain,
            ending=ending,
            reasons=(*([found["reason"]] if found and ending != "skipped" else []), *reasons),
            why=why or found.get("why", ""),
            changes=_counts(found),
            drift=tuple(found.get("drift_said", ())),
            champion=_in_service(self.domain),
            version=f"version {version}" if version else "",
            verdicts=_verdicts(self.place.scores) if version else {},
            taken=trained.get("taken", ""),
            stopped_by_time=trained.get("stopped_by_time", False),
            minutes=(time.monotonic() - self._began) / 60,
        )
        self._diary.note({"decision": ending})
        with suppress(Exception):  # somebody may be writing data.dvc just now, and an ending must not fail
            self._diary.note({"data_md5": data_version()})


class Night:
    """All cases of one night."""

    def __init__(self, cases: Sequence[Case], broken: Sequence[DomainNight]) -> None:
        self.cases, self._broken = cases, broken

    @property
    def awake(self) -> list[Case]:
        """The cases that still have something to do."""
        return [case for case in self.cases if case.is_awake]

    @property
    def packs(self) -> list["PackOfCases"]:
        """The cases to be trained, those together that share a base and its memory."""
        groups: dict[str, list[Case]] = {}
        for case in self.cases:
            if case.is_awake and case.wants_training and case.is_packed:
                learning = case.plan.learning
                key = f"{case.plan.base.model_dump_json()}{learning.memory_gib}{learning.gradient_checkpointing}"
                groups.setdefault(key, []).append(case)
        return [PackOfCases(key, cases) for key, cases in groups.items()]

    @property
    def alone(self) -> list[Case]:
        """The cases to be trained that can share no pack."""
        return [case for case in self.awake if case.wants_training and not case.is_packed]

    @property
    def told(self) -> list[DomainNight]:
        """What became of every domain."""
        return [*self._broken, *(case.night for case in self.cases if case.night is not None)]

    def check(self) -> None:
        """Let the whole night fail when a domain did, so that Prefect and whoever watches it see it.

        Raises:
            LoramillError: with every reason; the other domains are done all the same.
        """
        failed = {each.domain: each.reasons[-1] for each in self.told if each.ending == "failed"}
        if failed:
            lines = "".join(f"\n  {domain}: {reason}" for domain, reason in failed.items())
            raise LoramillError(f"{len(failed)} of {len(self.told)} domains failed; the others are done:{lines}")


@dataclass(frozen=True)
class PackOfCases:
    """Cases that are trained in one pack."""

    key: str
    """What they share."""
    cases: Sequence[Case]

    def learn(self) -> None:
        """Train them; a case that cannot be trained ends, the others go on."""
        cases = [case for case in self.cases if not case.is_postponed()]
        if not cases:
            return
        say("retrain", f"in one pack: {', '.join(case.domain for case in cases)}")
        checkpoint = Path("artifacts/work/nightly") / hashlib.sha256(self.key.encode()).hexdigest()[:12]
        failed: Mapping[str, Exception]
        try:
            with disk_full_explained(Path("artifacts")):
                failed = patient(retrain)([case.pupil for case in cases], checkpoint=checkpoint)
        except Exception as error:  # a lost GPU, say: the other packs and the morning page are still due
            failed = {case.domain: error for case in cases}
        for case in cases:
            with case.at_work():
                if case.domain in failed:
                    raise failed[case.domain]
                case.memory.done("train")


@contextmanager
def night(asked: Iterable[str] | None, minutes: float | None) -> Iterator[Night]:
    """Give a case for every domain that is asked for, or that has rows; each with its lock, memory and diary."""
    switch_off_telemetry()
    spin_if_alone()
    with ExitStack() as stack:
        stack.enter_context(at_work(str(_prefect_run().id or "")))
        cases: list[Case] = []
        broken: list[DomainNight] = []
        for domain in asked if asked is not None else with_rows():
            try:
                case = Case(domain, load_plan(domain_file(domain), Path("conf")), minutes)
                stack.push(case.close)
                case.open()
                cases.append(case)
            except BusyError as error:
                broken.append(DomainNight(domain, "busy", (str(error),), champion=_in_service(domain)))
            except Exception as error:  # the other domains are still due
                broken.append(DomainNight(domain, "failed", (_told(domain, error),), champion=_in_service(domain)))
        yield Night(cases, broken)


def with_rows() -> list[str]:
    """Return the domains of ``conf/`` that have a folder of rows with something in it."""
    return [name for name in domains() if (folder := Path("data") / name).is_dir() and any(folder.iterdir())]


def run_here(flow: Any) -> None:
    """Run a night now, for the domains that the command line names or for all."""
    parser = argparse.ArgumentParser(prog="python -m flows.nightly", description="What a night does, now.")
    parser.add_argument("domains", nargs="*", help="domains of conf/ (default: all that have rows)")
    parser.add_argument("--minutes", type=float, default=None, help="time for training, as nightly.minutes of conf/")
    arguments = parser.parse_args()
    with here(*arguments.domains):
        flow(arguments.domains or None, minutes=arguments.minutes)


def tell_crash(flow: Any, flow_run: "FlowRun", state: "State[Any]") -> None:
    """Tell whoever asked for notices that a night was killed; `flows.up` lets it go on."""
    notify({"event": "nightly crashed", "flow_run": str(flow_run.name), "state": state.name})


def _prefect_run() -> Any:
    from prefect.runtime import flow_run

    return flow_run


def _told(domain: str, error: Exception) -> str:
    """Tell a person why a domain stops; return it. What nobody foresaw leaves its traceback in the log."""
    if isinstance(error, LoramillError):
        said = str(error)
    else:
        said = f"{type(error).__name__}: {error}"
        log.error("%s: an error that nobody foresaw", domain, exc_info=error)
    say("nightly", f"{domain} stops: {said}")
    return said


def _in_service(domain: str) -> str:
    try:
        version = entry_of(domain, "champion")
    except TrackingError as error:
        return f"unknown ({error})"
    return f"version {version.number}" if version is not None else ""


def _counts(decision: dict[str, Any]) -> dict[str, int]:
    if "added" not in decision:
        return {}
    counted = {name: len(decision[name]) for name in ("added", "changed", "removed")}
    return counted | {"kept": decision["kept"]}


def _verdicts(scores: Path) -> dict[str, Any]:
    wanted = ("outcome", "gain", "low", "high", "rows")
    found = _read(scores).get("verdicts", {})
    return {reference: {key: verdict[key] for key in wanted if key in verdict} for reference, verdict in found.items()}


def _read(path: Path) -> dict[str, Any]:
    return dict(read_json(path)) if path.is_file() else {}

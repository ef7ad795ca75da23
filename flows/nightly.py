"""Every night, for every domain whose rows changed: a better adapter, or the reason why there is none.

``python -m flows.nightly`` runs it here; ``prefect deployment run nightly/all`` runs it where `make up` serves it.
"""

import time
from pathlib import Path

from prefect import flow

from flows.nights import PAGE, Case, night, run_here, tell_crash
from tasks.changes import changes
from tasks.evaluate import evaluate
from tasks.morning import morning
from tasks.promote import promote
from tasks.retries import patient
from tasks.search import search
from tasks.split import split
from tasks.train import train
from tasks.validate import validate
from tasks.watching import curfew


@flow(name="nightly", validate_parameters=True, on_crashed=[tell_crash])
def nightly(domains: list[str] | None = None, minutes: float | None = None) -> Path:
    """Compare each domain's rows with those that its champion learnt; retrain what changed, in packs; let the proof decide.

    Args:
        domains: which ones; all that have rows if not given.
        minutes: after so long no training begins, and those that run keep their best so far; `nightly.minutes` of conf/ too.
    """
    with night(domains, minutes) as tonight:
        for case in tonight.awake:
            with case.at_work():
                _look(case)
        for case in tonight.awake:
            with case.at_work():
                _prepare(case)
        for pack in tonight.packs:
            pack.learn()
        for case in tonight.alone:
            with case.at_work():
                _train_alone(case)
        for case in tonight.awake:
            with case.at_work():
                _judge(case)
        page = patient(morning)(tonight.told, out=PAGE)
    tonight.check()
    return page


def _look(case: Case) -> None:
    """Read today's rows and decide whether there is anything to learn."""
    step, plan, place = case.memory.step, case.plan, case.place
    records = step(validate)(plan.validation, case.rows, out=place.records, report=place.report("validate"))
    splits = step(split)(plan.split, records, out=place.splits, report=place.report("split"))
    last = {"adapter": place.adapter, "promotion": place.report("promote")}
    case.decide(patient(changes)(plan, case.domain, splits, **last, out=place.report("changes")))


def _prepare(case: Case) -> None:
    """Find the settings, and whether there is anything to train with them."""
    case.ask_memory()
    if case.is_postponed():
        return
    step, plan, place = case.memory.step, case.plan, case.place
    step(search)(plan.search, plan.learning, plan.base, place.splits, out=place.settings, report=place.report("search"))
    case.ask_memory()


def _train_alone(case: Case) -> None:
    """Train what can share no pack, if there is time left."""
    if case.is_postponed():
        return
    step, plan, place = case.memory.step, case.plan, case.place
    where = {"out": place.adapter, "report": place.report("train")}
    with curfew(case.until - time.monotonic()):
        step(train)(plan.train, plan.learning, plan.base, place.splits, place.settings, **where)


def _judge(case: Case) -> None:
    """Let the test rows judge what was trained, and promote it on proof."""
    step, plan, place = case.memory.step, case.plan, case.place
    scores = step(evaluate)(
        plan.evaluate, plan.base, place.splits, place.adapter, out=place.scores, report=place.report("evaluate")
    )
    case.finish(step(promote)(plan.promote, place.adapter, scores, out=place.report("promote"), splits=place.splits))


if __name__ == "__main__":
    run_here(nightly)

"""A row that must be forgotten: banned, trained without, its adapters retired, and a sheet that proves it.

``loramill forget law --row ID`` runs it.
"""

import argparse
from pathlib import Path

from prefect import flow

from flows.places import Places
from flows.runs import begin, here
from loramill.config import domain_file, load_plan
from tasks.evaluate import evaluate
from tasks.forget import SHEETS, ban, check_forgotten, find_row, prove, retire
from tasks.memory import Memory
from tasks.promote import promote
from tasks.retries import patient
from tasks.search import search
from tasks.split import split
from tasks.train import train
from tasks.validate import validate


@flow(name="forget", validate_parameters=True)
def forget(domain: str, row: str, by: str = "", reason: str = "") -> Path:
    """Ban the row, train without it, retire every adapter that learnt it, judge the new one, prove it.

    The version in service serves until the new adapter is trained; from then on nothing that knew the row does, whether the
    new one is promoted or not.

    Args:
        domain: a domain of conf/.
        row: the row's id, as the files of artifacts/<domain>/splits have it.
        by: who asks for it.
        reason: why, for the sheet and the registry.
    """
    place = Places(domain)
    patient(find_row)(domain, row, place.records, place.splits)  # a wrong id is told before anything is begun
    # Every step is done again: DVC cannot see that versions were retired, by a run that died before it judged, say.
    with begin(domain, force=True):
        found = patient(find_row)(domain, row, place.records, place.splits)  # now that no other run registers any
        ban(domain, row)
        step, plan = Memory(domain, force=True).step, load_plan(domain_file(domain), Path("conf"))  # both know the ban
        records = step(validate)(
            plan.validation, Path("data") / domain, out=place.records, report=place.report("validate")
        )
        splits = step(split)(plan.split, records, out=place.splits, report=place.report("split"))
        settings = step(search)(
            plan.search, plan.learning, plan.base, splits, out=place.settings, report=place.report("search")
        )
        adapter = step(train)(
            plan.train, plan.learning, plan.base, splits, settings, out=place.adapter, report=place.report("train")
        )
        check_forgotten(found, adapter)
        patient(retire)(domain, found, by, reason, audit=place.root / "audit.jsonl")
        scores = step(evaluate)(
            plan.evaluate, plan.base, splits, adapter, out=place.scores, report=place.report("evaluate")
        )
        decided = step(promote)(plan.promote, adapter, scores, out=place.report("promote"), splits=splits)
        return prove(plan, found, adapter, decided, (by, reason), out=place.root / SHEETS / f"{row}.html")


def _run_here() -> None:
    parser = argparse.ArgumentParser(prog="python -m flows.forget", description="Make a domain forget a row.")
    parser.add_argument("domain", help="a domain of conf/")
    parser.add_argument("row", help="the row's id")
    parser.add_argument("--by", default="", help="who asks for it")
    parser.add_argument("--reason", default="", help="why")
    arguments = parser.parse_args()
    with here(arguments.domain):
        forget(arguments.domain, arguments.row, by=arguments.by, reason=arguments.reason)


if __name__ == "__main__":
    _run_here()

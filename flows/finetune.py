"""From raw rows to a registered adapter with a verdict.

``python -m flows.finetune law`` runs it here; ``prefect deployment run finetune/law`` runs it where `make up` serves it.
"""

from pathlib import Path

from prefect import flow

from flows.runs import begin
from tasks.evaluate import evaluate
from tasks.promote import promote
from tasks.search import search
from tasks.split import split
from tasks.train import train
from tasks.validate import validate


@flow(name="finetune", validate_parameters=True)
def finetune(domain: str = "law", data: Path | None = None, force: bool = False) -> Path:
    """Validate, split, search, train, evaluate, promote; a step that fails ends the story.

    Args:
        domain: a domain of conf/, or the path of a domain's YAML file.
        data: folder with the rows; data/<domain> if not given.
        force: run every step even if nothing changed.
    """
    with begin(domain, force=force) as (plan, memory, place):
        step, rows = memory.step, data or Path("data") / place.domain
        records = step(validate)(plan.validation, rows, out=place.records, report=place.report("validate"))
        splits = step(split)(plan.split, records, out=place.splits, report=place.report("split"))
        settings = step(search)(
            plan.search, plan.learning, plan.base, splits, out=place.settings, report=place.report("search")
        )
        adapter = step(train)(
            plan.train, plan.learning, plan.base, splits, settings, out=place.adapter, report=place.report("train")
        )
        scores = step(evaluate)(
            plan.evaluate, plan.base, splits, adapter, out=place.scores, report=place.report("evaluate")
        )
        return step(promote)(plan.promote, adapter, scores, out=place.report("promote"), splits=splits)


if __name__ == "__main__":
    from flows.runs import run_here

    run_here(finetune)

"""The pages that a domain expert opens, on a domain's rows and on its proof: written whenever there is something new to say."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from loramill.data.ledger import Part
from loramill.records import Record
from loramill.reports import read_json, write_text
from loramill.tracking import diary
from tasks.progress import say

PAGE: Final = "data.html"
PROOF: Final = "proof.html"


def write_data_page(
    reports: Path, records: Sequence[Record], parts: Mapping[Part, Sequence[Record]], split: Mapping[str, Any]
) -> Path:
    """Write ``data.html`` beside the reports of ``validate`` and ``split``, and log it.

    Args:
        reports: ``artifacts/<domain>/reports``.
        records: the clean rows.
        parts: them by train, validation and test; empty when it did not come to that.
        split: what ``split.json`` says; empty when it did not come to that.
    """
    from loramill.data.page import data_page

    checked = reports / "validate.json"
    validate = read_json(checked) if checked.is_file() else {}
    named = {str(part): rows for part, rows in parts.items()}
    page = write_text(reports / PAGE, data_page(reports.parent.name, records, named, validate, split))
    diary().file(page, "reports")
    return page


def write_proof_page(scores: Path, promotion: Path) -> Path:
    """Write ``proof.html`` beside the ruling, log it, and show its gist in Prefect; a page must not cost a decision.

    Args:
        scores: what ``evaluate`` left.
        promotion: what ``promote`` left, ``artifacts/<domain>/reports/promote.json``.
    """
    from loramill.evaluation.page import proof_markdown, proof_page

    page = promotion.with_name(PROOF)
    try:
        content, ruling = read_json(scores), read_json(promotion)
        write_text(page, proof_page(content, ruling, _curves(promotion)))
        diary().file(page, "reports")
        shown = "Verdict and gates; the page lies in reports/proof.html."
        show_in_prefect(f"proof-{content['domain']}", proof_markdown(content, ruling), shown)
    except Exception as error:  # the decision stands already; a run that fails here would deny it
        say("promote", f"the page of the proof is not complete: {str(error) or type(error).__name__}")
    return page


def _curves(promotion: Path) -> dict[str, Any] | None:
    """Return the losses of the training that was judged, as its report tells them."""
    report = promotion.with_name("train.json")
    told = read_json(report) if report.is_file() else {}
    return told.get("curves") if told.get("adapter") == read_json(promotion)["adapter"] else None


def show_in_prefect(name: str, text: str, description: str) -> None:
    """Leave a Markdown artifact in the flow run that this is part of, if any."""
    from prefect.artifacts import create_markdown_artifact
    from prefect.context import FlowRunContext

    if FlowRunContext.get() is not None:
        key = re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")
        create_markdown_artifact(text, key=key, description=description)

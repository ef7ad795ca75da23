"""Step ``morning``: one page over all domains, the same as a Prefect artifact, and a notice to whoever asked for one."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from loramill.pages.morning import DomainNight, counts, morning_markdown, morning_page
from loramill.reports import write_json, write_text
from tasks.notify import notify
from tasks.pages import show_in_prefect
from tasks.progress import say


@task(name="morning", cache_policy=NO_CACHE)
def morning(nights: Sequence[DomainNight], out: Path) -> Path:
    """Leave the page in ``out``, and the same for machines beside it as JSON."""
    now = datetime.now()
    content = {"when": f"{now:%Y-%m-%dT%H:%M:%S}", "domains": [each.plain for each in nights]}
    write_json(out.with_suffix(".json"), content)
    write_text(out, morning_page(nights, now))
    _show_in_prefect(nights)
    notices = [each.notice for each in nights]
    notify({"event": "nightly", "when": content["when"], "counts": counts(nights), "domains": notices})
    done = ", ".join(f"{each.domain}: {each.ending}" for each in nights) or "no domain has rows"
    say("morning", f"{done} (the page: {out})")
    return out


def _show_in_prefect(nights: Sequence[DomainNight]) -> None:
    try:
        show_in_prefect("morning", morning_markdown(nights), "What the night did.")
    except Exception as error:  # a picture of the night must not cost the night
        say("morning", f"Prefect did not take the summary: {str(error) or type(error).__name__}")

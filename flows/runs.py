"""How a flow begins and ends: plan, memory and diary at hand, and a summary for a person."""

import argparse
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from flows.locks import at_work, domain_lock
from flows.places import Places
from flows.tend import bury_own
from loramill.config import Plan, domain_file, domains, load_plan
from loramill.errors import LoramillError
from loramill.privacy import spin_if_alone, switch_off_telemetry
from loramill.reports import disk_full_explained
from loramill.tracking import Diary, diary, end_leftovers, open_diary
from tasks.interrupt import keep_ctrl_c
from tasks.memory import Memory, data_version, git_commit
from tasks.progress import say


@contextmanager
def begin(domain: str, *, force: bool) -> Iterator[tuple[Plan, Memory, Places]]:
    """Give a domain's plan, memory and places, with its diary open; without a diary if there is nothing to do.

    Raises:
        BusyError: another run is at work on this domain.
        ConfigError: no such domain, or a wrong key or value in its files.
    """
    from prefect.runtime import flow_run

    switch_off_telemetry()
    spin_if_alone()
    plan, place = _plan_of(domain)
    with at_work(str(flow_run.id or "")), domain_lock(place.domain):
        memory = Memory(place.domain, force=force)
        if memory.is_fresh():
            say("finetune", f"nothing changed for {place.domain} since the last run; `--force` runs it all the same")
            yield plan, memory, place
            return
        with _diary(place.domain, plan):
            yield plan, memory, place
            diary().note({"data_md5": data_version()})


def _plan_of(domain: str) -> tuple[Plan, Places]:
    path = Path(domain) if domain.endswith((".yaml", ".yml")) else domain_file(domain)
    return load_plan(path, Path("conf")), Places(path.stem)


@contextmanager
def _diary(domain: str, plan: Plan) -> Iterator[Diary]:
    from prefect.runtime import flow_run

    end_leftovers(domain)
    tags = {"kind": "flow", "git_commit": git_commit(), "data_md5": data_version(), "prefect.flow_run_id": flow_run.id}
    with open_diary(domain, str(flow_run.name), tags) as opened:
        opened.settings(plan.model_dump(mode="json", exclude={"learning", "train"}))
        yield opened


def run_here(flow: Any) -> None:
    """Run the flow as the command line says, then print what a person wants to know.

    It uses the Prefect server of this folder's settings if that one answers, else a temporary one.
    """
    arguments = _arguments()
    with here(arguments.domain):
        flow(arguments.domain, data=arguments.data, force=arguments.force)
        _print_summary(Places(Path(arguments.domain).stem))


@contextmanager
def here(*domains: str) -> Iterator[None]:
    """Let flows run in this process, with a server at hand; what goes wrong is told in words.

    Args:
        domains: their plans are read first: a wrong word is told before a server is started for it.
    """
    logging.getLogger("httpx").setLevel(logging.WARNING)
    keep_ctrl_c()
    try:
        for domain in domains:
            _plan_of(domain)
        with _server(), disk_full_explained(Path("artifacts")):
            for line in bury_own():
                say("flows", line)
            yield
    except LoramillError as error:
        sys.exit(f"\nerror: {error}")
    except KeyboardInterrupt:
        sys.exit("\nstopped. Nothing is lost: the same command continues where it was.")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m flows.finetune", description="From raw rows to a registered adapter."
    )
    parser.add_argument("domain", help="a domain of conf/, or the path of a domain's YAML file")
    parser.add_argument("--data", type=Path, default=None, help="folder with the rows (default: data/<domain>)")
    parser.add_argument("--force", action="store_true", help="run every step even if nothing changed")
    return parser.parse_args()


@contextmanager
def _server() -> Iterator[None]:
    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_SERVER_ANALYTICS_ENABLED,
        PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS,
        temporary_settings,
    )

    url = PREFECT_API_URL.value()
    if url and answers(f"{url}/health"):
        yield
        return
    say("finetune", "starting a temporary Prefect server (`make up` gives a lasting one)")
    changes = {
        PREFECT_API_URL: None,
        PREFECT_SERVER_ANALYTICS_ENABLED: False,
        PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS: 120,
    }
    with temporary_settings(changes):
        yield


def answers(url: str) -> bool:
    """Tell whether something healthy answers at an address."""
    try:
        with urlopen(url, timeout=2) as reply:  # noqa: S310 - the address of our own settings
            return bool(reply.status == 200)
    except (URLError, OSError, ValueError):
        return False


def _print_summary(place: Places) -> None:
    from loramill.evaluation.summary import print_summary

    print_summary(
        place.scores,
        place.report("promote"),
        {
            "adapter": place.adapter,
            "the rows, as a page": place.report("split").with_name("data.html"),
            "the proof, as a page": place.report("promote").with_name("proof.html"),
            "reports and curves": place.root / "reports",
            "scores and all answers": place.scores,
            "runs, models, pictures": Path("mlruns"),
        },
        _following(place.domain),
        width=int(os.environ.get("COLUMNS", "0")) or None,
    )


def _following(domain: str) -> dict[str, str]:
    """Return what a person may try next; what is no domain of ``conf/`` has neither chat nor memory."""
    watch = {"make up": "Prefect and MLflow in the browser, nightly schedule on"}
    if domain not in domains():
        return {"loramill new NAME": "make a domain of it: then chat, dvc repro and nightly runs know it", **watch}
    return {
        f"loramill chat {domain} --compare": "talk to base and adapter side by side",
        **watch,
        "dvc repro": "again, only what changed; after new rows in data/",
    }

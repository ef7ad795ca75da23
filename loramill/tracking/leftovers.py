"""Runs that were killed: MLflow would show them as running for ever."""

import logging
import socket

from loramill.tracking import store

log = logging.getLogger("loramill")


def end_leftovers(domain: str) -> int:
    """End the flow runs of a domain that a kill on this machine left open, with their children; return how many.

    Only who holds the domain may ask for it: then no flow run of it is alive here. Like the diary, it never stops the work.
    """
    try:
        here = store.client()
        found = here.search_runs([store.experiment(domain)], "attributes.status = 'RUNNING'", max_results=1000)
        own = [run for run in found if run.data.tags.get("host") == socket.gethostname()]
        dead = {run.info.run_id for run in own if run.data.tags.get("kind") == "flow"}
        dead |= {run.info.run_id for run in own if run.data.tags.get("mlflow.parentRunId") in dead}
        for run in sorted(dead):
            here.set_terminated(run, status="KILLED")
        return len(dead)
    except Exception as error:  # whatever MLflow, its database or the disk raise
        log.warning("runs that were killed stay open in the diary: %s", store.first_line(error))
        return 0

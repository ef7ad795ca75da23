"""What `make up` looks after while it runs: rows that changed, and runs whose process was killed."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import UUID

from flows.locks import bury, dead_runs
from tasks.memory import SEEN, data_version

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

EVENT: Final = "loramill.data.changed"
"""What prefect.yaml waits for to start a night at once."""
RESOURCE: Final = "loramill.data"
PAUSE_SECONDS: Final = 2.0
GRACE_SECONDS: Final = 60.0
"""How long a worker that lives may take to tell the server that a run of its own was killed."""
ATTEMPTS: Final = 5
"""Times that a run is started at most: one that kills its process each time stays dead."""


class Tender:
    """Looks around every few seconds; nothing that it meets ends the services."""

    def __init__(self) -> None:
        self._rows = Rows()
        self._found: dict[str, float] = {}
        self._next = 0.0

    def look(self) -> list[str]:
        """Do what is to be done, if it is time; return it in words."""
        if time.monotonic() < self._next:
            return []
        self._next = time.monotonic() + PAUSE_SECONDS
        try:
            said = self.revive(GRACE_SECONDS)
            if version := self._rows.news():
                tell_of_rows(version)
                said.append(f"data.dvc changed to {version[:12]}: a night starts now")
            return said
        except Exception as error:  # the server may be away for a moment; services go on without being looked after
            return [f"could not look after the runs: {str(error) or type(error).__name__}"]

    def revive(self, grace: float) -> list[str]:
        """Let the runs go on whose process is gone; return what was done with each.

        Args:
            grace: seconds left for their worker to report them; 0 if there is none.
        """
        dead = dead_runs()
        self._found = {run: self._found.get(run, time.monotonic()) for run in dead}
        if not dead:
            return []
        from prefect.client.orchestration import get_client

        with get_client(sync_client=True) as client:
            said = [_revived(client, run, time.monotonic() - self._found[run] >= grace) for run in dead]
        return [text for text in said if text]


class Rows:
    """Tells when ``data.dvc`` changed, unless a run itself wrote it."""

    def __init__(self) -> None:
        self._known = _version()

    def news(self) -> str:
        """Return the new version of the rows, if there is one since it was asked last."""
        now = _version()
        if not now or now == self._known:
            return ""
        self._known = now
        own = SEEN.read_text(encoding="utf-8") if SEEN.is_file() else ""
        return "" if now == own else now


def bury_own() -> list[str]:
    """Write down of runs that were typed here and killed that they are dead; those of a deployment are `make up`'s to revive.

    Nothing that the server says keeps the next run from its work.
    """
    try:
        if not (dead := dead_runs()):
            return []
        from prefect.client.orchestration import get_client

        with get_client(sync_client=True) as client:
            return [said for run in dead if _is_own(client, run) and (said := _revived(client, run, is_certain=True))]
    except Exception as error:
        return [f"could not look after runs that were killed: {str(error) or type(error).__name__}"]


def tell_of_rows(version: str) -> None:
    """Emit the event on which prefect.yaml starts a night."""
    from prefect.events import emit_event

    resource = {"prefect.resource.id": RESOURCE, "prefect.resource.name": "data.dvc"}
    emit_event(event=EVENT, resource=resource, payload={"md5": version})


def _is_own(client: "SyncPrefectClient", run: str) -> bool:
    """Tell whether a run of this server was started without a deployment."""
    from prefect.exceptions import ObjectNotFound

    try:
        return client.read_flow_run(UUID(run)).deployment_id is None
    except (ObjectNotFound, ValueError):
        return False


def _version() -> str:
    """Return the version of the rows; nothing while the file is being written."""
    from yaml import YAMLError

    try:
        return data_version() if Path("data.dvc").is_file() else ""
    except (ValueError, TypeError, LookupError, OSError, YAMLError):
        return ""


def _revived(client: "SyncPrefectClient", run: str, is_certain: bool) -> str:
    """Schedule a dead run again, or write down that it is dead; return what was done, if anything."""
    from prefect.client.schemas.objects import StateType
    from prefect.exceptions import ObjectNotFound
    from prefect.states import AwaitingRetry, Crashed

    try:
        found = client.read_flow_run(UUID(run))
    except (ObjectNotFound, ValueError):  # another server's
        bury(run)
        return ""
    kind = found.state_type
    if kind in {StateType.RUNNING, StateType.PENDING} and not is_certain:
        return ""
    said = ""
    if kind in {StateType.RUNNING, StateType.PENDING, StateType.CRASHED}:
        _end_tasks(client, found.id)
        if found.deployment_id is not None and found.run_count < ATTEMPTS:
            client.set_flow_run_state(found.id, AwaitingRetry(message="its process was killed; it goes on"), force=True)
            said = f"the process of run {found.name} was killed: it goes on (attempt {found.run_count + 1})"
        elif kind != StateType.CRASHED:
            why = f"its process was killed {found.run_count} times" if found.deployment_id else "its process was killed"
            client.set_flow_run_state(found.id, Crashed(message=why), force=True)
            said = f"run {found.name} is dead: {why}"
    bury(run)  # only now: had the server not answered, the run would be looked for again
    return said


def _end_tasks(client: "SyncPrefectClient", run: UUID) -> None:
    """End the task runs of a dead flow run: Prefect leaves those of a killed process running for ever."""
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed

    of_run = FlowRunFilter(id=FlowRunFilterId(any_=[run]))
    for each in client.read_task_runs(flow_run_filter=of_run):
        if each.state_type in {StateType.RUNNING, StateType.PENDING}:
            client.set_task_run_state(each.id, Crashed(message="its process was killed"), force=True)

"""The diary and the registry: the only file that knows MLflow.

Writing into the diary never stops a training: what MLflow refuses becomes a warning. The registry is asked directly and says
so when it cannot answer. Adapters are stored, base weights never.
"""

import functools
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, Final, Literal, ParamSpec, cast

from loramill.errors import TrackingError

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger("loramill")
P = ParamSpec("P")
_PASSWORD: Final = re.compile(r"://[^/\s]*@")
Alias = Literal["champion", "challenger"]


@dataclass(frozen=True)
class Version:
    """One registered adapter."""

    domain: str
    number: str
    digest: str
    folder: Path
    run_id: str


def tracking_uri() -> str:
    """Return ``MLFLOW_TRACKING_URI``, or the database in ``mlruns/`` of this folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path('mlruns').resolve()}/mlflow.db"


def _tolerant(method: Callable[Concatenate["Diary", P], None]) -> Callable[Concatenate["Diary", P], bool]:
    """Turn a failure to write into a warning, and say whether it was written; a silent diary writes nothing."""

    @functools.wraps(method)
    def write(diary: "Diary", /, *args: P.args, **kwargs: P.kwargs) -> bool:
        if not diary.run_id:
            return False
        try:
            method(diary, *args, **kwargs)
        except Exception as error:  # whatever MLflow, its database or the disk raise
            log.warning("the diary missed an entry (%s): %s", method.__name__, _first_line(error))
            return False
        return True

    return cast(Callable[Concatenate["Diary", P], bool], write)


@dataclass(frozen=True)
class Diary:
    """What is written about one run; an empty ``run_id`` writes nothing."""

    domain: str
    run_id: str = ""

    @_tolerant
    def note(self, tags: Mapping[str, object]) -> None:
        """Write tags."""
        for key, value in tags.items():
            _client().set_tag(self.run_id, key, str(value))

    @_tolerant
    def settings(self, values: Mapping[str, object]) -> None:
        """Write parameters; a nested mapping becomes dotted names."""
        for key, value in _flat(values):
            _client().log_param(self.run_id, key, str(value)[:6000])

    @_tolerant
    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Write one number for each name."""
        for key, value in values.items():
            _client().log_metric(self.run_id, key, float(value), step=step)

    @_tolerant
    def curve(self, name: str, values: Sequence[float] | Mapping[int, float]) -> None:
        """Write a whole curve at once, one value per step from 0, or a part of it by step."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        points = values.items() if isinstance(values, Mapping) else enumerate(values)
        entries = [Metric(name, float(value), now, step) for step, value in points]
        for start in range(0, len(entries), 1000):
            _client().log_batch(self.run_id, metrics=entries[start : start + 1000])

    @_tolerant
    def table(self, name: str, rows: Sequence[Mapping[str, object]]) -> None:
        """Add rows to a table that MLflow shows and compares between runs."""
        columns = {key: [row[key] for row in rows] for key in rows[0]}
        _client().log_table(self.run_id, columns, f"{name}.json")

    @_tolerant
    def file(self, path: Path, folder: str = "") -> None:
        """Store a file or a whole folder among the run's artifacts."""
        store = _client().log_artifacts if path.is_dir() else _client().log_artifact
        store(self.run_id, str(path), folder or None)

    @contextmanager
    def child(self, name: str) -> Iterator["Diary"]:
        """Open a run below this one."""
        if not self.run_id:
            yield self
            return
        with _run(self.domain, name, {"mlflow.parentRunId": self.run_id}) as diary:
            yield diary


_SILENT: Final = Diary("unnamed")
_current: ContextVar[Diary] = ContextVar("diary", default=_SILENT)


def diary() -> Diary:
    """Return the diary that is open here; a silent one if none is."""
    return _current.get()


@contextmanager
def open_diary(domain: str, name: str, tags: Mapping[str, object]) -> Iterator[Diary]:
    """Open a run in the domain's experiment and make it `diary()` until the block ends.

    An exception ends the run as FAILED, an interruption as KILLED.
    """
    with _run(domain, name, tags) as opened:
        token = _current.set(opened)
        try:
            yield opened
        finally:
            _current.reset(token)


@contextmanager
def continue_diary(domain: str, run_id: str) -> Iterator[Diary]:
    """Make a run that another process opened, and will end, `diary()` until the block ends."""
    token = _current.set(Diary(domain, run_id))
    try:
        yield _current.get()
    finally:
        _current.reset(token)


@contextmanager
def _run(domain: str, name: str, tags: Mapping[str, object]) -> Iterator[Diary]:
    opened = _started(domain, name, tags)
    status = "FAILED"
    try:
        yield opened
        status = "FINISHED"
    except (KeyboardInterrupt, SystemExit):
        status = "KILLED"
        raise
    finally:
        _ended(opened, status)


def _started(domain: str, name: str, tags: Mapping[str, object]) -> Diary:
    try:
        plain = {"domain": domain, "pid": str(os.getpid())} | {key: str(value) for key, value in tags.items()}
        run = _client().create_run(_experiment(domain), tags=plain, run_name=name)
        return Diary(domain, run.info.run_id)
    except Exception as error:  # tracking must not stop the work
        log.warning("no diary for this run, the work goes on without it: %s", _first_line(error))
        return Diary(domain)


@_tolerant
def _ended(opened: Diary, status: str) -> None:
    _client().set_terminated(opened.run_id, status=status)


def prepare_store() -> str:
    """Create the database if it is new, one process at a time; return its address."""
    uri = tracking_uri()
    if uri.startswith("sqlite:///"):
        from filelock import FileLock

        place = Path(uri.removeprefix("sqlite:///"))
        place.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{place}.lock"):
            _client().search_experiments(max_results=1)
    return uri


def register(adapter: Path, *, digest: str, facts: Mapping[str, object], metrics: Mapping[str, float]) -> Version:
    """Store an adapter folder and make it the next version of its domain; the same digest is registered once only.

    Raises:
        TrackingError: the registry did not answer.
    """
    owner = diary()
    with _answering("register the adapter"):
        client = _client()
        if known := _by_digest(owner.domain, digest):
            return known
        model = client.create_logged_model(
            _experiment(owner.domain),
            name=f"{owner.domain}-lora",
            source_run_id=owner.run_id or None,
            model_type="lora",
            tags={key: str(value) for key, value in facts.items()} | {"digest": digest},
        )
        client.log_model_artifacts(model.model_id, str(adapter))
        client.finalize_logged_model(model.model_id, "READY")
        for key, value in metrics.items() if owner.run_id else ():
            client.log_metric(owner.run_id, key, value, model_id=model.model_id)
        if not any(m.name == owner.domain for m in client.search_registered_models(f"name = '{owner.domain}'")):
            client.create_registered_model(owner.domain)
        version = client.create_model_version(
            owner.domain,
            f"models:/{model.model_id}",
            run_id=owner.run_id or None,
            model_id=model.model_id,
            tags={"digest": digest},
        )
        return _version(owner.domain, version)


def point(alias: Alias, version: Version) -> None:
    """Let an alias of the domain name this version.

    Raises:
        TrackingError: the registry did not answer.
    """
    with _answering(f"move {alias}"):
        _client().set_registered_model_alias(version.domain, alias, version.number)


def find(domain: str, alias: Alias) -> Version | None:
    """Return the version that an alias names, if any.

    Raises:
        TrackingError: the registry did not answer.
    """
    from mlflow.exceptions import MlflowException

    with _answering(f"look up {alias}"):
        prepare_store()
        try:
            return _version(domain, _client().get_model_version_by_alias(domain, alias))
        except MlflowException as error:
            if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"} and _is_missing(error):
                return None
            raise


def _is_missing(error: Exception) -> bool:
    return "not found" in str(error).lower()


def _by_digest(domain: str, digest: str) -> Version | None:
    found = _client().search_model_versions(f"name = '{domain}' and tags.digest = '{digest}'")
    return _version(domain, found[0]) if found else None


def _version(domain: str, version: Any) -> Version:
    from mlflow.artifacts import download_artifacts

    folder = download_artifacts(artifact_uri=version.source, tracking_uri=tracking_uri())
    return Version(domain, str(version.version), version.tags.get("digest", ""), Path(folder), version.run_id or "")


@contextmanager
def _answering(what: str) -> Iterator[None]:
    try:
        yield
    except TrackingError:
        raise
    except Exception as error:
        raise TrackingError(
            f"could not {what}: MLflow at {_without_password(tracking_uri())} says {_first_line(error)!r}. "
            "Nothing is lost; run the same command again when it answers"
        ) from error


def _first_line(error: Exception) -> str:
    """Return what an error says in one line, without a password that its address may hold."""
    text = _PASSWORD.sub("://***@", str(error)).strip() or type(error).__name__
    return text.splitlines()[0]


def _without_password(uri: str) -> str:
    return _PASSWORD.sub("://***@", uri)


def _experiment(domain: str) -> str:
    client = _client()
    prepare_store()
    if found := client.get_experiment_by_name(domain):
        return str(found.experiment_id)
    place = Path("mlruns/artifacts").resolve() / domain if tracking_uri().startswith("sqlite:") else None
    kind = {"mlflow.experimentKind": "custom_model_development"}  # the UI opens on runs, not on traces
    return str(client.create_experiment(domain, artifact_location=place.as_uri() if place else None, tags=kind))


def _client() -> "MlflowClient":
    import mlflow
    from mlflow import MlflowClient

    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # a dead server costs seconds, not minutes
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # it would tear the training's own bar
    mlflow.set_tracking_uri(tracking_uri())  # the registry looks logged models up through this global
    for noisy in ("alembic", "mlflow.store.db.utils", "mlflow.tracking"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    return MlflowClient(tracking_uri=tracking_uri(), registry_uri=tracking_uri())


def _flat(values: Mapping[str, object], before: str = "") -> Iterator[tuple[str, object]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value

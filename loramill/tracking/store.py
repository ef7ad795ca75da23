"""Where MLflow lies, how it is reached, and what is said when it does not answer."""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from loramill.errors import LoramillError, TrackingError
from loramill.reports import disk_full_explained, stops_wait

if TYPE_CHECKING:
    from mlflow import MlflowClient

_PASSWORD: Final = re.compile(r"://[^/\s]*@")
_SQLITE: Final = "sqlite:///"
LOCK_SECONDS: Final = 60.0
"""Longest wait for another process of this machine that changes the registry."""


def tracking_uri() -> str:
    """Return ``MLFLOW_TRACKING_URI``, or the database in ``mlruns/`` of this folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}{Path('mlruns').resolve()}/mlflow.db"


def prepare_store() -> str:
    """Create the database if it is new, one process at a time; return its address."""
    uri = tracking_uri()
    if uri.startswith(_SQLITE):
        from filelock import FileLock

        place = Path(uri.removeprefix(_SQLITE))
        place.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{place}.lock"):
            client().search_experiments(max_results=1)
    return uri


@contextmanager
def alone(domain: str) -> Iterator[None]:
    """Let one process of this machine at a time change a domain's registry; other machines are not kept out."""
    from filelock import FileLock

    uri = tracking_uri()
    place = Path(uri.removeprefix(_SQLITE)).parent if uri.startswith(_SQLITE) else Path("mlruns").resolve()
    place.mkdir(parents=True, exist_ok=True)
    with FileLock(place / f".{domain}.lock", timeout=LOCK_SECONDS):
        yield


@contextmanager
def answering(what: str) -> Iterator[None]:
    """Turn what MLflow, its database or the network raise into a `TrackingError` that says what could not be done.

    A full disk and a mistake in the code stay what they are: waiting helps neither.
    """
    try:
        with disk_full_explained(Path("mlruns")), stops_wait():
            yield
    except LoramillError:
        raise
    except _refusals() as error:
        raise TrackingError(
            f"could not {what}: MLflow at {_without_password(tracking_uri())} says {first_line(error)!r}. "
            "Nothing is lost; run the same command again when it answers"
        ) from error


def _refusals() -> tuple[type[Exception], ...]:
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return MlflowException, SQLAlchemyError, OSError


def experiment(domain: str) -> str:
    """Return the id of a domain's experiment; it is made if need be."""
    here = client()
    prepare_store()
    if found := here.get_experiment_by_name(domain):
        return str(found.experiment_id)
    place = Path("mlruns/artifacts").resolve() / domain if tracking_uri().startswith("sqlite:") else None
    kind = {"mlflow.experimentKind": "custom_model_development"}  # the UI opens on runs, not on traces
    return str(here.create_experiment(domain, artifact_location=place.as_uri() if place else None, tags=kind))


def client() -> "MlflowClient":
    """Return a client of runs and registry."""
    import mlflow
    from mlflow import MlflowClient

    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # a dead server costs seconds, not minutes
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # it would tear the training's own bar
    mlflow.set_tracking_uri(tracking_uri())  # the registry looks logged models up through this global
    for noisy in ("alembic", "mlflow.store.db.utils", "mlflow.tracking"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    return MlflowClient(tracking_uri=tracking_uri(), registry_uri=tracking_uri())


def first_line(error: Exception) -> str:
    """Return what an error says in one line, without a password that its address may hold."""
    text = _without_password(str(error)).strip() or type(error).__name__
    return text.splitlines()[0]


def _without_password(text: str) -> str:
    return _PASSWORD.sub("://***@", text)

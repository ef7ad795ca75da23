"""The record of a search: an Optuna study in a database, and beside it who works on what.

Everything that a decision rests on is written here before anything follows from it: a proposal with its settings, each check's
loss, how each member of a trial ended. Numbers are rounded first, so that the last bits of a float, which differ with the
company in a pack, decide nothing.
"""

import json
import os
import re
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loramill.config import Settings
from loramill.errors import ConfigError, TrackingError
from loramill.search.claims import Claim, Claims
from loramill.search.proposals import Proposal
from loramill.search.space import settings_of

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial

DIGITS = 4
"""Digits of a loss (nats per token) that are kept."""
STORAGE = "LORAMILL_STUDY_STORAGE"
"""Environment variable with the address of a shared database, password and all."""
OPENINGS = 5
"""Times that a database which several workers create at once is tried."""


@dataclass(frozen=True)
class Member:
    """One training of a trial: all of it, or one fold."""

    status: str
    loss: float | None
    """Best validation loss (nats per token)."""
    targets: int
    """Tokens that the loss is a mean of."""
    rows: tuple[float, ...]
    """Summed loss of each validation row at the best check, in the rows' order; empty if it did not finish."""
    steps: int


@dataclass(frozen=True)
class Entry:
    """One trial as it stands in the record."""

    number: int
    settings: Settings
    seed: int
    losses: Mapping[int, float]
    """Validation loss of its first member, by check."""
    members: Mapping[int, Member]
    """The members that ended, by fold."""
    state: str | None
    """``complete``, ``pruned`` or ``fail``; none while it is under way."""
    value: float | None


class Record:
    """A study in a database, as one worker sees it."""

    def __init__(self, name: str, storage: Path | str, patience: float = 60.0) -> None:
        self._storage = _open(storage)
        self.study = _opened(name, self._storage)
        self._id = self._storage.get_study_id_from_name(name)
        self.name = name
        self.claims = Claims(self._storage.engine, name, patience)

    def entries(self) -> list[Entry]:
        """Return all trials, by number."""
        return [_entry(trial) for trial in self.study.get_trials(deepcopy=False)]

    def begin(self, number: int, proposal: Proposal, seed: int) -> bool:
        """Claim and write down the next trial; False if another worker did."""
        if not self.claims.take(number):
            return False
        self._write(number, proposal, seed)
        return True

    def take_over(self, claim: Claim, proposal: Proposal, seed: int) -> bool:
        """Claim a dead worker's trial, and write it down if that worker died in between; False if another worker did."""
        if not self.claims.take_over(claim):
            return False
        self._write(claim.trial, proposal, seed)
        return True

    def report(self, number: int, check: int, loss: float) -> float:
        """Write down a loss; return it as it stands."""
        self._storage.set_trial_intermediate_value(self._trial_id(number), check, round(loss, DIGITS))
        return round(loss, DIGITS)

    def keep(self, number: int, fold: int, member: Member) -> None:
        """Write down how a member ended."""
        self._storage.set_trial_user_attr(self._trial_id(number), f"member {fold}", asdict(member))

    def tell(self, number: int, state: str, value: float | None) -> bool:
        """Write down a trial's end; False if it was known."""
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        values = [value] if state == "complete" and value is not None else None
        try:
            return bool(self._storage.set_trial_state_values(self._trial_id(number), TrialState[state.upper()], values))
        except UpdateFinishedTrialError:
            return False

    def spent(self, seconds: float | None = None) -> float:
        """Return the seconds that the search has taken; with ``seconds``, note them first."""
        known = float(self.study.user_attrs.get("seconds", 0.0))
        if seconds is not None and seconds > known:
            self.study.set_user_attr("seconds", seconds)
            return seconds
        return known

    def _write(self, number: int, proposal: Proposal, seed: int) -> None:
        from optuna.trial import TrialState, create_trial

        if len(self.study.get_trials(deepcopy=False)) != number:
            return  # somebody did
        facts = {"settings": proposal.settings.model_dump(mode="json", exclude_none=True), "seed": seed}
        trial = create_trial(
            state=TrialState.RUNNING,
            params=proposal.params,
            distributions=proposal.distributions,
            user_attrs=facts,
        )
        self.study.add_trial(trial)

    def _trial_id(self, number: int) -> int:
        return int(self._storage.get_trial_id_from_study_id_trial_number(self._id, number))


def storage_of(storage: str | None, file: Path) -> Path | str:
    """Return where a study is kept: the environment's address, that of ``conf/``, or a file."""
    return os.environ.get(STORAGE) or storage or file


def address_of(storage: Path | str) -> str:
    """Return the address of a study's database."""
    return f"sqlite:///{storage.resolve()}" if isinstance(storage, Path) else storage


def _open(storage: Path | str) -> "RDBStorage":
    """Open the database.

    Raises:
        ConfigError: its driver is not installed.
        TrackingError: it does not answer.
    """
    import optuna
    from sqlalchemy.exc import ArgumentError, OperationalError, SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if isinstance(storage, Path):
        storage.parent.mkdir(parents=True, exist_ok=True)
    address = address_of(storage)
    shown = re.sub(r"://[^/@]*@", "://…@", address)
    options = {"connect_args": {"timeout": 60}} if address.startswith("sqlite") else {"pool_pre_ping": True}
    for opening in range(OPENINGS):
        try:
            return optuna.storages.RDBStorage(address, engine_kwargs=options)
        except ImportError as error:
            raise ConfigError(
                f"the study's database {shown!r} needs a driver that is not installed; "
                'for PostgreSQL: pip install "loramill[postgres]"'
            ) from error
        except ArgumentError as error:
            raise ConfigError(f"{shown!r} is no address of a database; write postgresql://host/name") from error
        except SQLAlchemyError as error:
            if opening == OPENINGS - 1 or isinstance(error, OperationalError):
                raise TrackingError(
                    f"the study's database {shown!r} does not answer ({_first_line(error, address)}); start it, or correct "
                    f"search.storage or {STORAGE}"
                ) from None
            time.sleep(0.2 * (opening + 1))  # another worker is making the tables
    raise AssertionError


def _opened(name: str, storage: "RDBStorage") -> "Study":
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return optuna.create_study(study_name=name, storage=storage, load_if_exists=True, direction="minimize")


def _first_line(error: Exception, address: str) -> str:
    said = str(getattr(error, "orig", None) or error).strip().split("\n")[0]
    return said.replace(address, "it")


def _entry(trial: "FrozenTrial") -> Entry:
    kept = {int(key.split()[1]): value for key, value in trial.user_attrs.items() if key.startswith("member ")}
    return Entry(
        number=trial.number,
        settings=settings_of(trial.user_attrs["settings"]),
        seed=trial.user_attrs["seed"],
        losses=dict(trial.intermediate_values),
        members={fold: Member(**{**value, "rows": tuple(value["rows"])}) for fold, value in sorted(kept.items())},
        state=trial.state.name.lower() if trial.state.is_finished() else None,
        value=trial.value if trial.state.name == "COMPLETE" else None,
    )


def pooled(members: Sequence[Member]) -> float | None:
    """Return the loss over all folds (nats per token): each target token counts the same."""
    losses = [(member.loss, member.targets) for member in members]
    if any(loss is None for loss, _ in losses):
        return None
    return round(
        sum(loss * count for loss, count in losses if loss is not None) / sum(count for _, count in losses), DIGITS
    )


def facts_of(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Return trials as plain values for a report."""
    return [
        {
            "trial": entry.number,
            "state": entry.state,
            "loss": entry.value if entry.state == "complete" else min(entry.losses.values(), default=None),
            **json.loads(entry.settings.model_dump_json(exclude_none=True)),
        }
        for entry in entries
    ]

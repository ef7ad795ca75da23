"""What the data room says about a row that it did not simply take."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Refused:
    """A row that cannot be used, and why."""

    source: str
    """``file:line``."""
    rule: str
    """One word that names the rule, the same in ``conf/``, reports and exports."""
    reason: str
    """What is wrong, with the value and the next move, for a person."""
    text: str = ""
    """The row's beginning."""


@dataclass(frozen=True, slots=True)
class Changed:
    """A row that was changed before anything else saw it; there may be as many as rows, so each is small."""

    source: str
    id: str
    """The row's id after the change."""
    found: Mapping[str, int]
    """What was replaced, by kind, and how often; never the text itself."""


@dataclass(frozen=True)
class Warned:
    """Rows that are kept, although a person should look at them."""

    rule: str
    reason: str
    sources: tuple[str, ...]

"""The diary, the registry and the audit log: the only room that knows MLflow.

Writing into the diary never stops a training: what MLflow refuses becomes a warning. The registry is asked directly and says
so when it cannot answer. Adapters are stored, base weights never.
"""

from loramill.tracking.audit import read_audit, write_audit
from loramill.tracking.champions import Move, champion_number, earlier, move_champion, moves, reject_version
from loramill.tracking.leftovers import end_leftovers
from loramill.tracking.registry import (
    Alias,
    Entry,
    Version,
    entries,
    entry_of,
    fetch,
    find,
    point,
    register,
    retire,
    run_tags,
    tag,
)
from loramill.tracking.retirement import take_down
from loramill.tracking.runs import Diary, continue_diary, diary, open_diary
from loramill.tracking.store import prepare_store, tracking_uri

__all__ = [
    "Alias",
    "Diary",
    "Entry",
    "Move",
    "Version",
    "champion_number",
    "continue_diary",
    "diary",
    "earlier",
    "end_leftovers",
    "entries",
    "entry_of",
    "fetch",
    "find",
    "move_champion",
    "moves",
    "open_diary",
    "point",
    "prepare_store",
    "read_audit",
    "register",
    "reject_version",
    "retire",
    "run_tags",
    "tag",
    "take_down",
    "tracking_uri",
    "write_audit",
]

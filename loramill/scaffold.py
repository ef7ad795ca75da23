"""A new domain in one command: its file in ``conf/``, its folder in ``data/``, its stages and its deployment."""

import io
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from loramill.errors import ConfigError
from loramill.reports import write_text

NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
RESERVED = frozenset({"default", "bases", "logs", "nightly", "work"})
"""Names of other files in ``conf/`` and ``artifacts/``."""


def make_domain(name: str, root: Path) -> list[str]:
    """Make what a domain needs; return what was made and what comes next, a line each.

    Raises:
        ConfigError: the name is taken or cannot be used.
    """
    if not NAME.fullmatch(name) or name in RESERVED:
        raise ConfigError(
            f"domain {name!r}: use lower-case letters, digits and dashes, starting with a letter, up to 40"
        )
    plan = root / "conf" / f"{name}.yaml"
    if plan.exists():
        raise ConfigError(f"domain {name!r} exists already: {plan}")
    sections = "".join(
        f"{section}: {{}}\n"
        for section in ("validation", "split", "learning", "search", "train", "evaluate", "promote", "nightly")
    )
    write_text(plan, f"# What differs from conf/default.yaml for {name}.\nbase: embedded\n{sections}")
    (root / "data" / name).mkdir(parents=True, exist_ok=True)
    edit_section(root / "dvc.yaml", "vars", lambda content: content["vars"][0]["domains"].append(name))
    edit_section(
        root / "prefect.yaml", "deployments", lambda content: content["deployments"].append(_deployment(content, name))
    )
    return [
        f"made conf/{name}.yaml, data/{name}/, the stages in dvc.yaml, the deployment finetune/{name} in prefect.yaml",
        f"next: put your rows into data/{name}/ (.txt, .json, .jsonl, .csv, .xlsx or .parquet), then `loramill run {name}`",
    ]


def _deployment(content: Any, name: str) -> dict[str, Any]:
    pattern = next(entry for entry in content["deployments"] if "domain" in entry["parameters"])
    return {
        **{key: value if _has_anchor(value) else deepcopy(value) for key, value in pattern.items()},
        "name": name,
        "description": f"{name}, from rows to a registered adapter with a verdict.",
        "parameters": {"domain": name},
    }


def _has_anchor(value: Any) -> bool:
    """Whether a person gave this value a name (``&local``); what has none is copied, or one would be made up."""
    anchor = getattr(value, "anchor", None)
    return anchor is not None and anchor.value is not None


def edit_section(path: Path, section: str, change: Any) -> None:
    """Change one top-level section of a YAML file; its comments and every other line stay as they are.

    Args:
        path: the file.
        section: the key; if it is not there, it comes last.
        change: is given the file's content and changes that section in place.
    """
    yaml = YAML()
    yaml.width = 4096
    yaml.preserve_quotes = True
    yaml.indent(mapping=2, sequence=4, offset=2)
    before = path.read_text(encoding="utf-8")
    content = yaml.load(before) or {}
    old = before.split("\n")
    start, end = _lines_of(section, content) if section in content else (len(before.rstrip("\n").split("\n")), None)
    change(content)
    dumped = io.StringIO()
    yaml.dump(content, dumped)
    after = dumped.getvalue()
    first, last = _lines_of(section, yaml.load(after))
    new = after.split("\n")
    write_text(path, "\n".join([*old[:start], *new[first:last], *([] if end is None else old[end:])]))


def _lines_of(section: str, content: Any) -> tuple[int, int | None]:
    """Return where a top-level section begins and where the next one does."""
    starts = [content.lc.key(key)[0] for key in content]
    start = content.lc.key(section)[0]
    return start, min((line for line in starts if line > start), default=None)

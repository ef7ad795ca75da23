"""A new domain in one command: its file in ``conf/``, its folder in ``data/``, its stages and its deployment."""

import io
import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from loramill.errors import ConfigError
from loramill.reports import write_text

NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")


def make_domain(name: str, root: Path) -> list[str]:
    """Make what a domain needs; return what was made and what comes next, a line each.

    Raises:
        ConfigError: the name is taken or cannot be used.
    """
    if not NAME.fullmatch(name) or name in {"default", "bases"}:
        raise ConfigError(
            f"domain {name!r}: use lower-case letters, digits and dashes, starting with a letter, up to 40"
        )
    plan = root / "conf" / f"{name}.yaml"
    if plan.exists():
        raise ConfigError(f"domain {name!r} exists already: {plan}")
    sections = "".join(
        f"{section}: {{}}\n"
        for section in ("validation", "split", "learning", "search", "train", "evaluate", "promote")
    )
    write_text(plan, f"# What differs from conf/default.yaml for {name}.\nbase: embedded\n{sections}")
    (root / "data" / name).mkdir(parents=True, exist_ok=True)
    _edit(root / "dvc.yaml", lambda content: content["vars"][0]["domains"].append(name))
    _edit(root / "prefect.yaml", lambda content: content["deployments"].append(_deployment(content, name)))
    return [
        f"made conf/{name}.yaml, data/{name}/, the stages in dvc.yaml, the deployment finetune/{name} in prefect.yaml",
        f"next: put your rows into data/{name}/ (.txt dialogues, .json, .jsonl or .csv), then `loramill run {name}`",
    ]


def _deployment(content: Any, name: str) -> dict[str, Any]:
    pattern = content["deployments"][0]
    return {
        **pattern,
        "name": name,
        "description": f"{name}, from rows to a registered adapter with a verdict.",
        "parameters": {"domain": name},
        "schedules": [{"cron": "0 3 * * *", "timezone": pattern["schedules"][0]["timezone"], "slug": "nightly"}],
    }


def _edit(path: Path, change: Any) -> None:
    """Change a YAML file and keep its comments."""
    yaml = YAML()
    yaml.width = 160
    yaml.indent(mapping=2, sequence=4, offset=2)
    content = yaml.load(path.read_text(encoding="utf-8"))
    change(content)
    text = io.StringIO()
    yaml.dump(content, text)
    write_text(path, text.getvalue())

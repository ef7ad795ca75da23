"""From values to one HTML file: everything escaped, styles and script inside, the network forbidden by the page itself."""

import base64
import hashlib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

TEMPLATES: Final = Path(__file__).parent / "templates"
UNPRINTABLE: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)
"""Control characters, writing-direction overrides, lone surrogates: a row must not rearrange the page it is shown on."""


def render(folder: Path, template: str, values: Mapping[str, Any]) -> str:
    """Fill a room's own template, which extends ``skeleton.html`` of this room.

    Args:
        folder: where the room keeps its templates.
        template: file name there.
        values: what the template asks for; an unknown name is an error, never an empty place.
    """
    script = (TEMPLATES / "language.js").read_text(encoding="utf-8")
    inside = {"script": script, "script_hash": _content_hash(script)}
    return str(_environment(folder).get_template(template).render({**values, **inside}))


@cache
def _environment(folder: Path) -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([folder, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "percent": percent, "excerpt": excerpt}
    return environment


def number(value: float) -> str:
    """Write 12345 as ``12,345``."""
    return f"{value:,.0f}"


def percent(share: float) -> str:
    """Write 0.155 as ``16 %``; what is small but there is never ``0 %``."""
    return "<1\u00a0%" if 0 < share < 0.005 else f"{share:.0%}".replace("%", "\u00a0%")


def excerpt(text: str, longest: int = 80) -> str:
    """Return the beginning of a row's text on one line; what cannot be printed becomes ``\ufffd``."""
    line = " ".join(UNPRINTABLE.sub("\ufffd", text[: 4 * longest]).split())
    return line if len(line) <= longest and len(text) <= 4 * longest else f"{line[:longest].rstrip()}…"


def _content_hash(script: str) -> str:
    """Return what a content security policy calls the script's hash, so that no other script may run."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()

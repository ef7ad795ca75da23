"""The proof sheet of a forgotten row: for whoever asked for it, without a word of the row."""

from collections.abc import Mapping
from typing import Any

from loramill.pages.render import TEMPLATES, render


def forgotten_page(content: Mapping[str, Any]) -> str:
    """Return the sheet as one HTML file.

    Args:
        content: what ``prove`` found: row, adapters, replacement, losses.
    """
    losses = content["loss"]
    known = {"before": losses.get("before", {}), "after": losses.get("after"), "base": losses.get("base")}
    return render(TEMPLATES, "forgotten.html", {**content, "loss": known, "is_measured": bool(losses)})

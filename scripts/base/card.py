"""Write the model card: sources, recipe, course and worth, each from what the making left behind; the words are a template."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loramill.reports import digest_of_file, read_json, write_text
from scripts.base.history import HISTORY, Progress, read_history
from scripts.base.recipe import Recipe
from scripts.base.score import WINDOW
from scripts.base.screen import ALIKE, HELD_OUT_PERCENT, LIKE_A_ROW
from scripts.base.sources import SOURCES

TEMPLATE = Path(__file__).with_name("card.template.md")


def write_card(folder: Path, card: Path, recipe: Recipe) -> Path:
    """Write the card and, beside it, the picture of the loss; return the card.

    Args:
        folder: what ``make`` and ``compare`` left.
        card: where to, a .md file.
        recipe: the numbers that the base was made by.
    """
    figures, comparison = read_json(folder / "text" / "figures.json"), read_json(folder / "comparison.json")
    history = read_history(folder / HISTORY)
    card.parent.mkdir(parents=True, exist_ok=True)
    picture = card.with_name(f"{card.stem}-loss.svg")
    draw_curve(history, recipe, picture)
    text = TEMPLATE.read_text(encoding="utf-8").format(
        **_size(folder / "base" / "model.safetensors"),
        **_screened(figures),
        **_course(history[-1], recipe),
        picture=picture.name,
        worth=worth_table(comparison["loss"]),
        window=WINDOW,
        answers="\n\n".join(map(_said, comparison["answers"])),
    )
    return write_text(card, text)


def _size(weights: Path) -> dict[str, float | str]:
    size = weights.stat().st_size
    return {"megabytes": size / 1e6, "parameters": size / 2e6, "sha256": digest_of_file(weights)}


def _screened(figures: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "sources": sources_table(figures["sources"]),
        "like_a_row": sum(source.get(LIKE_A_ROW, 0) for source in figures["sources"].values()),
        "alike": ALIKE,
        "nearest": figures["nearest"],
        "percent": HELD_OUT_PERCENT,
        "held_out": figures["held_out"],
    }


def _course(last: Progress, recipe: Recipe) -> dict[str, Any]:
    return {
        "context": recipe.context,
        "block": recipe.block,
        "settling": 1.0 - recipe.settle,
        "tokens": last.tokens / 1e6,
        "steps": last.step,
        "minutes": last.spent / 60.0,
        "loss": last.loss,
        "knobs": "\n".join(f"| {name} | {value} |" for name, value in asdict(recipe).items()),
    }


def sources_table(figures: Mapping[str, Mapping[str, int]]) -> str:
    """Return a table of the sources: licence, documents and characters learnt or held out, documents dropped."""
    lines = ["| source | licence | documents | characters | dropped |", "|---|---|---:|---:|---:|"]
    total = [0, 0, 0]
    for source in SOURCES:
        own = figures[source.name]
        row = [own.get("kept", 0), own.get("characters", 0)]
        row.append(sum(own.values()) - sum(row))
        lines.append(f"| {source.name}: {source.origin} | {source.licence} | {row[0]:,} | {row[1]:,} | {row[2]:,} |")
        total = [one + other for one, other in zip(total, row, strict=True)]
    return "\n".join([*lines, f"| together | | {total[0]:,} | {total[1]:,} | {total[2]:,} |"])


def worth_table(losses: Mapping[str, Mapping[str, float]]) -> str:
    """Return a table of sources against bases."""
    names = list(losses)
    lines = [f"| source | {' | '.join(names)} |", f"|---|{'---:|' * len(names)}"]
    for source in losses[names[0]]:
        figures = " | ".join(f"{losses[name][source]:.3f}" for name in names)
        lines.append(f"| {source} | {figures} |")
    return "\n".join(lines)


def _said(row: Mapping[str, str]) -> str:
    lines = [f"- {name}: {' '.join(said.split()) or '(nothing)'}" for name, said in row.items() if name != "question"]
    return "\n".join([f"**{row['question']}**", "", *lines])


def draw_curve(history: Sequence[Progress], recipe: Recipe, path: Path) -> None:
    """Draw the training loss over tokens, with the point where the learning rate begins to fall."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = path.name
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 3.5))
    axes.plot([line.tokens / 1e6 for line in history], [line.loss for line in history], linewidth=1)
    falling = [line.tokens / 1e6 for line in history if line.share >= recipe.settle]
    if falling:
        axes.axvline(
            falling[0], linewidth=1, linestyle=":", color="grey", label="the rate falls, the text turns to dialogue"
        )
        axes.legend(frameon=False)
    axes.set_xlabel("million tokens")
    axes.set_ylabel("loss, nats per token")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)

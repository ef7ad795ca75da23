"""Write the model card: sources, recipe, course and worth, each from what the making left behind; the words are a template."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loramill.reports import digest_of_file, read_json, write_text
from scripts.base.history import HISTORY, Progress, read_history
from scripts.base.recipe import Recipe
from scripts.base.score import QUESTIONS, WINDOW, Worth
from scripts.base.screen import ALIKE, HELD_OUT_PERCENT, LIKE_A_ROW
from scripts.base.sources import SOURCES

TEMPLATE = Path(__file__).with_name("card.template.md")
CARD, PICTURE = "README.md", "loss.svg"


def write_card(made: Path, place: Path, recipe: Recipe, worths: Mapping[str, Worth]) -> Path:
    """Write the card of the base in ``place`` and, beside it, the picture of the loss; return the card.

    Args:
        made: what ``make`` left.
        place: the base's folder.
        recipe: the numbers that the base was made by.
        worths: what the bases are worth that are to be compared, by name.
    """
    history = read_history(made / HISTORY)
    draw_curve(history, recipe, place / PICTURE)
    text = TEMPLATE.read_text(encoding="utf-8").format(
        **_size(place / "model.safetensors"),
        **_screened(read_json(made / "text" / "figures.json")),
        **_course(history[-1], recipe),
        picture=PICTURE,
        worth=worth_table({name: worth.losses for name, worth in worths.items()}),
        window=WINDOW,
        answers="\n\n".join(_said(number, worths) for number in range(len(QUESTIONS))),
    )
    return write_text(place / CARD, text)


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
        "shelves": ", ".join(
            f"{shelf['tokens'] / 1e6:.1f} million for {name}" for name, shelf in figures["shelves"].items()
        ),
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


def _said(number: int, worths: Mapping[str, Worth]) -> str:
    lines = [f"- {name}: {' '.join(worth.answers[number].split()) or '(nothing)'}" for name, worth in worths.items()]
    return "\n".join([f"**{QUESTIONS[number]}**", "", *lines])


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
    axes.set_ylabel("training loss, nats per token")
    axes.grid(alpha=0.3)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)

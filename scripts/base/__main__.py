"""``python -m scripts.base make``: sources to a finished base, resumable; ``compare`` and ``card`` say what it is worth."""

import datetime
import signal
import time
from pathlib import Path
from threading import Event
from typing import Annotated

import typer

from loramill.errors import ConfigError, LoramillError
from loramill.privacy import switch_off_telemetry
from scripts.base.recipe import Recipe

app = typer.Typer(add_completion=False, help=__doc__)
Sources = Annotated[Path, typer.Option(help="folder that holds one folder per source, see docs/base.md")]
Folder = Annotated[Path, typer.Option(help="state, checkpoints, history and the finished base")]


@app.callback()
def main() -> None:
    """Make the embedded base, and say what it is worth."""
    switch_off_telemetry()


@app.command()
def make(
    sources: Sources = Path("../shared/data"),
    data: Annotated[Path, typer.Option(help="domains whose rows are kept out")] = Path("data"),
    folder: Folder = Path("artifacts/pretraining"),
    minutes: Annotated[float, typer.Option(help="time budget; a resumed run gets it anew")] = 110.0,
    until: Annotated[str, typer.Option(help="HH:MM in UTC, instead of minutes")] = "",
    extend: Annotated[bool, typer.Option(help="go back to before the learning rate fell, and train longer")] = False,
) -> None:
    """Make the base; go on where the last run stopped."""
    from scripts.base.prepare import prepare
    from scripts.base.train import go_back_to_level, train

    end = deadline(minutes, until)
    recipe = Recipe()
    text = prepare(sources, data, folder / "text", recipe, typer.echo)
    if extend:
        go_back_to_level(folder)
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    run = train(text, folder, recipe, end, lambda line: typer.echo(line.as_text(end)), stop.is_set)
    if stop.is_set():
        typer.echo(f"stopped after step {run.step}; the same command goes on from there")
        return
    from scripts.base.export import export

    typer.echo(f"made {export(run.model, text / 'tokenizer', folder / 'base')}")


@app.command()
def compare(
    folder: Folder = Path("artifacts/pretraining"),
    bases: Annotated[Path, typer.Option(help="where the one-minute base lies or will lie")] = Path("artifacts/bases"),
) -> None:
    """Score the finished base and the one-minute base on the held-out texts, and let both answer."""
    from loramill.pack.embedded import make_embedded
    from loramill.reports import read_json, write_json
    from scripts.base.score import QUESTIONS, answers, score

    texts = read_json(folder / "text" / "held-out.json")
    places = {"one-minute base": make_embedded(bases), "this base": folder / "base"}
    said = {name: answers(place, QUESTIONS) for name, place in places.items()}
    rows = [{"question": question, **{name: said[name][i] for name in said}} for i, question in enumerate(QUESTIONS)]
    losses = {name: score(place, texts) for name, place in places.items()}
    write_json(folder / "comparison.json", {"loss": losses, "answers": rows})
    typer.echo("\n".join(f"{name}: {loss}" for name, loss in losses.items()))


@app.command()
def card(
    folder: Folder = Path("artifacts/pretraining"),
    to: Annotated[Path, typer.Option(help="the model card")] = Path("docs/base.md"),
) -> None:
    """Write the model card and the picture of its loss."""
    from scripts.base.card import write_card

    typer.echo(write_card(folder, to, Recipe()))


def deadline(minutes: float, until: str) -> float:
    """Return seconds since the epoch at which the training ends.

    Raises:
        ConfigError: ``until`` is no HH:MM.
    """
    if not until:
        return time.time() + 60.0 * minutes
    now = datetime.datetime.now(datetime.UTC)
    try:
        end = datetime.datetime.combine(now.date(), datetime.time.fromisoformat(until), datetime.UTC)
    except ValueError as error:
        raise ConfigError(f"--until {until!r} is no time of day; write HH:MM in UTC, 08:25") from error
    return (end if end > now else end + datetime.timedelta(days=1)).timestamp()


def run() -> None:
    """Run a command; an error that a person can act on is one line."""
    try:
        app()
    except LoramillError as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(1) from error


if __name__ == "__main__":
    run()

"""``python -m scripts.base make``: sources to a finished base, resumable; ``deliver`` puts it into the package, measured."""

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
CARD = "loramill/pack/weights/README.md"
Sources = Annotated[Path, typer.Option(help=f"folder that holds one folder per source, see {CARD}")]
Data = Annotated[Path, typer.Option(help="domains whose rows are kept out")]
Folder = Annotated[Path, typer.Option(help="state, checkpoints, history and the finished base")]
Bases = Annotated[Path, typer.Option(help="where the one-minute base lies or will lie")]
Scores = Annotated[Path, typer.Option(help="what a run of the law domain left")]
Before = Annotated[Path, typer.Option(help="the outcome on the one-minute base")]
BEFORE = Path("scripts/base/law.before.json")


@app.callback()
def main() -> None:
    """Make the embedded base, say what it is worth, and deliver it."""
    switch_off_telemetry()


@app.command()
def make(
    sources: Sources = Path("../shared/data"),
    data: Data = Path("data"),
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
def convert(folder: Folder = Path("artifacts/pretraining")) -> None:
    """Write pickled checkpoints of an earlier version as safetensors; only then does `make` go on from them."""
    from scripts.base import checkpoint
    from scripts.base.train import CHECKPOINTS, LEVEL

    for path in [made for name in (CHECKPOINTS, LEVEL) for made in checkpoint.convert(folder / name)]:
        typer.echo(path)


@app.command()
def inspect(folder: Folder = Path("artifacts/pretraining"), data: Data = Path("data")) -> None:
    """Look for rows of the domains, as they are now, in the token ids that were learnt; a near-duplicate is an error."""
    from scripts.base.proof import nearest_learnt
    from scripts.base.screen import ALIKE

    found = nearest_learnt(folder / "text", data)
    typer.echo(f"{found.texts:,} texts; the nearest to a row has {found.likeness:.2f}: {found.text}")
    if found.likeness >= ALIKE:
        raise typer.Exit(1)


@app.command()
def deliver(
    folder: Folder = Path("artifacts/pretraining"),
    bases: Bases = Path("artifacts/bases"),
    to: Annotated[Path, typer.Option(help="the base's folder in the package")] = Path("loramill/pack/weights"),
    pinned: Annotated[Path, typer.Option(help="where its digest is written")] = Path("conf/bases/embedded.yaml"),
) -> None:
    """Score the finished base and the one-minute base, let both answer, and put the finished one into the package."""
    from loramill.pack.one_minute import make_one_minute
    from loramill.reports import read_json
    from scripts.base.card import worth_table
    from scripts.base.deliver import deliver as put
    from scripts.base.score import worth

    texts = read_json(folder / "text" / "held-out.json")
    places = {"one-minute base": make_one_minute(bases.resolve()), "embedded base": folder / "base"}
    worths = {name: worth(place, texts) for name, place in places.items()}
    digest = put(folder, worths, to, pinned, Recipe())
    typer.echo(worth_table({name: found.losses for name, found in worths.items()}))
    typer.echo(f"delivered {to}, digest {digest}; now run the law domain, then `python -m scripts.base law`")


@app.command()
def law_before(scores: Scores = Path("artifacts/law/scores.json"), to: Before = BEFORE) -> None:
    """Keep what a run of the law domain on the one-minute base left, for `law` to compare with."""
    from scripts.base.law import keep, outcome_of

    typer.echo(keep(outcome_of(scores), to))


@app.command()
def law(
    scores: Scores = Path("artifacts/law/scores.json"),
    before: Before = BEFORE,
    to: Annotated[Path, typer.Option(help="the page")] = Path("docs/embedded-base.md"),
) -> None:
    """Write what the law domain makes of the embedded base, beside the one-minute base: figures, ten answers."""
    from scripts.base.law import kept, outcome_of, write_page

    typer.echo(write_page(kept(before), outcome_of(scores), to))


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

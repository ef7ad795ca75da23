"""A search as pictures: how the best loss fell, what mattered, which ways lead there, and what is mere noise."""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loramill.search.study import Entry, Record
from loramill.search.verdict import Found

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger("loramill")


def draw(record: Record, entries: Sequence[Entry], found: Found, report: Path) -> list[Path]:
    """Draw ``search-{noise,history,importance,parallel}.png`` beside the report; trials may be too few for some."""
    from optuna.visualization import matplotlib as plots

    asked: dict[str, Callable[[], Any]] = {
        "history": lambda: plots.plot_optimization_history(record.study),
        "importance": lambda: plots.plot_param_importances(record.study),
        "parallel": lambda: plots.plot_parallel_coordinate(record.study),
    }
    drawn = [_noise(entries, found, report.with_name("search-noise.png"))]
    with _quiet():
        for name, plot in asked.items():
            path = report.with_name(f"search-{name}.png")
            if _optuna(plot, path):
                drawn.append(path)
            else:
                path.unlink(missing_ok=True)
    return drawn


def _optuna(plot: Callable[[], Any], path: Path) -> bool:
    from matplotlib import pyplot

    try:
        axes = plot()
    except (ValueError, RuntimeError, ZeroDivisionError) as error:
        log.info("no picture %s: %s", path.name, error)
        return False
    figure: Figure = axes.figure
    figure.set_size_inches(9, 5)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return True


def _noise(entries: Sequence[Entry], found: Found, path: Path) -> Path:
    """Draw every whole trial by learning rate with its rank, and the band in which the best cannot be told apart."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    whole = [(entry.settings, entry.value) for entry in entries if entry.value is not None]
    best = min(value for _, value in whole)
    axes.axhspan(best, best + found.noise, color="#f5b041", alpha=0.35, label=f"within the noise ({found.noise:.3f})")
    axes.axhline(found.corrected, color="#7f8c8d", linestyle="--", linewidth=1, label="corrected for the choice")
    rates = [settings.learning_rate for settings, _ in whole]
    axes.scatter(rates, [value for _, value in whole], color="#2c3e50", label="whole trials")
    for settings, value in whole:
        place = (settings.learning_rate, value)
        axes.annotate(f"r={settings.rank}", place, textcoords="offset points", xytext=(5, 5), fontsize=8)
    axes.scatter([found.settings.learning_rate], [found.loss], marker="*", s=160, color="#c0392b", label="taken")
    axes.set(xscale="log", title=found.said, xlabel="learning rate", ylabel="validation loss (nats per token)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    return path


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna calls its pictures experimental, each time; where nobody has a screen, pyplot must not look for one."""
    import matplotlib

    before = matplotlib.get_backend()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        matplotlib.use("agg")
        yield
        matplotlib.use(before)

"""Curves as pictures, for people who would rather look."""

from collections.abc import Sequence
from pathlib import Path


def loss_curve(
    path: Path, title: str, train: Sequence[float], validation: Sequence[float], steps_per_epoch: int
) -> Path:
    """Draw training loss per step and validation loss per epoch (nats per target token) into a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(range(1, len(train) + 1), train, color="#9db8d9", linewidth=1, label="training, each step")
    epochs = [epoch * steps_per_epoch for epoch in range(len(validation))]
    axes.plot(epochs, validation, color="#c0392b", marker="o", markersize=4, label="validation, each epoch")
    if validation:
        best = min(range(len(validation)), key=validation.__getitem__)
        axes.annotate(
            f"kept: {validation[best]:.3f}", (epochs[best], validation[best]), textcoords="offset points", xytext=(6, 8)
        )
    axes.set(title=title, xlabel="optimizer step", ylabel="loss (nats per token)")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper right")  # curves fall; looking for the best place costs seconds on long ones
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    return path


def trials_picture(path: Path, rates: Sequence[float], losses: Sequence[float | None], ranks: Sequence[int]) -> Path:
    """Draw every trial: learning rate against best validation loss, the rank beside each point."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    shown = [(rate, loss, rank) for rate, loss, rank in zip(rates, losses, ranks, strict=True) if loss is not None]
    axes.scatter([rate for rate, _, _ in shown], [loss for _, loss, _ in shown], color="#2c3e50")
    for rate, loss, rank in shown:
        axes.annotate(f"r={rank}", (rate, loss), textcoords="offset points", xytext=(5, 5), fontsize=8)
    axes.set(xscale="log", title="trials", xlabel="learning rate", ylabel="best validation loss (nats per token)")
    axes.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    return path

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

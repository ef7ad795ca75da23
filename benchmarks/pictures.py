"""Draw what the benchmarks measured last, and put its tables into docs/: ``python -m benchmarks.pictures``.

It reads ``artifacts/benchmarks/<name>.jsonl``, of each base the newest line that has it. Picture and table of a benchmark that
never ran here stay as they are.
"""

from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.contest import ROOT, WORK
from benchmarks.memory import summary_table
from benchmarks.one_adapter import base_table
from benchmarks.packed import members_table as packed_table
from benchmarks.peak import members_table as peak_table
from benchmarks.peak import profile_table
from benchmarks.products import sizes_table
from benchmarks.results import newest
from benchmarks.search import CONTESTANTS, ROWS
from benchmarks.search import shown as search_table

PICTURES = ROOT / "docs" / "pictures"
OURS, THEIRS, FRAME = "#2a6f97", "#b5b5b5", "#444444"
COLOURS = (OURS, "#c77d3a", "#7a9e5f", "#8a6fa8")
ALLOWED = 0.15
"""Gap between plan and peak that the memory plan may have."""
TARGET = 1.5
"""Speed-up that a pack of 8 should have on a CPU."""


def main() -> None:
    """Redraw everything for which there are results."""
    for name, draw in DRAWN.items():
        lines = list(newest(name, WORK))
        if lines:
            draw(lines)
        print(f"{name}: {'drawn' if lines else 'never ran here'}")


def one_adapter(lines: list[dict[str, Any]]) -> None:
    """Bars of speed and memory for each base."""
    bases: dict[str, Any] = {}
    for line in lines:
        bases = line["bases"] | bases
    figure, axes = _figure(len(bases), 2)
    for (base, measured), (speed, peak) in zip(bases.items(), axes, strict=True):
        names = sorted(measured, key=lambda name: measured[name]["tokens_per_second"])
        colours = [OURS if name == "loramill" else THEIRS for name in names]
        for axis, key, title in ((speed, "tokens_per_second", "tokens/s"), (peak, "peak_mib", "peak MiB")):
            bars = axis.barh(names, [measured[name][key] for name in names], color=colours)
            axis.bar_label(bars, fmt="{:,.0f}", padding=3, fontsize=8)
            axis.set_title(f"{base}: {title}", fontsize=9)
            axis.margins(x=0.18)
            axis.set_xticks([])
        peak.set_yticks([])
    _save(figure, "one-adapter")
    put("speed", "one_adapter", "\n\n".join(f"{base}:\n\n{base_table(one)}" for base, one in bases.items()))


def packed(lines: list[dict[str, Any]]) -> None:
    """A line for each base and batch: speed-up over K."""
    bases = _by_base([line for line in lines if "batches" in line])
    series = {
        f"{base}, batch {batch}": members for base, one in bases.items() for batch, members in one["batches"].items()
    }
    figure, ((axis,),) = _figure(1, 1)
    for name, members in series.items():
        counts = [int(count) for count in members]
        axis.plot(counts, [each["speedup"] for each in members.values()], marker="o", label=name)
    for height, said in ((1.0, "in sequence"), (TARGET, "target at K = 8")):
        axis.axhline(height, color=FRAME, linewidth=0.8, linestyle="--")
        axis.annotate(said, (1, height), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=8)
    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_formatter("{x:.0f}")
    axis.set_ylim(0, max(1.2 * TARGET, *axis.get_ylim()))
    axis.set_xlabel("members K")
    axis.set_ylabel("one pack against in sequence")
    axis.legend(frameon=False, fontsize=8)
    _save(figure, "packed")
    put("speed", "packed", "\n\n".join(f"{name}:\n\n{packed_table(members)}" for name, members in series.items()))


def peak(lines: list[dict[str, Any]]) -> None:
    """Bars of the share of the machine's peak."""
    bases = _by_base(lines)
    figure, ((axis,),) = _figure(1, 1)
    shares = {f"{base}, K = {k}": each["share"] for base, one in bases.items() for k, each in one["members"].items()}
    bars = axis.barh(list(shares), list(shares.values()), color=OURS)
    axis.bar_label(bars, fmt="{:.0%}", padding=3, fontsize=8)
    axis.set_xlim(0, 1)
    axis.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axis.set_xlabel("share of the fastest matrix product of this machine")
    _save(figure, "peak")
    told = [
        f"{base}, peak {one['peak_flops'] / 1e9:,.0f} GFLOP/s:\n\n{peak_table(one['members'])}"
        for base, one in bases.items()
    ]
    put("speed", "peak", "\n\n".join(told))
    shown = next((line["profiles"] for line in lines if line.get("profiles")), None)
    if shown:
        put("speed", "profile", profile_table(shown))


def memory(lines: list[dict[str, Any]]) -> None:
    """Plan over measured peak, and the band in which it should lie."""
    points = next(line for line in lines if line["heap"] == "exact")["points"]
    figure, ((axis,),) = _figure(1, 1)
    bases = {point["base"] for point in points}
    for base, marker in zip(sorted(bases), "osD^vP", strict=False):
        own = [point for point in points if point["base"] == base]
        axis.plot(*([_mib(point, key) for point in own] for key in ("measured", "planned")), marker, ms=4, label=base)
    ends = [0.9 * min(_mib(one, "measured") for one in points), 1.1 * max(_mib(one, "measured") for one in points)]
    axis.plot(ends, ends, color=FRAME, linewidth=0.8)
    axis.fill_between(
        ends, [end * (1 - ALLOWED) for end in ends], [end * (1 + ALLOWED) for end in ends], color=THEIRS, alpha=0.35
    )
    axis.set_xlabel("measured peak, MiB (band: 15 %)")
    axis.set_ylabel("plan, MiB")
    axis.legend(frameon=False, fontsize=8)
    _save(figure, "memory-plan")
    gaps = sorted(abs(point["error"]) for point in points)
    told = f"{len(points)} points; half of them are off by less than {median(gaps):.1%}, the worst by {gaps[-1]:.1%}."
    put("memory", "memory", f"{told.replace('%', ' %')}\n\n{summary_table(points)}")


def products(lines: list[dict[str, Any]]) -> None:
    """A table only."""
    put("speed", "products", sizes_table(lines[0]["sizes"]))


def search(lines: list[dict[str, Any]]) -> None:
    """The best loss so far over time on the embedded base: each seed a line, each contestant a colour."""
    by_trials: dict[str, Any] = {}
    for line in lines:
        whole = line.get("base") == "embedded" and line["rows"] == ROWS
        by_trials = (line["by_trials"] if whole else {}) | by_trials
    if not by_trials:
        return
    figure, axes = _figure(1, len(by_trials))
    told = []
    for (trials, one), axis in zip(by_trials.items(), axes[0], strict=True):
        for name, contestant in one["contestants"].items():
            colour = COLOURS[list(CONTESTANTS).index(name)]
            for seed, trace in enumerate(contestant["traces"]):
                ended = [(at, loss) for at, loss in trace if loss is not None]
                best = list(accumulate((loss for _, loss in ended), min))
                times = [*(at for at, _ in ended), trace[-1][0]]
                axis.step(times, [*best, best[-1]], where="post", color=colour, lw=0.8, alpha=0.5)
                axis.plot(times[-1], best[-1], "o", color=colour, ms=5, label=None if seed else f"{name}: the end")
        axis.set_title(f"{trials} trials", fontsize=9)
        axis.set_xlabel("seconds")
        axis.set_ylabel("best validation loss so far")
        axis.legend(frameon=False, fontsize=8)
        told.append(f"{trials} trials:\n\n{search_table(one['contestants'])}")
    _save(figure, "search-contest")
    put("search", "search", "\n\n".join(told))


DRAWN = {
    "one_adapter": one_adapter,
    "packed": packed,
    "peak": peak,
    "products": products,
    "memory": memory,
    "search": search,
}


def put(page: str, name: str, text: str, folder: Path = ROOT / "docs") -> None:
    """Replace what stands between a page's two marks.

    Raises:
        ValueError: the page has no such marks.
    """
    file = folder / f"{page}.md"
    begin, end = f"<!-- measured: {name} -->", f"<!-- end: {name} -->"
    before, found, rest = file.read_text(encoding="utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"{file} lacks the lines {begin!r} and {end!r}, between which the table belongs")
    file.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")


def _by_base(lines: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    bases: dict[str, dict[str, Any]] = {}
    for line in lines:
        bases.setdefault(line["base"], line)
    return bases


def _mib(point: Mapping[str, Any], key: str) -> float:
    return float(point[key]) / 2**20


def _figure(rows: int, columns: int) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.2 if rows == 1 else 1.9 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
        axis.xaxis.label.set_size(9)
        axis.yaxis.label.set_size(9)
    return figure, axes


def _save(figure: Any, name: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURES / f"{name}.png", dpi=130, metadata={"Software": None})


if __name__ == "__main__":
    main()

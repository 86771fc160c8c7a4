"""The plots of a report, as matplotlib figures made without its global state.

Colours: blue for mated, orange for non-mated, both told apart by every kind of colour vision (Okabe and Ito 2008).
"""

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from kith.evaluation.bootstrap import Estimate, percent
from kith.evaluation.curves import Curve
from kith.evaluation.identification import AtSize

_SIZE_IN = (6.4, 4.0)
_DPI = 150


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours of a page: ground, ink and the fainter ink of grids; mated and non_mated; others by turn."""

    ground: str
    ink: str
    faint: str
    mated: str
    non_mated: str
    series: tuple[str, ...]


LIGHT = Palette("#ffffff", "#1c2430", "#d5dae1", "#0072b2", "#d55e00", ("#0072b2", "#d55e00", "#009e73"))
DARK = Palette("#161b22", "#dfe5ec", "#333c48", "#56b4e9", "#e69f00", ("#56b4e9", "#e69f00", "#2fc798"))


def png(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    held = io.BytesIO()
    with warnings.catch_warnings():
        # A name in a script the font lacks shows as boxes; nobody needs a line about each letter.
        warnings.simplefilter("ignore", UserWarning)
        # No software version in it: the same figures give the same file.
        FigureCanvasAgg(figure)
        figure.savefig(held, format="png", facecolor=figure.get_facecolor(), metadata={"Software": None})
    return held.getvalue()


def histogram(
    mated: NDArray[np.floating[Any]],
    non_mated: NDArray[np.floating[Any]],
    cutoffs: Sequence[tuple[str, float]],
    palette: Palette,
    what: tuple[str, str] = ("mated", "non-mated"),
    across: str = "cosine to the nearest template",
) -> Figure:
    """How the scores of the two kinds lie, each with area 1; cutoffs: name and cosine of each line."""
    figure, axes = _axes(palette, across, "density")
    both = np.concatenate([mated, non_mated])
    edges = np.linspace(min(both.min(), 0.0), max(both.max(), 0.1), 61).tolist()
    for scores, colour, name in ((mated, palette.mated, what[0]), (non_mated, palette.non_mated, what[1])):
        axes.hist(
            scores,
            edges,
            density=True,
            histtype="stepfilled",
            alpha=0.35,
            color=colour,
            label=f"{name} ({len(scores):,})",
        )
        axes.hist(scores, edges, density=True, histtype="step", color=colour)
    for style, (name, cutoff) in zip(("-", "--", ":"), cutoffs, strict=False):
        axes.axvline(cutoff, color=palette.ink, linewidth=1.2, linestyle=style, label=f"{name}: {cutoff:.3f}")
    _legend(axes, palette)
    return figure


def roc(curves: Sequence[tuple[str, Curve]], palette: Palette) -> Figure:
    """TAR over FAR with 95 % bands; curves: name and curve of each set of pairs."""
    figure, axes = _axes(palette, "false accept rate (FAR)", "true accept rate (TAR)")
    lowest = 1.0
    for colour, (name, curve) in zip(palette.series, curves, strict=False):
        lowest = min(lowest, *(point.low for point in curve.accepted))
        _band(axes, curve.rates, curve.accepted, colour, name)
    axes.set_xscale("log")
    axes.set_ylim(max(0.0, lowest - 0.02), 1.005)
    _percent_axes(axes, x=True, y=True)
    _legend(axes, palette, "lower right")
    return figure


def det(curve: Curve, palette: Palette) -> Figure:
    """FNIR over FPIR, both logarithmic, with a 95 % band."""
    figure, axes = _axes(
        palette, "false positive identification rate (FPIR)", "false negative identification rate (FNIR)"
    )
    # A miss nobody had cannot be drawn on a logarithmic axis; such points end the curve.
    missed = [Estimate(1 - point.value, 1 - point.high, 1 - point.low) for point in curve.accepted]
    smallest = min((point.value for point in missed if point.value > 0), default=0.01) / 3
    shown = [(rate, point) for rate, point in zip(curve.rates, missed, strict=True) if point.value > 0]
    if shown:
        _band(
            axes,
            [rate for rate, _ in shown],
            [Estimate(point.value, max(point.low, smallest), point.high) for _, point in shown],
            palette.mated,
            "",
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    _percent_axes(axes, x=True, y=True)
    return figure


def sizes(found: Sequence[AtSize], palette: Palette) -> Figure:
    """rank-1 and TPIR at each FPIR over the number of subjects, with 95 % bars."""
    figure, axes = _axes(palette, "subjects in the gallery", "share of mated searches")
    lines = [("rank-1", [(size.subjects, size.ranks[1]) for size in found])]
    for column, at in enumerate(found[0].at):
        lines.append((f"TPIR at FPIR {percent(at.rate)}", [(size.subjects, size.at[column].share) for size in found]))
    lowest = 1.0
    for place, (colour, (name, points)) in enumerate(zip(palette.series, lines, strict=False)):
        shown = [(at, point) for at, point in points if isinstance(point, Estimate)]
        if not shown:
            continue
        values = np.array([(point.value, point.value - point.low, point.high - point.value) for _, point in shown])
        lowest = min(lowest, float((values[:, 0] - values[:, 1]).min()))
        # A little aside, so that bars of one size do not lie on one another.
        axes.errorbar(
            [at * 1.03 ** (place - 1) for at, _ in shown],
            values[:, 0],
            values[:, 1:].T,
            marker="o",
            markersize=4,
            capsize=3,
            color=colour,
            label=name,
        )
    axes.set_xscale("log")
    ticks = [size.subjects for size in found]
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_ylim(max(0.0, lowest - 0.02), 1.005)
    _percent_axes(axes, x=False, y=True)
    _legend(axes, palette, "lower left")
    return figure


def _axes(palette: Palette, across: str, up: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=_SIZE_IN, dpi=_DPI, layout="constrained", facecolor=palette.ground)
    axes = figure.add_subplot(facecolor=palette.ground)
    axes.set_xlabel(across, color=palette.ink)
    axes.set_ylabel(up, color=palette.ink)
    axes.tick_params(which="both", colors=palette.ink, labelcolor=palette.ink)
    axes.grid(color=palette.faint, linewidth=0.6)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(palette.ink)
    return figure, axes


def _band(axes: Axes, rates: Sequence[float], points: Sequence[Estimate], colour: str, name: str) -> None:
    axes.plot(rates, [point.value for point in points], color=colour, label=name)
    lows, highs = [point.low for point in points], [point.high for point in points]
    axes.fill_between(rates, lows, highs, color=colour, alpha=0.2, linewidth=0)


def _percent_axes(axes: Axes, *, x: bool, y: bool) -> None:
    shown = FuncFormatter(lambda rate, _: f"{100 * rate:.6g} %")
    for wanted, axis in ((x, axes.xaxis), (y, axes.yaxis)):
        if wanted:
            axis.set_major_formatter(shown)
            if axis.get_scale() == "log":
                axis.set_minor_formatter(NullFormatter())


def _legend(
    axes: Axes, palette: Palette, place: Literal["upper right", "lower right", "lower left"] = "upper right"
) -> None:
    if not axes.get_legend_handles_labels()[0]:
        return  # every line was refused
    axes.legend(
        loc=place,
        framealpha=0.85,
        facecolor=palette.ground,
        edgecolor=palette.faint,
        labelcolor=palette.ink,
        fontsize="small",
    )

"""A gallery's cutoff among the scores it divides, as a matplotlib figure made without its global state."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from kith.evaluation.plots import Palette

Scores = NDArray[np.floating[Any]]


def cutoff_plot(
    mated: Scores, non_mated: Scores, cutoff: float, interval: tuple[float, float] | None, palette: Palette
) -> Figure:
    """How the scores of mated and non-mated searches lie, each with area 1, the cutoff and its 95 % interval. Either
    may be empty."""
    figure = Figure(figsize=(6.4, 4.0), dpi=150, layout="constrained", facecolor=palette.ground)
    axes = figure.add_subplot(facecolor=palette.ground)
    every = np.concatenate([mated, non_mated, [0.0, 0.1, cutoff]])
    edges = np.linspace(every.min(), every.max(), 61).tolist()
    for scores, colour, name in ((mated, palette.mated, "mated"), (non_mated, palette.non_mated, "non-mated")):
        # The density of nothing is no number.
        if len(scores):
            axes.hist(scores, edges, density=True, alpha=0.35, color=colour, label=f"{name} ({len(scores):,})")
            axes.hist(scores, edges, density=True, histtype="step", color=colour)
    if interval is not None:
        axes.axvspan(*interval, color=palette.ink, alpha=0.15, linewidth=0, label="95 % interval")
    axes.axvline(cutoff, color=palette.ink, linewidth=1.2, label=f"cutoff {cutoff:.3f}")
    axes.set_xlabel("cosine to the nearest subject", color=palette.ink)
    axes.set_ylabel("density", color=palette.ink)
    axes.tick_params(colors=palette.ink)
    for spine in axes.spines.values():
        spine.set_color(palette.faint)
    axes.legend(facecolor=palette.ground, edgecolor=palette.faint, labelcolor=palette.ink, fontsize=8)
    return figure

"""Histograms of scores on both sides of a cutoff, as SVG: drawn here, styled by the pages' own style sheet."""

from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Cosines that are drawn, how wide a bar is, and the drawing in its own units.
LOW, HIGH, _STEP = -0.2, 1.0, 0.02
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 720, 230, 18, 30, 30


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Scores of one sort, (n,), and how much each counts. kind: its class in the style sheet. label: what they are."""

    kind: str
    label: str
    scores: Floats
    weights: Floats


def histogram(
    series: list[Series], cutoff: float, interval: tuple[float, float] | None = None, words: str = ""
) -> Markup:
    """Each sort as high as it may be, whatever their numbers: it is where they lie that matters. interval: 95 %, of the
    cutoff. words: for whoever does not see it."""
    parts = [
        Markup('<svg class="histogram" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(_WIDTH, _HEIGHT, words)
    ]
    if interval is not None:
        low, high = (_x(each) for each in interval)
        parts.append(
            Markup('<rect class="h-interval" x="{:.1f}" y="{}" width="{:.1f}" height="{}"/>').format(
                low, _TOP, max(1.0, high - low), _HEIGHT - _TOP - _BOTTOM
            )
        )
    for each in series:
        parts.append(Markup('<g class="h-{}"><title>{}</title>').format(each.kind, each.label))
        parts += _bars(each)
        parts.append(Markup("</g>"))
    base = _HEIGHT - _BOTTOM
    parts.append(
        Markup('<line class="h-axis" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(_LEFT, _WIDTH - _LEFT, base, base)
    )
    for tick in range(-2, 11, 2):
        parts.append(
            Markup('<text class="h-tick" x="{:.1f}" y="{}">{}</text>').format(
                _x(tick / 10), _HEIGHT - 8, f"{tick / 10:.1f}".replace("-", "−")
            )
        )
    at = _x(cutoff)
    parts.append(
        Markup(
            '<g class="h-cutoff" data-left="{}" data-width="{}" data-low="{}" data-high="{}">'
            '<line x1="{:.1f}" x2="{:.1f}" y1="{}" y2="{}"/><text x="{:.1f}" y="22">{:.2f}</text></g></svg>'
        ).format(_LEFT, _WIDTH - 2 * _LEFT, LOW, HIGH, at, at, _TOP - 2, base, at, cutoff)
    )
    return Markup("").join(parts)


def _bars(series: Series) -> list[Markup]:
    edges = np.arange(LOW, HIGH + _STEP / 2, _STEP)
    heights, _ = np.histogram(np.clip(series.scores, LOW, HIGH - 1e-9), edges, weights=series.weights)
    most = heights.max(initial=0.0)
    if most <= 0:
        return []
    room, base = _HEIGHT - _TOP - _BOTTOM, _HEIGHT - _BOTTOM
    width = _x(_STEP) - _x(0.0)
    return [
        Markup('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
            _x(float(edge)) + 0.5, base - tall, width - 1, tall
        )
        for edge, height in zip(edges, heights, strict=False)
        # The least bar that is seen: one search is one search.
        if height > 0 and (tall := max(1.5, room * float(height / most)))
    ]


def _x(score: float) -> float:
    share = (min(HIGH, max(LOW, score)) - LOW) / (HIGH - LOW)
    return _LEFT + share * (_WIDTH - 2 * _LEFT)

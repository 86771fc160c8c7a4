"""Small drawings of numbers, as SVG: no style stands in the page, so widths are attributes of shapes."""

from markupsafe import Markup


def gauge(score: float | None, cutoff: float | None) -> Markup:
    """A cosine on a scale of 0..1 with the cutoff as a mark; said in words for whoever does not see it."""
    at, mark = _per_cent(score), _per_cent(cutoff)
    said = "no score" if score is None else f"score {score:.2f}"
    needs = "" if cutoff is None else f", a match needs {cutoff:.2f}"
    reached = "over" if score is not None and cutoff is not None and score >= cutoff else "under"
    tick = "" if cutoff is None else f'<rect class="g-cutoff" x="{mark - 0.75:.2f}" y="0" width="1.5" height="10"/>'
    return Markup(  # noqa: S704 (numbers alone)
        f'<svg class="gauge {reached}" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" '
        f'aria-label="{said}{needs}"><rect class="g-track" y="3" width="100" height="4" rx="2"/>'
        f'<rect class="g-score" y="3" width="{at:.2f}" height="4" rx="2"/>{tick}</svg>'
    )


def bar(value: float, label: str, judged: bool = True) -> Markup:
    """A share of 1. label: what of; judged: whether more is better, and little is bad."""
    level = "plain" if not judged else "good" if value >= 0.6 else "fair" if value >= 0.3 else "poor"
    return Markup(
        '<svg class="gauge {level}" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" '
        'aria-label="{label} {percent} of 100"><rect class="g-track" y="3" width="100" height="4" rx="2"/>'
        '<rect class="g-score" y="3" width="{width}" height="4" rx="2"/></svg>'
    ).format(level=level, label=label, percent=round(100 * value), width=f"{_per_cent(value):.2f}")


def _per_cent(value: float | None) -> float:
    return 0.0 if value is None else 100 * min(1.0, max(0.0, value))

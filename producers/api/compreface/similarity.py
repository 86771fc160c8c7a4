"""What a cosine is on CompreFace's scale, 0..1, on which its users have set their thresholds.

CompreFace makes its similarity of the Euclidean distance d of two unit vectors: (tanh((c − d) · s) + 1) / 2, with c and
s chosen for each of its models such that 0.5 tells right from wrong (EuclideanDistanceClassifier, and its page
docs/Face-Recognition-Similarity-Threshold.md). Here it is the same curve with the same slope, and c is the distance at
the gallery's cutoff: 0.5 is what Kith decides by, wherever that stands for this model and this gallery.
"""

from math import sqrt, tanh

#: Of CompreFace's default models.
SLOPE = 5.291995557

#: As many decimals as CompreFace shows.
_PLACES = 5
#: The lowest of a match, and the highest of what is none.
_MATCH, _NO_MATCH = 0.5, 0.49999


def similarity(score: float, cutoff: float, match: bool) -> float:
    """score, cutoff: cosines. match: whether Kith decided that it is this person; never below 0.5 then, and never from
    0.5 up otherwise, for a match may need a lead as well (the margin), which no single number shows."""
    value = round((tanh((_distance(cutoff) - _distance(score)) * SLOPE) + 1) / 2, _PLACES)
    return max(value, _MATCH) if match else min(value, _NO_MATCH)


def _distance(cosine: float) -> float:
    # Rounding may leave a cosine a hair above 1.
    return sqrt(max(0.0, 2.0 - 2.0 * cosine))

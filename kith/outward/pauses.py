"""Pauses between attempts: doubling from the first to the longest, random by half, so that those who failed together do
not come back together."""

import random


def pause_s(attempts: int, first_s: float, longest_s: float, dice: random.Random | None = None) -> float:
    """After so many failed attempts, 1 or more."""
    whole_s = min(longest_s, first_s * 2.0 ** min(attempts - 1, 60))
    # Not for secrets: only to be different from others.
    return whole_s * (0.5 + 0.5 * (dice or random).random())

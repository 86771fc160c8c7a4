"""The phases a run has when nobody names any.

From scratch a margin between classes comes first and its head is cut off; triplets on random weights collapse or learn
slowly. Triplets then move what the classes left close, at a lower rate. See docs/learning.md for what was measured.
"""

from typing import Any


def default_phases(*, teacher: bool, start: bool) -> list[dict[str, Any]]:
    """Phases as a configuration holds them. teacher: there is one. start: there are trained weights to begin with."""
    if teacher:
        return [
            {"objective": "distil-pieces", "epochs": 6, "learning_rate": 3e-3, "final_learning_rate": 3e-4},
            {"objective": "distil", "epochs": 20, "learning_rate": 1e-3},
        ]
    triplets = {"objective": "triplet", "miner": "semi-hard", "epochs": 10, "learning_rate": 1e-4}
    if start:
        return [triplets]
    return [{"objective": "NormalizedSoftmaxLoss", "epochs": 30, "learning_rate": 1e-3}, triplets]

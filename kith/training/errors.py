"""What can go wrong with learning: a leaf of the tree in kith.errors."""

from kith.errors import Rejected


class Diverged(Rejected):
    """The loss of a training run is no number any more."""

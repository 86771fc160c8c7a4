"""What can go wrong with fetching packs: a leaf of the tree in kith.errors."""

from kith.errors import Retryable


class DownloadFailed(Retryable):
    """A server of models cannot be reached, or broke off again and again; what has arrived is kept."""

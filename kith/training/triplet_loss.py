"""The triplet loss of FaceNet (Schroff, Kalenichenko and Philbin, CVPR 2015): nearer to one's own than to others."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

#: α of FaceNet, in squared distance of unit vectors.
MARGIN = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class Triplets:
    """Rows of a batch, one triplet each. anchors, positives, negatives: (t,) int64; the positive shows the anchor's
    subject in another row, the negative somebody else."""

    anchors: Tensor
    positives: Tensor
    negatives: Tensor

    def __len__(self) -> int:
        return len(self.anchors)


@dataclass(frozen=True, slots=True)
class TripletLoss:
    """value: 0-d, with gradient. active: share of the triplets whose loss is above zero. count: of all triplets."""

    value: Tensor
    active: float
    count: int


def triplet_loss(embeddings: Tensor, triplets: Triplets, margin: float = MARGIN) -> TripletLoss:
    """max(0, |A−P|² − |A−N|² + margin), the mean over the *active* triplets, those where it is above zero.

    embeddings: (n, d) unit rows. Averaged over all, the gradient would fade as triplets become easy, although those
    that are left teach as much as before. With no active triplet the value is 0, and so is its gradient; NaN stays NaN.
    """
    # Differences, not 2 − 2cos: exact where two vectors meet, and without the root that has no gradient there.
    anchors = embeddings[triplets.anchors]
    to_positive = (anchors - embeddings[triplets.positives]).square().sum(dim=1)
    to_negative = (anchors - embeddings[triplets.negatives]).square().sum(dim=1)
    losses = functional.relu(to_positive - to_negative + margin)
    active = int((losses > 0).sum())
    return TripletLoss(losses.sum() / max(active, 1), active / max(len(triplets), 1), len(triplets))

"""Classification losses whose head is cut off afterwards: softmax on unit vectors, and its relatives with a margin.

They are pytorch-metric-learning's, by its names; each holds the weights of a final layer over the training subjects.
"""

import torch
from torch import nn

from kith.errors import Rejected

#: What a configuration may name, and what it does: losses with one weight vector (or a few) per class.
MARGIN_LOSSES = {
    "ArcFaceLoss": "an angle is added to that of the right class (Deng et al. 2019)",
    "CosFaceLoss": "a margin is taken off the cosine of the right class (Wang et al. 2018)",
    "NormalizedSoftmaxLoss": "softmax over cosines, no margin (Zhai and Wu 2019)",
    "ProxyAnchorLoss": "classes are anchors, images their positives and negatives (Kim et al. 2020)",
    "ProxyNCALoss": "neighbourhood components with one proxy per class (Movshovitz-Attias et al. 2017)",
    "SubCenterArcFaceLoss": "ArcFace with several centres per class, for labels that are not clean (Deng et al. 2020)",
}


def margin_loss(name: str, classes: int, dimension: int, seed: int = 0, **options: float) -> nn.Module:
    """loss(embeddings (n, dimension), labels (n,) in 0..classes−1) → 0-d tensor; embeddings need not be unit vectors.

    Its own weights are random under `seed`. options: of the loss, by pytorch-metric-learning's names (`margin`,
    `scale`). Raises Rejected for a name or an option it does not know.
    """
    if name not in MARGIN_LOSSES:
        raise Rejected(f"no margin loss is called {name!r}; known: {', '.join(MARGIN_LOSSES)}")
    # Loaded when used: it comes with the extra `train`.
    from pytorch_metric_learning import losses  # noqa: PLC0415

    # Its weights come from torch's global generator, which is put back as it was.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        try:
            loss: nn.Module = getattr(losses, name)(num_classes=classes, embedding_size=dimension, **options)
        except TypeError as unknown:
            raise Rejected(f"{name}: {unknown}") from None
    return loss

"""How far a student detector is from its teacher: in every cell whether a face is there, on faces where exactly.

Dense distillation: the teacher's answer in every cell is the target, nothing is assigned and nothing labelled. Places
are measured in shares of the face, so that a small face counts as much as a large one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

#: Where the teacher's score is below it, its box and landmarks mean nothing.
MIN_SCORE = 0.3

#: Weight of the class where there is no face: the teacher was never taught it there, and the score is a product.
_CLASS_FLOOR = 0.05

#: Below this share of the face a place is right as far as anybody can see: squared there, plain beyond.
_BEND = 0.02

#: Bound of a size's logarithm, in cells of the grid: no face is e⁶ cells wide.
_FAR = 6.0

#: How much a place counts beside a score.
_PLACE = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class DetectorLoss:
    """value: to be minimised, 0 where student and teacher agree. facts: its parts; `landmarks` is the mean distance in
    shares of the face's size, weighted by the teacher's score."""

    value: Tensor
    facts: Mapping[str, float]


def outputs_loss(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> DetectorLoss:
    """Both: the twelve (n, cells, values) of kith.networks.face_detector.OUTPUTS; class and objectness are logits of
    the student, probabilities of the teacher.

    Scores: Kullback-Leibler divergence of the two answers, summed over cells. Boxes and landmarks: smooth L1 of
    places in shares of the teacher's box (√(width · height)), sizes as logarithms, weighted by the teacher's score
    where it is above MIN_SCORE. All are divided by the number of cells with a face, at least one an image.
    """
    cls, obj, boxes, points = (torch.cat(list(student[part : part + 3]), dim=1) for part in range(0, 12, 3))
    cls_t, obj_t, boxes_t, points_t = (torch.cat(list(teacher[part : part + 3]), dim=1) for part in range(0, 12, 3))
    score = (cls_t * obj_t).clamp(min=0).sqrt()[..., 0]
    weight = torch.where(score > MIN_SCORE, score, torch.zeros_like(score))
    faces = weight.sum().clamp(min=float(len(score)))
    objectness = divergence(obj, obj_t)[..., 0].sum() / faces
    classes = (divergence(cls, cls_t)[..., 0] * (obj_t[..., 0] + _CLASS_FLOOR)).sum() / faces
    # Places are told in cells of the grid; √(w · h) = exp((dw + dh) / 2) strides, and so the stride drops out.
    # Where there is no face the box is anything; it must not make an infinity that a weight of 0 turns into no number.
    size = (boxes_t[..., 2:].sum(dim=-1) / 2).clamp(-_FAR, _FAR).exp()
    centres = _bent((boxes[..., :2] - boxes_t[..., :2]) / size[..., None]).sum(dim=-1)
    sizes = _bent(boxes[..., 2:] - boxes_t[..., 2:]).sum(dim=-1)
    off = (points - points_t) / size[..., None]
    place = ((centres + sizes + _bent(off).sum(dim=-1)) * weight).sum() / faces
    with torch.no_grad():
        apart = off.reshape(*off.shape[:2], 5, 2).norm(dim=-1).mean(dim=-1)
        landmarks = (apart * weight).sum() / weight.sum().clamp(min=1e-6)
    facts = {
        "objectness": float(objectness.detach()),
        "class": float(classes.detach()),
        "place": float(place.detach()),
        "landmarks": float(landmarks),
    }
    return DetectorLoss(objectness + classes + _PLACE * place, facts)


def maps_loss(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Mean over the maps of (mean squared difference) / (variance of the teacher's map).

    student: maps before their ReLU; teacher: after it. Where the teacher's value is positive the student's is
    compared as it is, so that a unit whose ReLU is shut feels that it should open; where it is 0, anything up to 0 is
    right.
    """
    shares = [
        (torch.where(theirs > 0, mine - theirs, mine.clamp(min=0)).square().mean() / theirs.var().clamp(min=1e-6))
        for mine, theirs in zip(student, teacher, strict=True)
    ]
    return torch.stack(shares).mean()


def divergence(logits: Tensor, wanted: Tensor) -> Tensor:
    """Kullback-Leibler divergence, in nats, of the Bernoulli distribution `logits` says from `wanted`
    (probabilities)."""
    wanted = wanted.clamp(0, 1)
    entropy = -(torch.xlogy(wanted, wanted) + torch.xlogy(1 - wanted, 1 - wanted))
    return functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none") - entropy


def _bent(off: Tensor) -> Tensor:
    return functional.smooth_l1_loss(off, torch.zeros_like(off), reduction="none", beta=_BEND)

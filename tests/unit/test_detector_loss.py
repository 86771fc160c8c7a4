"""The distillation loss against a loop over cells, and what it must not be moved by."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from kith.networks.face_detector import OUTPUTS, PARTS
from kith.training.detector_loss import MIN_SCORE, divergence, maps_loss, outputs_loss

#: Cells of the three grids of a picture of 32 × 64 pixels.
CELLS = (32, 8, 2)


def answers(seed: int, *, logits: bool) -> list[Tensor]:
    """Twelve outputs for two pictures; faces in about a third of the cells."""
    rng = np.random.default_rng(seed)
    found = []
    for name in OUTPUTS:
        part, stride = name.split("_")
        shape = (2, CELLS[{"8": 0, "16": 1, "32": 2}[stride]], PARTS[part])
        if part in ("cls", "obj"):
            value = rng.normal(-1, 2, shape)
            found.append(torch.from_numpy(value if logits else 1 / (1 + np.exp(-value))))
        else:
            found.append(torch.from_numpy(rng.normal(0, 1, shape)))
    return found


def naive(student: list[Tensor], teacher: list[Tensor]) -> dict[str, float]:
    """Cell by cell, in plain numbers."""

    def surprise(logit: float, wanted: float) -> float:
        said = 1 / (1 + math.exp(-logit))
        return wanted * math.log(wanted / said) + (1 - wanted) * math.log((1 - wanted) / (1 - said))

    def bent(off: float) -> float:
        return off * off / 0.04 if abs(off) < 0.02 else abs(off) - 0.01

    sums = {"objectness": 0.0, "class": 0.0, "place": 0.0, "landmarks": 0.0}
    faces = 0.0
    for level in range(3):
        for picture in range(2):
            for cell in range(CELLS[level]):
                cls, obj, box, points = (student[part * 3 + level][picture, cell].tolist() for part in range(4))
                cls_t, obj_t, box_t, points_t = (teacher[part * 3 + level][picture, cell].tolist() for part in range(4))
                sums["objectness"] += surprise(obj[0], obj_t[0])
                sums["class"] += surprise(cls[0], cls_t[0]) * (obj_t[0] + 0.05)
                score = math.sqrt(cls_t[0] * obj_t[0])
                if score <= MIN_SCORE:
                    continue
                faces += score
                size = math.sqrt(math.exp(box_t[2]) * math.exp(box_t[3]))
                places = [bent((box[k] - box_t[k]) / (size if k < 2 else 1)) for k in range(4)]
                places += [bent((a - b) / size) for a, b in zip(points, points_t, strict=True)]
                sums["place"] += score * sum(places)
                pairs = [(points[k] - points_t[k], points[k + 1] - points_t[k + 1]) for k in range(0, 10, 2)]
                sums["landmarks"] += score * sum(math.hypot(x, y) for x, y in pairs) / 5 / size
    assert faces > 2
    return {name: value / faces for name, value in sums.items()}


def test_it_is_what_a_loop_over_cells_gives() -> None:
    student, teacher = answers(0, logits=True), answers(1, logits=False)
    wanted = naive(student, teacher)
    found = outputs_loss(student, teacher)
    assert dict(found.facts) == pytest.approx(wanted, rel=1e-6)
    assert float(found.value) == pytest.approx(wanted["objectness"] + wanted["class"] + 5 * wanted["place"], rel=1e-6)


def test_it_is_zero_where_the_student_says_what_the_teacher_says() -> None:
    student = answers(0, logits=True)
    teacher = [v.sigmoid() if name[:3] in ("cls", "obj") else v for name, v in zip(OUTPUTS, student, strict=True)]
    found = outputs_loss(student, teacher)
    assert float(found.value) == pytest.approx(0, abs=1e-9)
    assert found.facts["landmarks"] == 0


def test_places_where_there_is_no_face_do_not_matter() -> None:
    student, teacher = answers(0, logits=True), answers(1, logits=False)
    teacher[3:6] = [torch.full_like(value, 0.01) for value in teacher[3:6]]
    before = outputs_loss(student, teacher)
    # As large as a teacher's nonsense gets: an infinite size must not become a number that is none.
    teacher[6:9] = [value + 500 for value in teacher[6:9]]
    teacher[9:] = [value - 500 for value in teacher[9:]]
    after = outputs_loss(student, teacher)
    assert float(after.value) == float(before.value)
    assert after.facts["place"] == 0


def test_pictures_without_faces_teach_silence_with_finite_gradients() -> None:
    student = [value.requires_grad_() for value in answers(0, logits=True)]
    teacher = [torch.zeros_like(value) for value in answers(1, logits=False)]
    outputs_loss(student, teacher).value.backward()
    assert all(torch.isfinite(value.grad).all() for value in student if value.grad is not None)
    assert all((value.grad > 0).all() for value in student[3:6] if value.grad is not None)


def test_certainty_costs_what_information_theory_says() -> None:
    # One bit of surprise for a coin, nothing for being right; the teacher may be certain, the logarithm may not be −∞.
    logits = torch.tensor([0.0, 0.0, 40.0])
    assert divergence(logits, torch.tensor([0.5, 1.0, 1.0])).tolist() == pytest.approx([0, math.log(2), 0], abs=1e-6)


def test_maps_are_compared_after_the_relu_but_a_shut_one_feels_what_it_should_say() -> None:
    teacher = torch.tensor([[0.0, 0.0, 2.0, 4.0]])
    student = torch.tensor([[-3.0, 1.0, -1.0, 3.0]], requires_grad=True)
    value = maps_loss([student], [teacher])
    wanted = np.mean([0, 1, 9, 1]) / np.var([0, 0, 2, 4], ddof=1)
    assert float(value.detach()) == pytest.approx(wanted)
    value.backward()
    assert student.grad is not None
    assert (student.grad.sign() == torch.tensor([[0.0, 1.0, -1.0, -1.0]])).all()

"""The pure part of galleries: ids, limits, and changes that may be applied twice."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kith.errors import InvalidTemplate, Misconfigured, ModelMismatch
from kith.gallery import BLOCK_ROWS, Change, Enrolment, Op, Snapshot, check_cutoff, check_enrolments, template_id

parts = st.tuples(*[st.text(max_size=6)] * 4)
UNIT = np.array([0.6, 0.8], np.float32)


@given(parts, parts)
def test_a_template_id_names_its_four_parts_and_nothing_else(one: tuple[str, ...], two: tuple[str, ...]) -> None:
    assert (template_id(*one) == template_id(*two)) == (one == two)


def test_a_template_id_stays_what_it_was() -> None:
    # Written down: another value would enrol everybody's pictures a second time after an upgrade.
    assert template_id("door", "Ann", "ab/cd", "m1") == "7a650586f51a5a8fdcd925bb"
    assert template_id("door", "Ann", "ab/cd", "m1", 1) != template_id("door", "Ann", "ab/cd", "m1")


def enrolment(vector: np.ndarray, model_id: str = "m") -> Enrolment:
    return Enrolment("Ann", "t", vector, "ab/cd", 0.5, model_id)


@pytest.mark.parametrize(
    "vector",
    [
        np.array([0.6, 0.8, 0.0], np.float32),
        np.array([[0.6, 0.8]], np.float32),
        np.array([0.6, 0.8], np.float64),
        np.array([0.6, np.nan], np.float32),
        np.array([np.inf, 0.8], np.float32),
        np.array([3e38, 3e38], np.float32),
        np.array([0.0, 0.0], np.float32),
        UNIT * np.float32(1.0012),
        UNIT * np.float32(0.9988),
    ],
    ids=["long", "matrix", "float64", "nan", "inf", "huge", "zero", "over", "under"],
)
def test_a_vector_that_is_no_finite_unit_vector_of_the_dimension_is_refused(vector: np.ndarray) -> None:
    with pytest.raises(InvalidTemplate):
        check_enrolments("door", "m", 2, [enrolment(UNIT), enrolment(vector)])


def test_a_vector_within_the_tolerance_is_taken_and_one_of_another_model_is_not() -> None:
    check_enrolments("door", "m", 2, [enrolment(UNIT * np.float32(1.0009)), enrolment(UNIT * np.float32(0.9991))])
    with pytest.raises(ModelMismatch, match="model m, this template is of model other"):
        check_enrolments("door", "m", 2, [enrolment(UNIT, "other")])


def test_a_cutoff_is_a_cosine_or_nothing() -> None:
    for fine in (None, -1, 0.3, 1):
        check_cutoff(fine)
    for wrong in (1.01, -2, float("nan"), float("inf")):
        with pytest.raises(Misconfigured, match="cosine"):
            check_cutoff(wrong)


def changes() -> list[Change]:
    one, two = np.eye(2, dtype=np.float32)
    return [
        Change(1, Op.ENROL, subject_id="a", subject="Ann", slot=0, vector=one),
        Change(2, Op.ENROL, subject_id="b", subject="Bob", slot=BLOCK_ROWS, vector=two),
        Change(3, Op.CUTOFF, cutoff=0.4),
        Change(4, Op.RENAME, subject_id="a", subject="Anna"),
        Change(5, Op.FORGET, subject_id="b"),
        Change(6, Op.ENROL, subject_id="c", subject="Bob", slot=BLOCK_ROWS, vector=one),
    ]


@pytest.mark.parametrize("known", range(7))
def test_changes_applied_to_a_state_that_knows_of_some_of_them_end_in_the_same_state(known: int) -> None:
    snapshot = Snapshot("door", "m", 2, "e")
    snapshot.apply(changes()[:known])
    snapshot.apply(changes())
    assert snapshot.owners == {0: "a", BLOCK_ROWS: "c"}
    assert snapshot.names == {"a": "Anna", "c": "Bob"}
    assert (snapshot.sequence, snapshot.cutoff) == (6, 0.4)
    assert [block.shape for block in snapshot.blocks] == [(BLOCK_ROWS, 2)] * 2
    assert snapshot.row(0).tolist() == [1, 0]
    assert snapshot.row(BLOCK_ROWS).tolist() == [1, 0]


def test_a_forgotten_vector_is_zero_afterwards() -> None:
    snapshot = Snapshot("door", "m", 2, "e")
    snapshot.apply(changes()[:5])
    assert not snapshot.row(BLOCK_ROWS).any()

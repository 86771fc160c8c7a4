"""The pure part of galleries: ids, limits, and changes that may be applied twice."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kith.enrolment import Enrolment, check_description, check_enrolments, check_template_ids, template_id
from kith.errors import InvalidName, InvalidTemplate, Misconfigured, ModelMismatch, UnknownTemplate
from kith.gallery_settings import GallerySettings
from kith.journal import BLOCK_ROWS, FREE, Change, Op, Snapshot

parts = st.tuples(*[st.text(max_size=6)] * 3)
UNIT = np.array([0.6, 0.8], np.float32)


@given(parts, parts)
def test_a_template_id_names_its_three_parts_and_nothing_else(one: tuple[str, ...], two: tuple[str, ...]) -> None:
    assert (template_id(*one) == template_id(*two)) == (one == two)


def test_a_template_id_stays_what_it_was() -> None:
    # Written down: another value would enrol everybody's pictures a second time after an upgrade.
    assert template_id("door", "Ann", "ab/cd") == "a2c6ec9132274a4ac3675083"
    assert template_id("door", "Ann", "ab/cd", 1) != template_id("door", "Ann", "ab/cd")


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


def test_settings_outside_their_ranges_are_refused() -> None:
    for fine in (None, -1, 0.3, 1):
        GallerySettings(cutoff=fine)
    for knob, wrong in (
        ("cutoff", 1.01),
        ("cutoff", float("nan")),
        ("fpir", 0.0),
        ("fpir", 1.0),
        ("margin", -0.1),
        ("margin", float("inf")),
        ("keep_probes_s", 0),
    ):
        with pytest.raises(Misconfigured, match=str(wrong)):
            GallerySettings(**{knob: wrong})


def test_what_is_said_of_a_subject_has_its_limits() -> None:
    check_description(None, None)
    check_description("x" * 200, {"note": "y" * 4000})
    for external_id, metadata in (("", {}), ("x" * 201, {}), (None, {"note": "y" * 4093})):
        with pytest.raises(InvalidName, match="the limit"):
            check_description(external_id, metadata)


def test_templates_are_named_once_each_and_not_too_many_at_a_time() -> None:
    assert check_template_ids(["b", "a", "b"]) == ["b", "a"]
    for wrong in ([], [str(number) for number in range(1001)]):
        with pytest.raises(UnknownTemplate, match=r"a change takes 1\.\.1000"):
            check_template_ids(wrong)


ANN, BOB, CID = (1, "a"), (2, "b"), (3, "c")


def enrolled(sequence: int, who: tuple[int, str], name: str, vectors: dict[int, np.ndarray]) -> Change:
    return Change(
        *(sequence, Op.ENROL, 0, *who, name),
        slots=tuple(vectors),
        vectors=np.stack(list(vectors.values())),
        qualities=np.full(len(vectors), 0.5, np.float32),
    )


def changes() -> list[Change]:
    one, two = np.eye(2, dtype=np.float32)
    return [
        enrolled(1, ANN, "Ann", {0: one, 1: two}),
        enrolled(2, BOB, "Bob", {BLOCK_ROWS: two}),
        Change(3, Op.SETTINGS, settings=GallerySettings(cutoff=0.4)),
        Change(4, Op.RENAME, 0, *ANN, "Anna"),
        Change(
            *(5, Op.MOVE, 0, *BOB, "Bob"),
            slots=(1,),
            vectors=two[np.newaxis],
            qualities=np.array([0.5], np.float32),
        ),
        Change(6, Op.FORGET, 0, 2, slots=(1, BLOCK_ROWS), gone=2),
        enrolled(7, CID, "Bob", {BLOCK_ROWS: one, 1: one}),
        Change(8, Op.REMOVE, 0, 3, slots=(1,)),
    ]


def owners(snapshot: Snapshot) -> dict[int, int]:
    return {
        block * BLOCK_ROWS + row: int(owner)
        for block, each in enumerate(snapshot.owners)
        for row, owner in enumerate(each)
        if owner != FREE
    }


@pytest.mark.parametrize("known", range(9))
def test_changes_applied_to_a_state_that_knows_of_some_of_them_end_in_the_same_state(known: int) -> None:
    snapshot = Snapshot("door", "m", 2, "e")
    snapshot.apply(changes()[:known])
    snapshot.apply(changes())
    assert owners(snapshot) == {0: 1, BLOCK_ROWS: 3}
    assert snapshot.names == {1: ("a", "Anna"), 3: ("c", "Bob")}
    assert (snapshot.sequence, snapshot.settings.cutoff) == (8, 0.4)
    assert [block.shape for block in snapshot.blocks] == [(BLOCK_ROWS, 2)] * 2
    assert snapshot.row(0).tolist() == [1, 0]
    assert snapshot.row(BLOCK_ROWS).tolist() == [1, 0]
    vectors, numbers = snapshot.templates()
    assert (vectors.tolist(), numbers.tolist()) == ([[1, 0], [1, 0]], [1, 3])


def test_a_forgotten_vector_is_zero_afterwards() -> None:
    snapshot = Snapshot("door", "m", 2, "e")
    snapshot.apply(changes()[:6])
    assert not snapshot.row(BLOCK_ROWS).any()
    assert not snapshot.row(1).any()


def test_arrays_that_came_read_only_or_short_are_replaced_and_not_written_to() -> None:
    mine = np.eye(2, dtype=np.float32)[:1]
    mine.flags.writeable = False
    snapshot = Snapshot("door", "m", 2, "e", blocks=[mine], owners=[np.array([1], np.int32)])
    snapshot.qualities, snapshot.names = [np.array([0.5], np.float32)], {1: ("a", "Ann")}
    snapshot.apply([Change(1, Op.FORGET, 0, 1, slots=(0,), gone=1), enrolled(2, BOB, "Bob", {5: mine[0]})])
    assert mine.tolist() == [[1, 0]]
    assert owners(snapshot) == {5: 2}

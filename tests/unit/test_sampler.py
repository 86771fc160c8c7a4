"""P×K batches and batches of look-alikes: who comes when, how often, and out of which cluster."""

from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from kith.errors import Rejected
from kith.training.errors import Diverged
from kith.training.neighbourhoods import neighbourhoods
from kith.training.sampler import Indices, NeighbourhoodSampler, PkSampler

# 23 subjects with 1 to 7 images each, in no order.
LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(100, 123), np.arange(23) % 7 + 1)).tolist()


def subjects_of(batch: Indices, images: int = 4) -> list[int]:
    """The subject of each group of K images; a group holds one subject."""
    groups = np.asarray(LABELS)[batch].reshape(-1, images)
    assert (groups == groups[:, :1]).all()
    return [int(group[0]) for group in groups]


def test_a_batch_is_p_different_subjects_with_k_images_each() -> None:
    for batch in PkSampler(LABELS, subjects=5, images=4).batches(0):
        assert batch.dtype == np.int64
        assert len(batch) == 20
        assert len(set(subjects_of(batch))) == 5


def test_an_image_comes_twice_only_when_its_subject_has_fewer_than_k() -> None:
    owned = Counter(LABELS)
    for epoch in range(5):
        for batch in PkSampler(LABELS, subjects=5, images=4).batches(epoch):
            for subject, rows in zip(subjects_of(batch), batch.reshape(-1, 4), strict=True):
                uses = Counter(rows.tolist()).values()
                assert len(uses) == min(4, owned[subject])
                assert max(uses) - min(uses) <= 1


@pytest.mark.parametrize("per_epoch", [None, 1, 2, 3, 7])
def test_every_subject_is_visited_before_one_comes_again_also_across_epochs(per_epoch: int | None) -> None:
    sampler = PkSampler(LABELS, subjects=5, images=4, batches_per_epoch=per_epoch)
    batches = [subjects_of(batch) for epoch in range(20) for batch in sampler.batches(epoch)]
    # A round of 23 subjects takes 5 batches, of which the last is filled with 2 of the first ones.
    assert len(batches) >= 20
    for start in range(0, len(batches) - 4, 5):
        visits = Counter(subject for batch in batches[start : start + 5] for subject in batch)
        assert len(visits) == 23
        assert sorted(visits.values()) == [1] * 21 + [2] * 2
        assert len({subject for batch in batches[start : start + 4] for subject in batch}) == 20


def test_seed_and_epoch_decide_and_nothing_else() -> None:
    def planned(seed: int, epoch: int) -> list[list[int]]:
        return [batch.tolist() for batch in PkSampler(LABELS, subjects=5, seed=seed).batches(epoch)]

    sampler = PkSampler(LABELS, subjects=5, seed=3)
    for earlier in range(2):
        list(sampler.batches(earlier))
    assert [batch.tolist() for batch in sampler.batches(2)] == planned(3, 2)
    assert planned(3, 2) != planned(3, 1)
    assert planned(3, 2) != planned(4, 2)


def test_subjects_with_too_few_images_are_left_out() -> None:
    sampler = PkSampler(LABELS, subjects=5, images=4, min_images=4)
    visited = {subject for batch in sampler.batches(0) for subject in subjects_of(batch)}
    assert visited == {subject for subject, count in Counter(LABELS).items() if count >= 4}


def test_fewer_subjects_than_a_batch_needs_are_refused_with_both_numbers_and_a_remedy() -> None:
    with pytest.raises(Rejected, match="takes 24 subjects, there are 23: lower `subjects`, or add people"):
        PkSampler(LABELS, subjects=24)
    with pytest.raises(Rejected, match="takes 16 subjects with at least 4 images, there are 12"):
        PkSampler(LABELS, min_images=4)
    with pytest.raises(Rejected, match="takes 16 subjects, there are 0"):
        PkSampler([])
    with pytest.raises(Rejected, match="not 16 × 1"):
        PkSampler(LABELS, images=1)


# Six groups of 7 subjects with 2 images each: subject s is of group s % 6.
GROUPS, MEMBERS = 6, 7
NEAR_LABELS = np.repeat(np.arange(GROUPS * MEMBERS), 2)


def grouped_vectors(noise: float = 0.05) -> NDArray[np.float32]:
    random = np.random.default_rng(1)
    centres = np.linalg.qr(random.standard_normal((8, 8)))[0][NEAR_LABELS % GROUPS]
    vectors = centres + noise * random.standard_normal(centres.shape)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def groups_in(batch: Indices) -> int:
    return len(set((NEAR_LABELS[batch] % GROUPS).tolist()))


def near_sampler(**given: float) -> NeighbourhoodSampler:
    return NeighbourhoodSampler(NEAR_LABELS.tolist(), subjects=3, images=2, clusters=GROUPS, **given)  # type: ignore[arg-type]


def test_once_it_has_learned_a_batch_is_of_look_alikes_and_everybody_has_a_turn() -> None:
    sampler = near_sampler(batches_per_epoch=GROUPS * 3)
    sampler.learn(grouped_vectors())
    for epoch in range(3):
        batches = list(sampler.batches(epoch))
        assert [groups_in(batch) for batch in batches] == [1] * 18
        assert all(len(set(NEAR_LABELS[batch].tolist())) == 3 for batch in batches)
        assert {int(NEAR_LABELS[row]) for batch in batches for row in batch} == set(range(GROUPS * MEMBERS))


def test_before_it_has_learned_it_is_the_ordinary_sampler() -> None:
    ordinary = PkSampler(NEAR_LABELS.tolist(), subjects=3, images=2, seed=5)
    near = NeighbourhoodSampler(NEAR_LABELS.tolist(), subjects=3, images=2, seed=5)
    assert [b.tolist() for b in near.batches(4)] == [b.tolist() for b in ordinary.batches(4)]


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (0.25, 5), (0.5, 10), (1.0, 20)])
def test_the_share_of_ordinary_batches_is_mixed_in_evenly(share: float, expected: int) -> None:
    sampler = near_sampler(batches_per_epoch=20, share=share)
    sampler.learn(grouped_vectors())
    ordinary = PkSampler(NEAR_LABELS.tolist(), subjects=3, images=2, batches_per_epoch=20)
    same = [a.tolist() == b.tolist() for a, b in zip(sampler.batches(0), ordinary.batches(0), strict=True)]
    assert sum(same) == expected
    assert sum(same[:10]) == expected // 2


def test_learning_is_repeatable() -> None:
    first, again = near_sampler(), near_sampler()
    for sampler in (first, again):
        sampler.learn(grouped_vectors(noise=0.6))
    assert [b.tolist() for b in first.batches(1)] == [b.tolist() for b in again.batches(1)]
    assert [b.tolist() for b in first.batches(1)] != [b.tolist() for b in first.batches(2)]


def test_a_cluster_too_small_for_a_batch_is_filled_from_the_nearest() -> None:
    # On a line: two points at 0, two at 1, eight at 10; a batch takes three.
    points = np.array([[0.0], [0.01], [1.0], [1.01], *([10 + i / 100] for i in range(8))])
    found = sorted(sorted(members.tolist()) for members in neighbourhoods(points, count=3, least=3, seed=0))
    assert len(found) == 3
    assert len(found[0]) == 3
    assert set(found[0]) > {0, 1}
    assert set(found[0]) <= {0, 1, 2, 3}
    assert len(found[1]) == 3
    assert set(found[1]) > {2, 3}
    assert set(found[1]) <= {0, 1, 2, 3}
    assert found[2] == list(range(4, 12))


def test_embeddings_on_one_spot_are_one_neighbourhood() -> None:
    sampler = near_sampler()
    sampler.learn(np.ones((len(NEAR_LABELS), 8), np.float32))
    batches = list(sampler.batches(0))
    assert {int(NEAR_LABELS[row]) for batch in batches for row in batch} == set(range(GROUPS * MEMBERS))


def test_embeddings_that_are_no_numbers_end_the_run() -> None:
    broken = grouped_vectors()
    broken[3, 0] = np.nan
    with pytest.raises(Diverged, match="1 of 84 embeddings"):
        near_sampler().learn(broken)


def test_embeddings_of_other_images_are_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="80 embeddings for 84 images"):
        near_sampler().learn(grouped_vectors()[:80])

"""People searched among their own templates, recomputed one by one."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kith.own_matches import own_matches
from kith.view import FREE
from tests.plain_gallery import unit


def view(*owners: list[int]) -> Any:
    """Blocks of templates of those numbers, each another vector."""
    seeds = iter(range(1000))
    blocks = tuple(np.stack([unit(next(seeds)) for _ in block]) for block in owners)
    return SimpleNamespace(
        dimension=blocks[0].shape[1] if blocks else 8,
        owners=tuple(np.array(block, np.int32) for block in owners),
        blocks=blocks,
    )


def test_each_template_has_the_best_score_with_another_of_its_subject_whatever_block_it_lies_in() -> None:
    made = view([5, 9, 5, FREE, 7], [9, 5, FREE, 9])
    owners, vectors = np.concatenate(made.owners), np.concatenate(made.blocks)
    expected = []
    for at, owner in enumerate(owners):
        own = [other for other, each in enumerate(owners) if each == owner and other != at]
        if owner != FREE and own:
            expected.append((int(owner), max(float(vectors[at] @ vectors[other]) for other in own)))

    found = own_matches(made, 1000, np.random.default_rng(0))

    assert len(expected) == 6
    got = sorted(zip(found.owners.tolist(), found.scores.tolist(), strict=True))
    assert [owner for owner, _ in got] == [owner for owner, _ in sorted(expected)]
    assert [score for _, score in got] == pytest.approx([score for _, score in sorted(expected)], abs=1e-6)


def test_where_there_are_many_people_are_drawn_whole() -> None:
    made = view([number for number in range(1, 51) for _ in range(2)])

    found = own_matches(made, 20, np.random.default_rng(0))

    people, counts = np.unique(found.owners, return_counts=True)
    assert len(people) == 10
    assert set(counts.tolist()) == {2}
    # Drawn evenly: not those who were enrolled first.
    assert people.max() > 25


@pytest.mark.parametrize("owners", [(), ([1, 2, 3],), ([FREE],)])
def test_nobody_with_two_templates_is_no_score(owners: tuple[list[int], ...]) -> None:
    found = own_matches(view(*owners), 10, np.random.default_rng(0))

    assert len(found.scores) == len(found.owners) == 0

"""The draws and the judging of the benchmark of scorings."""

import numpy as np

from benchmarks.scoring import Draw, Faces, draw, judged
from kith.gallery_settings import Scoring
from tests.plain_gallery import unit


def test_two_thirds_of_those_with_enough_pictures_are_enrolled_and_nobody_is_both_template_and_probe() -> None:
    owners = np.repeat(np.arange(12), [1, 2, 3, 3, 4, 4, 4, 5, 6, 1, 1, 7])
    drawn = draw(owners, 2, np.random.default_rng(4))

    able = {who for who in range(12) if int((owners == who).sum()) > 2}
    enrolled = {int(owners[rows[0]]) for rows in drawn.templates}
    assert len(enrolled) == 2 * len(able) // 3
    assert enrolled <= able
    assert all(len({int(owners[row]) for row in rows}) == 1 for rows in drawn.templates)
    everything = sorted([*drawn.templates.reshape(-1).tolist(), *drawn.mated.tolist(), *drawn.strangers.tolist()])
    assert everything == list(range(len(owners)))
    assert {int(owners[row]) for row in drawn.mated} <= enrolled
    assert not {int(owners[row]) for row in drawn.strangers} & enrolled


def test_a_bad_template_pulls_the_mean_away_and_less_so_where_quality_weighs() -> None:
    # Two people along two axes, whose second picture is as good as their first; the first is spoilt to the other one's.
    axes = np.eye(8, dtype=np.float32)
    owners = np.array([0, 0, 0, 1, 1, 1, *range(2, 102)])
    strangers = np.stack([unit(seed, 8) for seed in range(100)])
    plain = Faces(np.concatenate([axes[[0, 0, 0, 1, 1, 1]], strangers]), np.ones(106, np.float32), owners)
    spoilt = Faces(np.concatenate([axes[[1, 1, 1, 0, 0, 0]], strangers]), np.full(106, 0.01, np.float32), owners)
    drawn = Draw(np.array([[0, 1], [3, 4]]), np.array([2, 5]), np.arange(6, 106))

    found = {scoring: judged(plain, spoilt, drawn, scoring) for scoring in Scoring}

    assert found[Scoring.QUALITY].rank_1 == 1
    # Both templates of both are as near as can be: the lower slot decides, which is right for one of the two.
    assert found[Scoring.BEST].rank_1 == 0.5
    assert found[Scoring.MEAN].cutoff != found[Scoring.QUALITY].cutoff

"""What the benchmark of search compares with: brute force has to be right, and its people have to be people."""

import numpy as np
import pytest

from benchmarks.search import chosen
from benchmarks.search_data import TEMPLATES, people, truth
from benchmarks.search_peers import NEIGHBOURS, numpy_products
from benchmarks.session import Unavailable


def test_its_brute_force_finds_what_a_naive_loop_finds() -> None:
    who = people(1200, 16)
    probes = who.probes(6)
    numbers, scores = truth(who.templates, probes, 3)
    for probe, found, near in zip(probes, numbers.tolist(), scores.tolist(), strict=True):
        best: dict[int, float] = {}
        for slot, template in enumerate(who.templates):
            score = sum(float(a) * float(b) for a, b in zip(template, probe, strict=True))
            number = slot // TEMPLATES + 1
            best[number] = max(score, best.get(number, -2.0))
        expected = sorted(best, key=lambda number: -best[number])[:3]
        assert found == expected
        assert np.allclose(near, [best[number] for number in expected])


def test_every_other_probe_is_of_somebody_enrolled_and_nearer_for_it() -> None:
    who = people(2000, 64)
    probes = who.probes(400)
    _, scores = truth(who.templates, probes, 1)
    assert np.allclose(np.linalg.norm(probes, axis=1), 1, atol=1e-5)
    assert scores[0::2].mean() > scores[1::2].mean() + 0.2
    assert who.view.templates == 2000
    assert who.view.subjects == 2000 // TEMPLATES


def test_numpy_as_a_peer_finds_the_nearest_templates() -> None:
    who = people(1000, 16)
    probes = who.probes(5)
    expected = np.argsort(-(probes @ who.templates.T), axis=1)[:, :NEIGHBOURS]
    assert np.array_equal(numpy_products(who.templates)(probes), expected)


def test_parts_are_chosen_by_the_environment_and_a_wrong_name_says_which_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KITH_BENCH_SEARCH", "graph,speed")
    assert chosen("KITH_BENCH_SEARCH", ("speed", "answers", "graph")) == ["speed", "graph"]
    monkeypatch.setenv("KITH_BENCH_SEARCH", "")
    assert chosen("KITH_BENCH_SEARCH", ("speed", "graph")) == ["speed", "graph"]
    monkeypatch.setenv("KITH_BENCH_SEARCH", "sped")
    with pytest.raises(Unavailable, match="KITH_BENCH_SEARCH names sped; there are speed, graph"):
        chosen("KITH_BENCH_SEARCH", ("speed", "graph"))

"""What another model would have answered, beside a plain loop."""

import numpy as np

from kith.backends.gallery_memory import MemoryGalleryStore
from kith.decision import Rule
from kith.enrolment import Enrolment
from kith.journal import Vectors
from kith.shadow import Answer, Probe, Rates, Side, compare, rates
from kith.view import Replica


def side(cutoff: float, **people: list[Vectors]) -> Side:
    store = MemoryGalleryStore()
    store.create("door", model_id="m", dimension=8)
    for name, vectors in people.items():
        made = [Enrolment(name, f"{name} {n}", vector, "ab/1", 0.5, "m") for n, vector in enumerate(vectors)]
        store.enrol("door", made)
    return Side(Replica(store.snapshot("door")).view, Rule(cutoff))


def people(count: int, each: int, noise: float, seed: int = 0) -> dict[str, list[Vectors]]:
    random = np.random.default_rng(seed)
    centres = random.standard_normal((count, 8))
    drawn = {f"p{n}": [unit(c + noise * random.standard_normal(8)) for _ in range(each)] for n, c in enumerate(centres)}
    return drawn | {"alone": [unit(random.standard_normal(8))]}


def unit(vector: np.ndarray) -> Vectors:
    made: Vectors = (vector / np.linalg.norm(vector)).astype(np.float32)
    return made


def test_only_probes_that_the_two_answer_differently_are_told() -> None:
    ada, bob = np.eye(8, dtype=np.float32)[:2]
    now, then = side(0.5, Ada=[ada], Bob=[bob]), side(0.9, Ada=[bob], Bob=[ada])
    near = unit(ada + bob * 0.6)
    found = compare(now, then, [Probe("same", ada, bob), Probe("other", ada, ada), Probe("stricter", near, near)])
    assert [(each.label, each.now.subject, each.then.subject) for each in found] == [
        ("other", "Ada", "Bob"),
        ("stricter", "Ada", None),
    ]
    assert found[0].now == Answer("Ada", 1.0)


def test_the_rates_are_those_of_a_plain_loop() -> None:
    for cutoff in (0.2, 0.6, 0.9):
        drawn = people(12, 3, 0.5)
        every = [(name, vector) for name, vectors in drawn.items() for vector in vectors]
        mated, hits, named = 0, 0, 0
        for at, (name, vector) in enumerate(every):
            rest = [(whose, float(vector @ each)) for n, (whose, each) in enumerate(every) if n != at]
            best = max(rest, key=lambda one: one[1])
            if any(whose == name for whose, _ in rest):
                mated += 1
                hits += best[0] == name and best[1] >= cutoff
            named += max(score for whose, score in rest if whose != name) >= cutoff
        found = rates(side(cutoff, **drawn), np.random.default_rng(0))
        assert found == Rates(hits / mated, named / len(every), mated, len(every))


def test_without_rivals_or_second_templates_no_rate_is_made_up() -> None:
    assert rates(side(0.5, Ada=[np.eye(8, dtype=np.float32)[0]]), np.random.default_rng(0)) == Rates(None, None, 0, 0)
    assert rates(side(0.5), np.random.default_rng(0)) == Rates(None, None, 0, 0)

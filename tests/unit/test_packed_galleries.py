"""Packed forms of a gallery that changes: always right, and nothing of who was forgotten stays."""

import gc
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from kith.gallery_settings import GallerySettings, Scoring
from kith.journal import BLOCK_ROWS, Change, Op, Snapshot, Vectors
from kith.searchers.half_layout import Layouts
from kith.searchers.int8 import Stretch, encode
from kith.searchers.int8_pass import Packing
from kith.searchers.searcher import HalfSearcher, Int8Searcher
from kith.similarity import PlainSearcher
from kith.view import Replica
from tests.unit.test_searchers import EPOCHS, INT8, opened_as
from tests.unit.test_similarity import enrolled, gallery, units


@pytest.fixture(params=INT8)
def int8(request: pytest.FixtureRequest) -> Iterator[Int8Searcher]:
    """One of its own, whose forms can be counted."""
    searcher = Int8Searcher(INT8[request.param])
    yield searcher
    searcher.close()


def replica_of(vectors: Vectors, scoring: Scoring = Scoring.BEST) -> Replica:
    epoch = str(next(EPOCHS))
    replica = Replica(Snapshot("door", "m", vectors.shape[1], epoch, settings=GallerySettings(scoring=scoring)))
    replica.apply([enrolled(slot + 1, slot + 1, (slot,), vectors[slot : slot + 1]) for slot in range(len(vectors))])
    return replica


@pytest.mark.parametrize(
    ("name", "scoring"),
    [*((name, Scoring.BEST) for name in [*INT8, "half"]), ("int8", Scoring.MEAN), ("int8", Scoring.QUALITY)],
)
def test_each_view_of_a_changing_gallery_is_searched_as_it_is(name: str, scoring: Scoring) -> None:
    rng = np.random.default_rng(1)
    searcher, plain = opened_as(name), PlainSearcher()
    assert isinstance(searcher, Int8Searcher | HalfSearcher)
    size = BLOCK_ROWS + 200
    replica = replica_of(units(size, 16), scoring)
    free: list[int] = []
    end = sequence = size
    probes = units(4, 16, 77)
    views = []
    for step in range(45):
        sequence += 1
        number = int(rng.integers(1, size))
        slots = replica.view.slots_of(number)
        if step % 3 == 0 and slots:
            change = Change(sequence, Op.FORGET, number=number, slots=tuple(slots))
            free += slots
        else:
            slot = free.pop() if free and step % 2 else end
            end = max(end, slot + 1)
            change = enrolled(sequence, sequence, (slot,), units(1, 16, sequence))
        view = replica.apply([change])
        if step % 10 == 3:
            searcher.pack(view)
        expected = plain.search(view, probes, 3)
        assert searcher.search(view, probes, 3) == expected
        assert searcher.search(view, probes[:1], 3) == expected[:1]
        if step % 15 == 7:
            views.append((view, expected))
    # Views that somebody still holds are answered as they were.
    for view, expected in views:
        assert searcher.search(view, probes, 3) == expected


@pytest.mark.parametrize("name", [*INT8, "half"])
def test_a_template_that_moved_is_its_new_owners_in_the_new_view_and_its_old_owners_in_the_old_one(name: str) -> None:
    searcher, plain = opened_as(name), PlainSearcher()
    assert isinstance(searcher, Int8Searcher | HalfSearcher)
    vectors = units(40, 16)
    # The two nearest to the probe are of two subjects, and of one once they are merged.
    vectors[7] = vectors[3] + 0.01 * vectors[5]
    vectors[7] /= np.linalg.norm(vectors[7])
    replica = replica_of(vectors)
    before = replica.view
    searcher.pack(before)
    probe = vectors[3:4]
    apart = searcher.search(before, probe, 3)
    kept = np.stack([before.vector(slot) for slot in (3, 7)])
    moved = Change(
        41, Op.MOVE, number=4, subject_id="id3", subject="name 3", slots=(3, 7), vectors=kept,
        qualities=np.ones(2, np.float32), gone=8,
    )  # fmt: skip
    after = replica.apply([moved])
    for view in (after, before, after):
        assert searcher.search(view, probe, 3) == plain.search(view, probe, 3)
        assert searcher.search(view, np.repeat(probe, 5, axis=0), 3) == [plain.search(view, probe, 3)[0]] * 5
    searcher.pack(after)
    assert searcher.search(after, probe, 3) == plain.search(after, probe, 3)
    assert searcher.search(before, probe, 3) == apart == plain.search(before, probe, 3)
    assert [hit.slot for hit in apart[0][:2]] == [3, 7]


def test_a_forgotten_vector_is_out_of_the_packed_form_before_the_next_search_is_answered(int8: Int8Searcher) -> None:
    replica = replica_of(units(BLOCK_ROWS + 50, 16))
    int8.pack(replica.view)
    codes = encode(replica.view.blocks[0], each=False).codes[33]
    forms = forms_of(int8)
    assert any((form.codes.numpy() == codes).all(axis=1).any() for form in forms)
    del forms
    view = replica.apply([Change(5000, Op.FORGET, number=34, slots=(33,))])
    int8.search(view, units(1, 16))
    gc.collect()
    assert not any((form.codes.numpy() == codes).all(axis=1).any() for form in forms_of(int8))


@pytest.mark.parametrize("scoring", Scoring)
def test_nothing_forgotten_is_kept_once_the_new_view_is_told_though_nobody_searches_it(
    int8: Int8Searcher, scoring: Scoring
) -> None:
    replica = replica_of(units(BLOCK_ROWS + 50, 16), scoring)
    int8.pack(replica.view)
    assert seen_of(int8, 34)
    # Of another block, so that the gallery is still held by somebody.
    int8.renew(replica.apply([Change(5000, Op.FORGET, number=34, slots=(33,))]))
    gc.collect()
    assert forms_of(int8)
    assert not seen_of(int8, 34)
    assert seen_of(int8, BLOCK_ROWS + 20)


def seen_of(searcher: Int8Searcher, number: int) -> bool:
    """Whether any form has something in the row of this subject's template, or mean."""
    # Templates are in slots from 0 on, and means in rows by number.
    means = any(gallery.means is not None for gallery in searcher._galleries.values())
    row = number if means else number - 1
    return any(form.codes.numpy()[row].any() for form in forms_of(searcher) if len(form.codes) > row)


def test_what_is_kept_for_a_way_of_scoring_that_is_no_longer_set_goes_when_somebody_is_forgotten(
    int8: Int8Searcher,
) -> None:
    replica = replica_of(units(BLOCK_ROWS + 50, 16), Scoring.MEAN)
    int8.pack(replica.view)
    int8.search(replica.apply([Change(5000, Op.SETTINGS, settings=GallerySettings())]), units(1, 16))
    int8.renew(replica.apply([Change(5001, Op.FORGET, number=34, slots=(33,))]))
    assert [scoring for _, _, scoring in int8._galleries] == [Scoring.BEST]


def test_means_of_a_gallery_that_nobody_holds_any_more_are_dropped(int8: Int8Searcher) -> None:
    replica = replica_of(units(BLOCK_ROWS + 50, 16), Scoring.MEAN)
    int8.pack(replica.view)
    assert int8.nbytes(lambda form: form.codes.nbytes)
    del replica
    gc.collect()
    assert not int8.nbytes(lambda form: form.codes.nbytes)


def test_of_a_gallery_that_is_gone_nothing_is_kept_once_the_memory_is_wiped(int8: Int8Searcher) -> None:
    # Packed to the end, and so nothing was ever left for the thread that packs, which else would come by.
    replica = replica_of(units(BLOCK_ROWS, 16))
    int8.pack(replica.view)
    int8.search(replica.view, units(2, 16, 5), 2)
    assert int8._thread is None
    del replica
    gc.collect()
    assert int8._galleries
    int8.wipe()
    assert not int8._galleries


def test_what_was_being_packed_when_somebody_was_forgotten_is_not_kept(
    int8: Int8Searcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica, replaced = replica_of(units(50, 16)), Stretch.replaced
    old = replica.view

    def meanwhile(form: Stretch, changes: dict[int, Vectors], blocks: int) -> Stretch:
        monkeypatch.undo()
        fresh = replaced(form, changes, blocks)
        int8.renew(replica.apply([Change(5000, Op.FORGET, number=34, slots=(33,))]))
        return fresh

    monkeypatch.setattr(Stretch, "replaced", meanwhile)
    int8.pack(old)
    assert not any(form.codes.numpy().any() for form in forms_of(int8))
    int8.pack(replica.view)
    assert any(form.codes.numpy().any() for form in forms_of(int8))


def test_an_older_view_is_searched_without_blocks_that_it_does_not_have(int8: Int8Searcher) -> None:
    vectors = units(BLOCK_ROWS + 10, 16)
    replica = replica_of(vectors[:BLOCK_ROWS])
    older = replica.view
    for slot in range(BLOCK_ROWS, BLOCK_ROWS + 10):
        replica.apply([enrolled(slot + 1, slot + 1, (slot,), vectors[slot : slot + 1])])
    int8.pack(replica.view)
    for probes in (vectors[-1:], vectors[-3:]):
        assert int8.search(replica.view, probes)[0][0].score > 0.999
        assert int8.search(older, probes) == PlainSearcher().search(older, probes)


def test_rows_added_to_a_packed_block_are_packed_beside_it_or_all_anew_where_its_scale_is_too_small(
    int8: Int8Searcher,
) -> None:
    vectors = units(900, 64)
    replica = replica_of(vectors[:300])
    int8.pack(replica.view)
    before = forms_of(int8)[0]
    added = [
        enrolled(301 + at, 301 + at, (300 + at,), vectors[300 + at : 301 + at] * np.float32(0.9)) for at in range(9)
    ]
    replica.apply(added)
    int8.pack(replica.view)
    beside = forms_of(int8)[0]
    assert beside.scale[0] == before.scale[0]
    assert (beside.codes[:300] == before.codes[:300]).all()
    assert beside.codes[300:309].any(dim=1).all()
    sharp = np.zeros((1, 64), np.float32)
    sharp[0, 5] = 1
    view = replica.apply([enrolled(310, 310, (309,), sharp)])
    int8.pack(view)
    anew = forms_of(int8)[0]
    assert anew.scale[0] > before.scale[0]
    for probes in (sharp, units(3, 64, 8)):
        assert int8.search(view, probes, 3) == PlainSearcher().search(view, probes, 3)


def forms_of(searcher: Int8Searcher) -> list[Packing]:
    return [form for gallery in searcher._galleries.values() for form in gallery.packed._forms]


def test_a_gallery_that_grows_is_packed_now_and_then_and_whole_once_it_is_left_alone(int8: Int8Searcher) -> None:
    count = 2 * BLOCK_ROWS - 100
    vectors = units(count, 16)
    replica = replica_of(vectors[:100])
    int8.pack(replica.view)
    [kept] = int8._galleries.values()
    forms = forms_of(int8)

    def look() -> bool:
        # Not by a search, which starts a thread that looks as well.
        int8.renew(replica.view)
        waits = kept.packed.pack(everything=False)
        forms.extend(form for form in forms_of(int8) if all(form is not each for each in forms))
        return waits

    for slot in range(100, count, 8):
        some = range(slot, min(slot + 8, count))
        replica.apply([enrolled(at + 1, at + 1, (at,), vectors[at : at + 1]) for at in some])
        look()
    # One packing for each 512 rows: each takes as long as several searches.
    assert len(forms) - 1 <= count // 512
    look()
    assert not look()
    held = sum(int(form.codes.any(dim=1).sum()) for form in forms_of(int8))
    assert held == count


def test_what_is_new_is_packed_in_the_background_and_what_is_dead_is_dropped(int8: Int8Searcher) -> None:
    replica = replica_of(units(1100, 16))
    probe = units(1, 16, 2)
    expected = int8.search(replica.view, probe)
    wait_until(lambda: int8.nbytes(lambda form: form.codes.nbytes) >= 1100 * 16)
    assert int8.search(replica.view, probe) == expected
    del replica
    gc.collect()
    wait_until(lambda: not int8.nbytes(lambda form: form.codes.nbytes))


def test_packing_beside_searches_and_enrolments_never_gives_a_wrong_answer(int8: Int8Searcher) -> None:
    replica, plain = replica_of(units(1100, 16)), PlainSearcher()
    probes, wrong, stop = units(2, 16, 3), [], threading.Event()

    def search_on() -> None:
        while not stop.is_set():
            view = replica.view
            if int8.search(view, probes) != plain.search(view, probes):
                wrong.append(view.sequence)

    threads = [threading.Thread(target=search_on) for _ in range(3)]
    for thread in threads:
        thread.start()
    for step in range(60):
        sequence = 2000 + step
        forget = Change(sequence, Op.FORGET, number=step + 1, slots=(step,))
        replica.apply([forget if step % 2 else enrolled(sequence, sequence, (1100 + step,), units(1, 16, sequence))])
        int8.pack(replica.view)
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_gallery_wiped_and_made_anew_at_the_same_number_is_another_one(int8: Int8Searcher) -> None:
    one, other = gallery(units(2000, 16), list(range(2000))), gallery(units(2000, 16, 6), list(range(2000)))
    probe = units(1, 16, 3)
    plain = PlainSearcher()
    for view in (one, replace(other, epoch="f"), other):
        int8.pack(view)
        assert int8.search(view, probe) == plain.search(view, probe)


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline, "it did not happen in 10 s"
        time.sleep(0.02)


def test_layouts_end_with_what_they_were_made_for() -> None:
    layouts = Layouts()
    searcher = HalfSearcher("cpu", stretch_bytes=BLOCK_ROWS * 16 * 4, layouts=layouts)
    size = 2 * BLOCK_ROWS
    replica = replica_of(units(size, 16))
    for step in range(6):
        view = replica.apply([enrolled(size + step + 1, size + step + 1, (size + step,), units(1, 16, step))])
        searcher.pack(view)
        assert searcher.search(view, units(3, 16, 7)) == PlainSearcher().search(view, units(3, 16, 7))
    gc.collect()
    assert len(layouts) <= 2, "the newest, and the one before, which is dropped with the next"
    searcher.close()

"""Tables of vectors into a gallery: every form, every refusal, and on from where it was broken off."""

import base64
import csv
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kith import table_import
from kith.backends.gallery_memory import MemoryGalleryStore
from kith.errors import ModelMismatch, Rejected, StateUnavailable, UnknownGallery
from kith.gallery import Enrolment
from kith.table_import import import_table
from kith.tables import open_table
from tests.plain_gallery import DIMENSION, unit


@pytest.fixture
def store() -> MemoryGalleryStore:
    made = MemoryGalleryStore()
    made.create("door", model_id="m", dimension=DIMENSION)
    return made


def packed(vector: np.ndarray) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


def write(file: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    with file.open("w", newline="", encoding="utf-8") as text:
        csv.writer(text).writerows([header, *rows])
    return file


def run(store: MemoryGalleryStore, file: Path, names: Path | None = None, **options: Any) -> Any:
    with open_table(file, names, normalise=options.pop("normalise", False)) as table:
        return import_table(store, "door", table, **options)


def held(store: MemoryGalleryStore) -> dict[str, list[bytes]]:
    found = store.catalogue("door", vectors=True)
    return {
        each.name: sorted(found.vector(template.slot).tobytes() for template in each.templates)
        for each in found.subjects.values()
    }


def test_every_form_of_table_gives_the_same_gallery(tmp_path: Path) -> None:
    people = [("Ann", 1), ("Ann", 2), ('Bö, "b"', 3)]
    vectors = np.stack([unit(seed) for _, seed in people])
    np.save(tmp_path / "v.npy", vectors)
    np.savez(tmp_path / "v.npz", vectors=vectors, subjects=[who for who, _ in people], external_ids=["a", "a", ""])
    notes = [(who, "a" if who == "Ann" else "") for who, _ in people]
    files = [
        (write(tmp_path / "p.csv", ["vector", "subject", "external_id"], [
            (packed(unit(seed)), *note) for (_, seed), note in zip(people, notes, strict=True)
        ]), None),
        (write(tmp_path / "n.csv", ["subject", "external_id", *(f"v{n}" for n in range(DIMENSION))], [
            (*note, *unit(seed).tolist()) for (_, seed), note in zip(people, notes, strict=True)
        ]), None),
        (tmp_path / "v.npy", write(tmp_path / "names.csv", ["subject", "external_id"], notes)),
        (tmp_path / "v.npz", None),
    ]  # fmt: skip
    for file, names in files:
        store = MemoryGalleryStore()
        store.create("door", model_id="m", dimension=DIMENSION)
        done = run(store, file, names)
        assert (done.enrolled, done.before, done.refused) == (3, 0, {}), file
        assert held(store) == {
            "Ann": sorted(unit(seed).tobytes() for seed in (1, 2)),
            'Bö, "b"': [unit(3).tobytes()],
        }
        assert store.by_external_id("door", "a") == "Ann"


def test_columns_say_what_is_known_of_a_template(store: MemoryGalleryStore, tmp_path: Path) -> None:
    header = ["subject", "vector", "image", "quality", "template_id", "model_id"]
    run(store, write(tmp_path / "t.csv", header, [("Ann", packed(unit(1)), "ab/x", "0.5", "mine", "m")]))
    [template] = store.show("door", "Ann").templates
    assert (template.image, template.quality, template.template_id) == ("ab/x", 0.5, "mine")


def test_rows_that_are_wrong_are_named_and_harm_no_other(store: MemoryGalleryStore, tmp_path: Path) -> None:
    nan = unit(1).copy()
    nan[2] = np.nan
    rows = [
        ("Ann", packed(unit(1)), "", ""),
        ("Bob", packed(unit(1)[:-1]), "", ""),
        ("Bob", packed(nan), "", ""),
        ("Bob", packed(3 * unit(1)), "", ""),
        ("Bob", packed(unit(1)), "other", ""),
        ("", packed(unit(1)), "", ""),
        ("Bob", "no base64!", "", ""),
        ("Bob",),
        ("Bob", packed(unit(1)), "", "1.5"),
        ("Bob", packed(unit(1)), "", "good"),
        ("Cid", packed(unit(2)), "m", "1"),
    ]
    file = write(tmp_path / "t.csv", ["subject", "vector", "model_id", "quality"], rows)
    done = run(store, file)
    assert held(store).keys() == {"Ann", "Cid"}
    assert (done.rows, done.enrolled, done.refused_count) == (11, 2, 9)
    words = (
        "shape",
        "norm is nan",
        "norm is 3",
        "model other",
        "empty",
        "base64|cannot be read",
        "cells",
        "quality is 1.5",
        "quality 'good' is no number",
    )
    assert list(done.refused) == [2, 3, 4, 5, 6, 7, 8, 9, 10]
    for why, word in zip(done.refused.values(), words, strict=True):
        assert any(each in why for each in word.split("|")), (why, word)


def test_vectors_are_brought_to_length_one_where_that_is_asked_for(store: MemoryGalleryStore, tmp_path: Path) -> None:
    rows = [("Ann", packed(5 * unit(1))), ("Bob", packed(0 * unit(1)))]
    done = run(store, write(tmp_path / "t.csv", ["subject", "vector"], rows), normalise=True)
    assert list(done.refused) == [2]
    [vector] = held(store)["Ann"]
    assert np.allclose(np.frombuffer(vector, np.float32), unit(1), atol=1e-6)


def test_an_external_id_of_somebody_else_costs_one_row(store: MemoryGalleryStore, tmp_path: Path) -> None:
    rows = [("Ann", "a", packed(unit(1))), ("Bob", "a", packed(unit(2))), ("Cid", "c", packed(unit(3)))]
    done = run(store, write(tmp_path / "t.csv", ["subject", "external_id", "vector"], rows))
    assert list(done.refused) == [2]
    assert held(store).keys() == {"Ann", "Cid"}


def test_two_people_of_one_name_are_not_made_one(store: MemoryGalleryStore, tmp_path: Path) -> None:
    store.enrol("door", [Enrolment("Dan", "t", unit(9), "", 1.0, "m")])
    rows = [
        ("Ann", "a", packed(unit(1))),
        ("Ann", "other", packed(unit(2))),
        ("Ann", "a", packed(unit(3))),
        ("Ann", "", packed(unit(4))),
        ("Dan", "d", packed(unit(5))),
    ]
    file = write(tmp_path / "t.csv", ["subject", "external_id", "vector"], rows)
    done = run(store, file)
    assert done.refused == {2: "'Ann' has the external id 'a', not 'other'; give one of the two another name"}
    assert {name: len(some) for name, some in held(store).items()} == {"Ann": 3, "Dan": 2}
    # As well when who is there comes from before.
    assert list(run(store, file, again=True).refused) == [2]


def test_empty_lines_are_no_rows(store: MemoryGalleryStore, tmp_path: Path) -> None:
    file = write(tmp_path / "t.csv", ["subject", "vector"], [(), ("Ann", packed(unit(1))), (), ()])
    assert (run(store, file).rows, held(store).keys()) == (1, {"Ann"})
    np.save(tmp_path / "v.npy", np.stack([unit(2), unit(3)]))
    names = write(tmp_path / "n.csv", ["subject"], [("Bob",), (), ("Cid",), ()])
    assert (run(store, tmp_path / "v.npy", names).refused, held(store).keys()) == ({}, {"Ann", "Bob", "Cid"})


class TestGoingOn:
    @pytest.fixture(autouse=True)
    def small_batches(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(table_import, "_BATCH", 2)

    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        rows = [(f"n{seed}", packed(unit(seed) if seed != 3 else 2 * unit(3))) for seed in range(21)]
        return write(tmp_path / "t.csv", ["subject", "vector"], rows)

    def test_a_run_that_was_broken_off_goes_on_behind_the_last_batch(
        self, store: MemoryGalleryStore, file: Path
    ) -> None:
        asked: list[str] = []
        real = store.enrol

        def enrol(name: str, enrolments: Sequence[Enrolment]) -> list[int]:
            asked.extend(each.subject for each in enrolments)
            if len(asked) > 11:
                raise StateUnavailable
            return real(name, enrolments)

        store.enrol = enrol  # type: ignore[method-assign]
        with pytest.raises(StateUnavailable):
            run(store, file)
        first, asked[:] = len(held(store)), []
        store.enrol = lambda name, some: (asked.extend(each.subject for each in some), real(name, some))[1]  # type: ignore[method-assign]
        done = run(store, file)
        assert first > 4
        assert len(asked) < 20
        assert (done.before + done.enrolled, done.rows, list(done.refused)) == (20, 21, [4])
        assert len(held(store)) == 20
        # Once more: nothing is left to do.
        asked.clear()
        assert run(store, file).before == 20
        assert asked == []
        assert run(store, file, again=True).enrolled == 20
        assert store.info("door").templates == 20

    def test_another_table_or_a_new_gallery_begins_at_the_first_row(
        self, store: MemoryGalleryStore, file: Path
    ) -> None:
        run(store, file)
        other = MemoryGalleryStore()
        other.create("door", model_id="m", dimension=DIMENSION)
        assert run(other, file).enrolled == 20
        write(file, ["subject", "vector"], [("Zoe", packed(unit(77)))])
        assert run(other, file).enrolled == 1

    def test_other_names_beside_the_same_vectors_begin_at_the_first_row(
        self, store: MemoryGalleryStore, tmp_path: Path
    ) -> None:
        np.save(tmp_path / "v.npy", np.stack([unit(1), unit(2)]))
        assert run(store, tmp_path / "v.npy", write(tmp_path / "n.csv", ["subject"], [("",), ("Bob",)])).enrolled == 1
        done = run(store, tmp_path / "v.npy", write(tmp_path / "n.csv", ["subject"], [("Ann",), ("Bob",)]))
        assert (done.enrolled, done.refused) == (2, {})

    def test_a_gallery_that_has_lost_what_was_noted_is_filled_from_the_first_row(
        self, store: MemoryGalleryStore, file: Path
    ) -> None:
        backup = MemoryGalleryStore()
        backup.create("door", model_id="m", dimension=DIMENSION)
        epoch = store.info("door").epoch
        real = backup.info
        backup.info = lambda name: replace(real(name), epoch=epoch)  # type: ignore[method-assign]
        run(store, file)
        assert run(backup, file).enrolled == 20
        assert len(held(backup)) == 20

    def test_progress_is_told(self, store: MemoryGalleryStore, file: Path) -> None:
        told: list[int] = []
        run(store, file, tell=lambda what, done, of: told.append(done))
        assert told == [*range(2, 21, 2), 21]


class TestRefusals:
    def test_what_is_no_table_says_what_is_missing(self, store: MemoryGalleryStore, tmp_path: Path) -> None:
        file = tmp_path / "t.csv"
        for header, word in ((["name", "vector"], "`subject`"), (["subject", "x"], "v0")):
            with pytest.raises(Rejected, match=word):
                run(store, write(file, header, []))
        np.savez(tmp_path / "v.npz", vectors=np.zeros((2, 3), np.float32))
        with pytest.raises(Rejected, match="no array subjects"):
            run(store, tmp_path / "v.npz")
        np.savez(tmp_path / "v.npz", vectors=np.zeros((2, 3), np.float32), subjects=["a"])
        with pytest.raises(Rejected, match="shape"):
            run(store, tmp_path / "v.npz")
        np.save(tmp_path / "v.npy", np.zeros(3, np.int64))
        with pytest.raises(Rejected, match="one a row"):
            run(store, tmp_path / "v.npy", write(file, ["subject"], []))
        with pytest.raises(Rejected, match="--names"):
            run(store, tmp_path / "v.npy")
        with pytest.raises(Rejected, match=r"not a \.csv"):
            run(store, tmp_path / "v.txt")

    @pytest.mark.parametrize(
        ("text", "word"),
        [
            (b"subject,vector\nAnn,\xff\n", "UTF-8"),
            (b'subject,vector\n"Ann,' + b"x" * 200_000, "line 2.*field larger than field limit"),
            (b'"' + b"x" * 200_000, "line 1.*field larger than field limit"),
            (b"\xff", "UTF-8"),
            (b"subject,v0,v\xc2\xb2\n", None),
        ],
    )
    def test_text_that_cannot_be_read_is_refused_in_words(
        self, store: MemoryGalleryStore, tmp_path: Path, text: bytes, word: str | None
    ) -> None:
        (tmp_path / "t.csv").write_bytes(text)
        if word is None:
            assert run(store, tmp_path / "t.csv").rows == 0
            return
        with pytest.raises(Rejected, match=rf"t\.csv.*{word}"):
            run(store, tmp_path / "t.csv")

    def test_a_file_that_is_not_what_its_name_says_is_refused(self, store: MemoryGalleryStore, tmp_path: Path) -> None:
        names = write(tmp_path / "n.csv", ["subject"], [])
        np.savez_compressed(tmp_path / "a.npz", vectors=np.zeros((90, 30), np.float32), subjects=["a"] * 90)
        np.save(tmp_path / "a.npy", np.zeros((2, 3), np.float32))
        damaged = bytearray((tmp_path / "a.npz").read_bytes())
        damaged[60:90] = bytes(30)
        files = {
            "b.npy": (tmp_path / "a.npz").read_bytes(),
            "b.npz": (tmp_path / "a.npy").read_bytes(),
            "c.npz": bytes(damaged),
            "c.npy": b"",
            "d.npz": b"",
        }
        for name, data in files.items():
            (tmp_path / name).write_bytes(data)
            with pytest.raises(Rejected, match=rf"{name} (cannot be read|is not what)"):
                run(store, tmp_path / name, names if name.endswith("npy") else None)

    @pytest.mark.parametrize(("names", "word"), [(["a"], "ends after 1"), (["a", "b", "c"], "more rows")])
    def test_names_and_vectors_must_fit(
        self, store: MemoryGalleryStore, tmp_path: Path, names: list[str], word: str
    ) -> None:
        np.save(tmp_path / "v.npy", np.stack([unit(1), unit(2)]))
        with pytest.raises(Rejected, match=word):
            run(store, tmp_path / "v.npy", write(tmp_path / "n.csv", ["subject"], [[name] for name in names]))

    def test_no_pickle_is_ever_loaded(self, store: MemoryGalleryStore, tmp_path: Path) -> None:
        np.save(tmp_path / "v.npy", np.array([{}], object), allow_pickle=True)
        with pytest.raises(Rejected, match=r"objects|pickle"):
            run(store, tmp_path / "v.npy", write(tmp_path / "n.csv", ["subject"], []))

    def test_the_gallery_must_be_there_and_of_the_model(self, store: MemoryGalleryStore, tmp_path: Path) -> None:
        file = write(tmp_path / "t.csv", ["subject", "vector"], [])
        with pytest.raises(ModelMismatch, match="of model m, the table of other"):
            run(store, file, model_id="other")
        with open_table(file) as table, pytest.raises(UnknownGallery):
            import_table(store, "gate", table)

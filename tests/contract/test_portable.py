"""A gallery as a file, and back: from and into every store."""

import json
import stat
import threading
import uuid
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kith.audit import Action
from kith.backends.audit_memory import MemoryAudit
from kith.backends.gallery_memory import MemoryGalleryStore
from kith.backends.gallery_redis import RedisGalleryStore
from kith.backends.images_directory import DirectoryImageStore
from kith.errors import BrokenArchive, ModelMismatch, NameTaken, Rejected, SealBroken
from kith.gallery import Enrolment, GallerySettings, GalleryStore, Introduction, template_id
from kith.keys import Key, KeyRing
from kith.portable import Archive, export_gallery, restore, writing
from kith.sealing import Sealer
from tests.plain_gallery import DIMENSION, unit

Content = dict[str, Any]


def face(subject: str, seed: int, image: str | None = None) -> Enrolment:
    image = image or f"ab/{seed}"
    return Enrolment(subject, template_id("door", subject, image), unit(seed), image, 0.25 + seed % 5 / 7, "m")


def content(store: GalleryStore, name: str) -> Content:
    """Everything of everybody that a move should not lose, slots and sequence numbers apart."""
    found = store.catalogue(name, vectors=True)
    return {
        each.name: (
            *(each.subject_id, each.created_ms, each.external_id, dict(each.metadata)),
            {
                t.template_id: (t.image, t.quality, t.enrolled_ms, found.vector(t.slot).tobytes())
                for t in each.templates
            },
        )
        for each in found.subjects.values()
    }


@pytest.fixture(params=["memory", "redis"])
def fresh(request: pytest.FixtureRequest) -> Callable[[], GalleryStore]:
    """Makes an empty store."""
    if request.param == "memory":
        return MemoryGalleryStore
    client = request.getfixturevalue("redis_client")
    return lambda: RedisGalleryStore(client, f"t{uuid.uuid4().hex[:12]}")


@pytest.fixture
def store(fresh: Callable[[], GalleryStore]) -> GalleryStore:
    store = fresh()
    store.create("door", model_id="m", dimension=DIMENSION, settings=GallerySettings(cutoff=0.25, margin=0.1))
    return store


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "door.kith"


def filled(store: GalleryStore) -> GalleryStore:
    store.enrol("door", [face("Ann", 1), face("Ann", 2), face("Bob 🙂", 3)])
    store.describe("door", "Ann", external_id="a-1", metadata={"room": "7"})
    store.introduce("door", "Empty", Introduction(external_id="e"))
    return store


def restored(store: GalleryStore, file: Path, name: str | None = None, **options: Any) -> Any:
    with Archive(file) as archive:
        return restore(store, archive, name, **({"audit": MemoryAudit(), "by": "cli:ada@desk"} | options))


class TestRoundTrip:
    def test_it_stands_in_the_audit_log_with_where_it_came_from(
        self, store: GalleryStore, fresh: Callable[[], GalleryStore], file: Path
    ) -> None:
        manifest = export_gallery(filled(store), "door", file)
        other, audit = fresh(), MemoryAudit()
        restored(other, file, "gate", audit=audit)
        told = audit.latest(1)[0].deed
        assert (told.actor, told.action, told.gallery) == ("cli:ada@desk", Action.RESTORED, "gate")
        assert told.sequence == other.info("gate").sequence
        assert told.detail == {
            **{"from": "door", "at": manifest.sequence, "exported_ms": manifest.exported_ms},
            **{"stage": "done", "subjects": 3, "templates": 3, "refused": 0},
        }

    def test_one_that_is_killed_stands_there_with_where_it_comes_from(
        self, store: GalleryStore, fresh: Callable[[], GalleryStore], file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        manifest = export_gallery(filled(store), "door", file)
        other, audit = fresh(), MemoryAudit()

        def killed(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as gone:
            gone.setattr(other, "enrol", killed)
            with pytest.raises(KeyboardInterrupt):
                restored(other, file, "gate", audit=audit)
        [entry] = audit.page().entries
        assert (entry.deed.action, entry.deed.gallery, entry.deed.sequence) == (Action.RESTORED, "gate", None)
        origin = {"from": "door", "at": manifest.sequence, "exported_ms": manifest.exported_ms}
        assert entry.deed.detail == {"stage": "begun", **origin}
        # What is refused is not begun.
        before = audit.head()
        other.create("yard", model_id="another", dimension=3)
        with pytest.raises(ModelMismatch):
            restored(other, file, "yard", audit=audit)
        assert audit.head() == before

    def test_a_restored_gallery_has_everything_of_everybody(
        self, store: GalleryStore, fresh: Callable[[], GalleryStore], file: Path
    ) -> None:
        manifest = export_gallery(filled(store), "door", file)
        assert (manifest.subjects, manifest.templates, manifest.sequence) == (3, 3, store.info("door").sequence)
        other = fresh()
        done = restored(other, file, into_empty=True)
        assert content(other, "door") == content(store, "door")
        assert other.info("door").settings == GallerySettings(cutoff=0.25, margin=0.1)
        assert (done.subjects, done.templates, done.new_subjects, done.new_templates, done.refused) == (3, 3, 3, 3, {})
        # Again: a restore is for the empty, an import finds everybody there.
        with pytest.raises(Rejected, match="has 3 subjects"):
            restored(other, file, into_empty=True)
        before = other.info("door").sequence
        assert restored(other, file).new_templates == 0
        assert other.info("door").sequence == before

    def test_an_empty_gallery_is_one_too(
        self, store: GalleryStore, fresh: Callable[[], GalleryStore], file: Path
    ) -> None:
        export_gallery(store, "door", file)
        other = fresh()
        assert restored(other, file, "gate").subjects == 0
        assert other.info("gate").dimension == DIMENSION

    @settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        people=st.dictionaries(
            st.text(
                st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp")), min_size=1, max_size=9
            ),
            st.tuples(
                st.lists(st.integers(0, 30), unique=True, max_size=5),
                st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
            ),
            max_size=6,
        ),
        rows=st.integers(1, 4),
    )
    def test_whoever_is_in_it_comes_back(
        self, fresh: Callable[[], GalleryStore], file: Path, people: dict[str, Any], rows: int
    ) -> None:
        store, other = fresh(), fresh()
        store.create("door", model_id="m", dimension=DIMENSION)
        for who, (seeds, notes) in people.items():
            store.introduce("door", who, Introduction(metadata=notes))
            store.enrol("door", [face(who, seed) for seed in seeds])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(writing, "SHARD_ROWS", rows)
            export_gallery(store, "door", file)
        restored(other, file)
        assert content(other, "door") == content(store, "door")

    def test_under_writers_it_is_the_state_of_its_number(self, store: GalleryStore, file: Path) -> None:
        states, stop = {0: {}}, threading.Event()

        def write() -> None:
            random, held = np.random.default_rng(1), {}
            while not stop.is_set():
                who, seed = f"n{random.integers(6)}", int(random.integers(99))
                if random.random() < 0.2 and who in held:
                    sequence = store.forget("door", who).sequence
                    held = {name: seeds for name, seeds in held.items() if name != who}
                else:
                    sequence = store.enrol("door", [face(who, seed)])[0]
                    held = {**held, who: held.get(who, frozenset()) | {seed}}
                states.setdefault(sequence, held)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            manifests = [(export_gallery(store, "door", file.with_suffix(f".{turn}")), turn) for turn in range(6)]
        finally:
            stop.set()
            writer.join()
        for manifest, turn in manifests:
            other = MemoryGalleryStore()
            restored(other, file.with_suffix(f".{turn}"))
            expected = {
                who: {face(who, seed).template_id: unit(seed).tobytes() for seed in seeds}
                for who, seeds in states[manifest.sequence].items()
            }
            assert {
                who: {template: said[-1] for template, said in each[-1].items()}
                for who, each in content(other, "door").items()
            } == expected


class TestMerging:
    def test_two_people_of_the_file_never_become_one(self, store: GalleryStore, file: Path) -> None:
        store.enrol("door", [face("Ann", 1), face("Anna", 2), face("Bea", 3), face("Cid", 4)])
        store.describe("door", "Bea", external_id="b")
        export_gallery(store, "door", file)
        # Ann is called Anna now, and Cid has Bea's external id.
        store.forget("door", "Anna")
        store.rename("door", "Ann", "Anna")
        store.forget("door", "Bea")
        store.describe("door", "Cid", external_id="b")
        done = restored(store, file)
        assert {each.name: each.templates for each in store.subjects("door")} == {"Anna": 1, "Cid": 1}
        assert done.refused == {
            "Anna": "'Anna' of the gallery is 'Ann' of the file",
            "Bea": "'Cid' of the gallery, with the external id 'b', is 'Cid' of the file",
        }
        assert (done.subjects, done.templates) == (2, 2)

    def test_whoever_is_refused_is_not_counted(self, store: GalleryStore, file: Path) -> None:
        store.introduce("door", "Ann", Introduction(external_id="a"))
        export_gallery(store, "door", file)
        other = Taken()
        other.create("door", model_id="m", dimension=DIMENSION)
        done = restored(other, file)
        assert (done.subjects, list(done.refused)) == (0, ["Ann"])

    def test_people_are_met_by_id_then_external_id_then_name(self, store: GalleryStore, file: Path) -> None:
        store.enrol("door", [face("Ann", 1), face("Bob", 2), face("Cid", 3), face("Dan", 4), face("Eve", 5)])
        store.describe("door", "Bob", external_id="b")
        store.describe("door", "Dan", external_id="d")
        export_gallery(store, "door", file)
        store.rename("door", "Ann", "Anna")
        for who in ("Bob", "Cid", "Dan", "Eve"):
            store.forget("door", who)
        store.enrol("door", [face("Robert", 12), face("Cid", 13), face("Dan", 14)])
        store.describe("door", "Robert", external_id="b")
        store.describe("door", "Dan", external_id="other")
        done = restored(store, file)
        found = {each.name: (each.templates, each.external_id) for each in store.subjects("door")}
        assert found == {
            "Anna": (1, None),
            "Robert": (2, "b"),
            "Cid": (2, None),
            "Dan": (1, "other"),
            "Eve": (1, None),
        }
        assert done.refused == {"Dan": "somebody else of that name has the external id 'other'"}

    def test_another_model_is_refused(self, store: GalleryStore, file: Path) -> None:
        export_gallery(filled(store), "door", file)
        store.create("gate", model_id="n", dimension=DIMENSION)
        with pytest.raises(ModelMismatch, match="never meet"):
            restored(store, file, "gate")
        assert store.info("gate").subjects == 0


class TestParts:
    def test_pictures_travel_where_they_are_asked_for(self, store: GalleryStore, file: Path, tmp_path: Path) -> None:
        images, others = (DirectoryImageStore(tmp_path / name) for name in ("here", "there"))
        key = images.put(b"a picture")
        store.enrol("door", [face("Ann", 1, key), face("Bob", 2, "ab/" + "ab" * 32)])
        assert export_gallery(store, "door", file, images=images).images == 1
        assert restored(MemoryGalleryStore(), file, images=others).images == 1
        assert others.get(key) == b"a picture"

    def test_sealed_vectors_open_with_their_keys_only(self, store: GalleryStore, file: Path) -> None:
        keys = [KeyRing("door", (Key(bytes([n]) * 32),)) for n in (1, 2)]
        first, second = (lambda epoch, d, ring=ring: Sealer(ring, epoch, d) for ring in keys)
        manifest = export_gallery(filled(store), "door", file, sealer=first)
        assert manifest.sealed == keys[0].key_ids
        assert unit(1).tobytes() not in file.read_bytes()
        for opener in (None, second):
            other = MemoryGalleryStore()
            with pytest.raises(SealBroken):
                restored(other, file, sealer=opener)
            assert other.galleries() == []
        other = MemoryGalleryStore()
        restored(other, file, sealer=first)
        assert content(other, "door") == content(store, "door")


class TestFile:
    def test_it_is_for_its_owner_alone(self, store: GalleryStore, file: Path) -> None:
        file.write_bytes(b"yesterday's")
        file.chmod(0o644)
        export_gallery(filled(store), "door", file)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert [each.name for each in file.parent.iterdir()] == [file.name]

    def test_a_picture_that_is_damaged_in_the_store_is_left_out(
        self, store: GalleryStore, file: Path, tmp_path: Path
    ) -> None:
        images = DirectoryImageStore(tmp_path / "here")
        keys = [images.put(b"a picture"), images.put(b"another")]
        (tmp_path / "here" / keys[0]).write_bytes(b"damaged")
        store.enrol("door", [face("Ann", 1, keys[0]), face("Ann", 2, keys[1])])
        assert export_gallery(store, "door", file, images=images).images == 1


class TestDamage:
    def test_what_is_compressed_is_refused_before_it_is_unpacked(self, store: GalleryStore, file: Path) -> None:
        export_gallery(filled(store), "door", file)
        parts = members(file)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in parts.items():
                archive.writestr(name, data)
        with pytest.raises(BrokenArchive, match=r"manifest\.json is compressed"):
            Archive(file)

    @pytest.mark.parametrize(
        ("part", "line"),
        [
            ("subjects.jsonl", {"name": "a\u0000b"}),
            ("subjects.jsonl", {"id": "../../etc"}),
            ("subjects.jsonl", {"number": "1"}),
            ("subjects.jsonl", {"number": 2}),
            ("subjects.jsonl", {"name": "Bob 🙂"}),
            ("subjects.jsonl", {"metadata": ["x"]}),
            ("subjects.jsonl", {"metadata": {"note": 7}}),
            ("subjects.jsonl", {"created_ms": "yesterday"}),
            ("templates.jsonl", {"subject": 99}),
            ("templates.jsonl", {"subject": [1]}),
            ("templates.jsonl", {"quality": 7}),
            ("templates.jsonl", {"id": None}),
            ("templates.jsonl", {"enrolled_ms": None}),
        ],
    )
    def test_what_cannot_be_is_refused_before_anything_is_written(
        self, part: str, line: dict[str, Any], store: GalleryStore, file: Path
    ) -> None:
        export_gallery(filled(store), "door", file)
        parts = members(file)
        first, *others = parts[part].splitlines(keepends=True)
        changed = json.dumps({**json.loads(first), **line}).encode() + b"\n"
        with_sum(file, parts, part, b"".join([changed, *others]))
        other = MemoryGalleryStore()
        with pytest.raises(BrokenArchive, match=part):
            restored(other, file)
        assert other.galleries() == []

    @pytest.mark.parametrize("text", ["[" * 100_000, "1", '"x"', "{}"])
    def test_lines_that_are_no_lines_are_refused(self, text: str, store: GalleryStore, file: Path) -> None:
        export_gallery(filled(store), "door", file)
        with_sum(file, members(file), "subjects.jsonl", text.encode())
        with pytest.raises(BrokenArchive, match=r"subjects\.jsonl"):
            restored(MemoryGalleryStore(), file)

    def test_a_vector_of_another_length_is_refused_before_anything_is_written(
        self, store: GalleryStore, file: Path
    ) -> None:
        export_gallery(filled(store), "door", file)
        rows = np.stack([unit(seed) for seed in (1, 2, 3)])
        rows[2] *= 2
        with_sum(file, members(file), "vectors/00000.safetensors", safetensors.numpy.save({"vectors": rows}))
        other = MemoryGalleryStore()
        with pytest.raises(BrokenArchive, match="vector 3 has the norm 2, not 1"):
            restored(other, file)
        assert other.galleries() == []

    @pytest.mark.parametrize("name", ["_signing", "../door", "x" * 2000])
    def test_a_gallery_that_cannot_be_called_that_is_refused(self, name: str, store: GalleryStore, file: Path) -> None:
        export_gallery(store, "door", file)
        parts = members(file)
        manifest = json.dumps({**json.loads(parts["manifest.json"]), "gallery": name}).encode()
        rewrite(file, {**parts, "manifest.json": manifest})
        with pytest.raises(BrokenArchive, match="gallery name"):
            Archive(file)

    @pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
    def test_a_file_that_was_cut_off_is_refused(self, store: GalleryStore, file: Path, share: float) -> None:
        export_gallery(filled(store), "door", file)
        file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
        with pytest.raises(BrokenArchive, match="cut off"):
            Archive(file)

    def test_every_altered_added_or_missing_part_is_named(self, store: GalleryStore, file: Path) -> None:
        export_gallery(filled(store), "door", file)
        parts = members(file)
        assert len(parts) == 4
        for name, data in parts.items():
            for changed in (data[:-1] + bytes([data[-1] ^ 1]), None):
                rewrite(file, {**parts, name: changed})
                other = MemoryGalleryStore()
                with pytest.raises(BrokenArchive, match=name if name != "manifest.json" else "manifest"):
                    restored(other, file)
                assert other.galleries() == []
        rewrite(file, {**parts, "extra.txt": b"x"})
        with pytest.raises(BrokenArchive, match=r"extra\.txt does not belong"):
            restored(MemoryGalleryStore(), file)

    def test_a_name_that_was_changed_shows_by_the_sum_alone(self, store: GalleryStore, file: Path) -> None:
        export_gallery(filled(store), "door", file)
        parts = members(file)
        rewrite(file, {**parts, "subjects.jsonl": parts["subjects.jsonl"].replace(b"Ann", b"Eve")})
        with pytest.raises(BrokenArchive, match=r"subjects\.jsonl was altered, its SHA-256"):
            restored(MemoryGalleryStore(), file)

    def test_a_flipped_bit_anywhere_in_the_vectors_is_noticed(self, store: GalleryStore, file: Path) -> None:
        export_gallery(filled(store), "door", file)
        data = bytearray(file.read_bytes())
        data[data.find(unit(2).tobytes()) + 5] ^= 16
        file.write_bytes(data)
        with pytest.raises(BrokenArchive, match=r"vectors/00000\.safetensors"):
            restored(MemoryGalleryStore(), file)

    @pytest.mark.parametrize("lines", [0, 2, 4])
    def test_lines_and_vectors_that_do_not_fit_each_other_are_refused(
        self, store: GalleryStore, file: Path, lines: int
    ) -> None:
        export_gallery(filled(store), "door", file)
        parts = members(file)
        some = (parts["templates.jsonl"].splitlines(keepends=True) * 2)[:lines]
        with_sum(file, parts, "templates.jsonl", b"".join(some))
        other = MemoryGalleryStore()
        with pytest.raises(BrokenArchive, match="more"):
            restored(other, file)
        assert other.galleries() == []

    def test_a_newer_format_says_what_to_do(self, store: GalleryStore, file: Path) -> None:
        export_gallery(store, "door", file)
        parts = members(file)
        rewrite(file, {**parts, "manifest.json": parts["manifest.json"].replace(b'"format":1', b'"format":2')})
        with pytest.raises(BrokenArchive, match="upgrade"):
            Archive(file)

    def test_an_export_that_fails_leaves_the_old_file(
        self, store: GalleryStore, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file.write_bytes(b"yesterday's")
        filled(store)

        def full(*_: object) -> bytes:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(writing, "save", full)
        with pytest.raises(OSError, match="No space"):
            export_gallery(store, "door", file)
        assert [each.read_bytes() for each in file.parent.iterdir()] == [b"yesterday's"]


class Taken(MemoryGalleryStore):
    """A gallery in which somebody else gets the external id just before."""

    def introduce(self, *_: object) -> int | None:
        raise NameTaken("another subject has the external id 'a'")


def members(file: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewrite(file: Path, parts: dict[str, bytes | None]) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in parts.items():
            if data is not None:
                archive.writestr(name, data)


def with_sum(file: Path, parts: dict[str, bytes], name: str, data: bytes) -> None:
    manifest = json.loads(parts["manifest.json"])
    manifest["parts"][name] = {"sha256": sha256(data).hexdigest(), "size": len(data)}
    rewrite(file, {**parts, name: data, "manifest.json": json.dumps(manifest).encode()})

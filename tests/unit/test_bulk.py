"""A folder into jobs: nothing lost, nothing repeated, wherever a run breaks off."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from kith import bulk as bulk_module
from kith.backends.images_directory import DirectoryImageStore
from kith.bulk import Bulk
from kith.errors import Misconfigured, Overloaded, StateFull, StateUnavailable, StoreDenied, StoreUnavailable
from kith.folder import label_of, scan
from kith.intake import Intake
from kith.jobs import EmbedJob, Kind
from kith.ledger import Accepted
from kith.settings import Redis, Settings


class Killed(BaseException):
    """What a SIGKILL would do at this line."""


class Ledger:
    """Accepts jobs as the real one does. `before` and `after` may raise, around what is kept."""

    def __init__(self) -> None:
        self.jobs: dict[str, EmbedJob] = {}
        self.before: Callable[[], None] = lambda: None
        self.after: Callable[[], None] = lambda: None

    def accept_many(self, jobs: Sequence[EmbedJob]) -> list[Accepted]:
        self.before()
        answers = [Accepted.OPEN if job.job_id in self.jobs else Accepted.NEW for job in jobs]
        self.jobs.update({job.job_id: job for job in jobs if job.job_id not in self.jobs})
        self.after()
        return answers

    @property
    def labels(self) -> list[str | None]:
        return sorted(str(image.label) for job in self.jobs.values() for image in job.images)


class Queue:
    def send_many(self, payloads: Sequence[tuple[str, Any]]) -> None:
        pass


class Site:
    """A home, a folder of images, and the system they are submitted to."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "photos"
        self.folder.mkdir()
        self.settings = Settings.model_validate(
            {"home": root / "home", "jobs": {"images_per_job": 3}, "limits": {"image_bytes": 1000}}
        )
        self.ledger = Ledger()
        self.store = DirectoryImageStore(root / "images")
        self.told: list[str] = []

    def add(self, *names: str) -> None:
        for name in names:
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_bytes(f"bytes of {name[-99:]}".encode("utf-8", "surrogateescape"))

    @contextmanager
    def bulk(self, **options: Any) -> Iterator[Bulk]:
        intake = Intake(self.store, self.ledger, Queue(), self.settings)  # type: ignore[arg-type]
        with Bulk(intake, self.settings, self.folder, notify=self.told.append, **options) as bulk:
            yield bulk

    def run(self, **options: Any) -> Bulk:
        with self.bulk(**options) as bulk:
            self.steps = list(bulk.run())
        return bulk


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setattr(bulk_module, "_FIRST_PAUSE_S", 0.001)
    return Site(tmp_path)


NAMES = tuple(f"{number:03}.jpg" for number in range(40))


def test_every_image_of_a_folder_is_handed_in_once_in_jobs_of_the_size_that_is_set(site: Site) -> None:
    site.add(*NAMES, "deep/er/one.PNG", "notes.txt", ".hidden.jpg", ".cache/x.jpg")
    site.run()
    assert site.ledger.labels == sorted([*NAMES, "deep/er/one.PNG"])
    assert sorted({len(job.images) for job in site.ledger.jobs.values()}) == [2, 3]
    assert (site.steps[-1].total, site.steps[-1].handed_in, site.steps[-1].before) == (41, 41, 0)
    assert {job_id for step in site.steps for job_id in step.job_ids} == set(site.ledger.jobs)
    assert site.store.get(next(iter(site.ledger.jobs.values())).images[0].key).startswith(b"bytes of ")


def test_the_same_command_again_hands_in_what_is_new_or_changed_and_nothing_else(site: Site) -> None:
    site.add(*NAMES)
    site.run()
    site.run()
    assert site.ledger.labels == list(NAMES)
    assert (site.steps[-1].handed_in, site.steps[-1].before) == (0, 40)
    site.add("000a.jpg")
    (site.folder / NAMES[5]).write_bytes(b"another picture altogether")
    site.run()
    assert site.ledger.labels == sorted([*NAMES, "000a.jpg", NAMES[5]])
    assert (site.steps[-1].handed_in, site.steps[-1].before) == (2, 40)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("batch", [1, 2, 3])
def test_a_run_killed_around_the_ledger_neither_loses_nor_repeats_an_image(site: Site, moment: str, batch: int) -> None:
    site.add(*NAMES)
    calls = 0

    def kill() -> None:
        nonlocal calls
        calls += 1
        if calls == batch:
            raise Killed

    setattr(site.ledger, moment, kill)
    with pytest.raises(Killed):
        site.run()
    # Files that come and go meanwhile shift every later group: the jobs on record must not be grouped anew.
    site.add("000a.jpg", "020a.jpg")
    (site.folder / NAMES[0]).unlink()
    site.run()
    assert site.ledger.labels == sorted([*NAMES, "000a.jpg", "020a.jpg"])


def test_a_run_killed_while_it_uploads_loses_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.add(*NAMES)
    put, calls = site.store.put, 0

    def killing(data: bytes) -> str:
        nonlocal calls
        calls += 1
        if calls == 17:
            raise Killed
        return put(data)

    monkeypatch.setattr(site.store, "put", killing)
    with pytest.raises(Killed):
        site.run(threads=1)
    assert len(site.ledger.labels) == 12
    site.run()
    assert site.ledger.labels == list(NAMES)


def test_a_line_cut_off_by_a_kill_is_removed_and_its_images_are_not_repeated(site: Site) -> None:
    site.add(*NAMES)
    path = site.run().record.path
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    site.run()
    assert site.ledger.labels == list(NAMES)
    lines = path.read_text().splitlines()
    assert all(json.loads(line) for line in lines)
    assert site.steps[-1].handed_in == 1, "the last job holds one image and is sent again under its old id"


def test_a_damaged_line_inside_the_record_is_named_not_skipped(site: Site) -> None:
    site.add(*NAMES)
    path = site.run().record.path
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = b"{\n"
    path.write_bytes(b"".join(lines))
    with pytest.raises(Misconfigured, match="line 3 of"):
        site.run()


def test_submitting_again_on_purpose_makes_other_jobs_of_the_same_images(site: Site) -> None:
    site.add("a.jpg")
    site.run()
    site.run(again=True)
    assert site.ledger.labels == ["a.jpg", "a.jpg"]


def test_gallery_and_kind_have_records_of_their_own(site: Site) -> None:
    site.add("ada/a.jpg")
    site.run()
    site.run(gallery="staff")
    site.run(gallery="staff", kind=Kind.ENROL)
    assert [(job.gallery, job.kind) for job in site.ledger.jobs.values()] == [
        ("default", Kind.IDENTIFY),
        ("staff", Kind.IDENTIFY),
        ("staff", Kind.ENROL),
    ]


def test_a_new_password_is_no_other_installation_and_another_database_is(site: Site) -> None:
    site.add("a.jpg")
    for url in ("redis://:old@state/0", "redis://kith:new@state/0", "redis://state/0?password=newer"):
        site.settings = site.settings.model_copy(update={"redis": Redis(url=SecretStr(url))})
        record = site.run().record.path
    assert site.ledger.labels == ["a.jpg"]
    site.settings = site.settings.model_copy(update={"redis": Redis(url=SecretStr("redis://:old@state/1"))})
    assert site.run().record.path != record


def test_two_processes_do_not_submit_the_same_folder_at_once(site: Site) -> None:
    with site.bulk(), pytest.raises(Misconfigured, match="another process submits"), site.bulk():
        pass


def test_files_that_cannot_be_handed_in_are_listed_and_cost_no_other(site: Site) -> None:
    site.add(*NAMES)
    (site.folder / "010a.jpg").write_bytes(b"")
    (site.folder / "010b.jpg").write_bytes(b"x" * 1001)
    (site.folder / "010c.jpg").symlink_to(site.folder / "nowhere.jpg")
    bulk = site.run()
    assert site.ledger.labels == list(NAMES)
    assert bulk.failures == {
        "010a.jpg": "empty_image: the image (010a.jpg) has no bytes",
        "010b.jpg": "image_too_large: 1001 bytes, the limit is 1000 (limits.image_bytes)",
        "010c.jpg": "unreadable: No such file or directory",
    }
    site.add("010a.jpg")
    site.run()
    assert site.ledger.labels == sorted([*NAMES, "010a.jpg"]), "mended, it is handed in by the next run"


def test_a_file_that_vanishes_between_scan_and_upload_is_listed(site: Site) -> None:
    site.add("a.jpg", "b.jpg")
    with site.bulk() as bulk:
        found = bulk.scan()
        (site.folder / "a.jpg").unlink()
        list(bulk.run(found))
    assert bulk.failures == {"a.jpg": "unreadable: No such file or directory"}
    assert site.ledger.labels == ["b.jpg"]


def test_enrolling_takes_the_subject_from_the_folder_and_refuses_files_without_one(site: Site) -> None:
    site.add("Ada Lovelace/1.jpg", "Grace/2.jpg", "stray.jpg", "too/deep/3.jpg")
    bulk = site.run(kind=Kind.ENROL)
    [job] = site.ledger.jobs.values()
    assert [(image.subject, image.label) for image in job.images] == [
        ("Ada Lovelace", "Ada Lovelace/1.jpg"),
        ("Grace", "Grace/2.jpg"),
    ]
    assert sorted(bulk.failures) == ["stray.jpg", "too/deep/3.jpg"]
    assert "SUBJECT/IMAGE.jpg" in bulk.failures["stray.jpg"]


@pytest.mark.parametrize("signal", [Overloaded, StateUnavailable])
def test_a_full_or_absent_ledger_is_waited_for(site: Site, signal: type[Exception]) -> None:
    site.add(*NAMES)
    refusals = iter([signal] * 3)

    def refuse() -> None:
        for each in refusals:
            raise each

    site.ledger.after = refuse  # some were taken, the answer says no: the hard case
    site.run()
    assert site.ledger.labels == list(NAMES)


def test_an_absent_store_is_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.add(*NAMES)
    put, refusals = site.store.put, iter([StoreUnavailable] * 12)

    def away(data: bytes) -> str:
        for each in refusals:
            raise each
        return put(data)

    monkeypatch.setattr(site.store, "put", away)
    site.run()
    assert site.ledger.labels == list(NAMES)


def test_patience_ends_with_the_trouble_itself_and_the_next_run_goes_on(site: Site) -> None:
    site.add(*NAMES)

    def refuse() -> None:
        raise Overloaded

    site.ledger.before = refuse
    with pytest.raises(Overloaded):
        site.run(patience_s=0.01)
    site.ledger.before = lambda: None
    site.run()
    assert site.ledger.labels == list(NAMES)


@pytest.mark.parametrize("trouble", [StoreDenied, StateFull])
def test_trouble_that_waiting_does_not_mend_ends_a_run_at_once_and_the_same_object_can_go_on(
    site: Site, trouble: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    site.add(*NAMES)

    def refuse(*_: object) -> str:
        raise trouble

    with site.bulk() as bulk:
        with monkeypatch.context() as patch:
            if trouble is StoreDenied:
                patch.setattr(site.store, "put", refuse)
            else:
                patch.setattr(site.ledger, "before", refuse)
            with pytest.raises(trouble):
                list(bulk.run())
        list(bulk.run())
    assert site.ledger.labels == list(NAMES)


def test_stop_ends_a_run_after_the_batch_in_hand(site: Site) -> None:
    site.add(*NAMES)
    with site.bulk() as bulk:
        for step in bulk.run():
            if step.handed_in:
                bulk.stop()
    assert len(site.ledger.labels) == 12
    site.run()
    assert site.ledger.labels == list(NAMES)


def test_names_that_are_no_text_or_too_long_get_a_label_and_are_remembered(site: Site) -> None:
    odd = os.fsdecode(b"caf\xe9.jpg")
    deep = "/".join(["d" * 200] * 6) + "/end.jpg"
    site.add(odd, deep)
    site.run()
    site.run()
    assert site.ledger.labels == sorted(["caf\\xe9.jpg", deep[-1024:]])


def test_a_folder_that_may_not_be_read_is_reported(tmp_path: Path) -> None:
    troubles: list[str] = []
    assert scan(tmp_path / "nowhere", lambda path, _: troubles.append(path)) == []
    assert troubles == [str(tmp_path / "nowhere")]


def test_a_label_is_the_path_as_it_stands() -> None:
    assert label_of("Ада/фото 1.jpg") == "Ада/фото 1.jpg"

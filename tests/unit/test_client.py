"""What the client sends, on doubles that keep it."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from kith.audit import Action
from kith.backends.api_keys_memory import MemoryApiKeys
from kith.backends.audit_memory import MemoryAudit
from kith.backends.cameras_memory import MemoryCameras
from kith.backends.gallery_memory import MemoryGalleryStore
from kith.backends.images_directory import DirectoryImageStore
from kith.backends.keys_directory import DirectoryKeys
from kith.backends.migration_memory import MemoryMigrationStore
from kith.backends.samples_memory import MemorySamples
from kith.backends.sightings_memory import MemorySightings
from kith.backends.watching_memory import MemoryWatch
from kith.backends.webhooks_memory import MemoryPlaces, MemoryWebhooks
from kith.client import Client
from kith.connections import Connections
from kith.errors import MissingImage, UnknownGallery
from kith.gallery_settings import GallerySettings
from kith.jobs import Content, EmbedJob, ImageRef, Kind, Outcome, decide
from kith.ledger import Accepted, JobState
from kith.results import Entry
from kith.settings import Settings
from kith.watching.desk import Watched


class Ledger:
    """Every job is done at once."""

    def __init__(self) -> None:
        self.jobs: list[EmbedJob] = []

    def accept_many(self, jobs: Sequence[EmbedJob]) -> list[Accepted]:
        self.jobs += jobs
        return [Accepted.NEW] * len(jobs)

    def state(self, job_id: str) -> JobState:
        return JobState("done", entries=(job_id,))


class Results:
    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def fetch(self, entry_ids: Sequence[str]) -> list[Entry]:
        [job] = [job for job in self._ledger.jobs if job.job_id in entry_ids]
        return [Entry("1-0", decide(job, index, Outcome.UNKNOWN)) for index in reversed(range(len(job.images)))]


class Queue:
    def send_many(self, payloads: Sequence[Any]) -> None:
        pass


@pytest.fixture
def client(tmp_path: Path) -> Client:
    ledger, galleries = Ledger(), MemoryGalleryStore()
    galleries.create("default", model_id="m", dimension=4)
    connections = Connections(
        store=DirectoryImageStore(tmp_path / "store"),
        ledger=ledger,  # type: ignore[arg-type]
        queue=Queue(),  # type: ignore[arg-type]
        galleries=galleries,
        results=Results(ledger),  # type: ignore[arg-type]
        samples=MemorySamples(),
        migrations=MemoryMigrationStore(galleries),
        erasure=object(),  # type: ignore[arg-type]
        gone=object(),  # type: ignore[arg-type]
        audit=MemoryAudit(),
        keys=DirectoryKeys(tmp_path / "keys"),
        cameras=MemoryCameras(),
        sightings=(sightings := MemorySightings()),
        watched=Watched(MemoryWatch(sightings), object(), lambda *_: None),  # type: ignore[arg-type]
        api_keys=MemoryApiKeys(),
        webhooks=MemoryWebhooks(MemoryPlaces()),
    )
    return Client(Settings(), connections)


def sent(client: Client) -> list[EmbedJob]:
    jobs: list[EmbedJob] = client.ledger.jobs  # type: ignore[attr-defined]
    return jobs


def test_crops_are_enrolled_and_verified_as_what_they_are(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client._galleries, "show", lambda *_: None)
    client.enrol("Ada", [b"crop"], content=Content.ALIGNED)
    client.verify("Ada", [b"crop"], content=Content.ALIGNED)
    client.enrol("Ada", [b"photo"])
    assert [(job.kind, job.content, job.images[0].subject) for job in sent(client)] == [
        (Kind.ENROL, Content.ALIGNED, "Ada"),
        (Kind.VERIFY, Content.ALIGNED, "Ada"),
        (Kind.ENROL, Content.PHOTO, "Ada"),
    ]


def test_more_pictures_than_a_job_holds_are_several_jobs_and_one_answer_in_order(client: Client) -> None:
    pictures = [str(number).encode() for number in range(100)]
    stored = [client.put(picture) for picture in pictures]
    decisions = client.identify(stored)
    assert [decision.image for decision in decisions] == [reference.key for reference in stored]
    assert [len(job.images) for job in sent(client)] == [64, 36]


def test_nothing_is_stored_for_a_gallery_that_is_not_there(client: Client) -> None:
    asked: list[bytes] = []
    with pytest.raises(UnknownGallery):
        client.identify((asked.append(b"x") or b"x" for _ in range(1)), gallery="nowhere")
    assert asked == []


def test_a_file_goes_by_its_path_whatever_bytes_are_in_it(client: Client, tmp_path: Path) -> None:
    odd = tmp_path / "caf\udce9.jpg"
    odd.write_bytes(b"x")
    assert client.put(odd).label == f"{tmp_path}/caf\\xe9.jpg"


def test_a_picture_uploaded_by_somebody_else_is_asked_about_by_its_hash(client: Client) -> None:
    data = b"theirs"
    image, url = client.upload_url(sha256(data).hexdigest().upper())
    assert image == client.put(data)
    assert client.store.delete(image.key)
    Path(unquote(urlsplit(url).path)).write_bytes(data)
    assert client.store.get(image.key) == data
    client.enrol("Ada", [image])
    assert sent(client)[0].images == (ImageRef(image.key, subject="Ada"),)


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "a" * 63, "g" * 64])
def test_what_is_no_hash_has_no_place_in_the_store(client: Client, digest: str) -> None:
    with pytest.raises(MissingImage, match="a SHA-256 in hex"):
        client.upload_url(digest)


def test_what_is_done_through_it_stands_in_the_audit_log_under_who_does_it(client: Client) -> None:
    eve = client.acting_as("key:eve")
    eve.galleries.configure("default", GallerySettings(margin=0.1))
    eve.migrations.begin("default", model_id="n", dimension=3, pack="new")
    assert [(entry.deed.actor, entry.deed.action) for entry in client.audit.page().entries] == [
        ("key:eve", Action.CONFIGURED),
        ("key:eve", Action.MIGRATED),
    ]

"""The whole pipeline on real photographs, with everything people send by mistake: each image has its own fate."""

import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from PIL import Image

from kith.client import Client
from kith.errors import GalleryBehind, JobDead, NoAnswerYet, UnknownGallery, UnknownSubject
from kith.jobs import Content, Decision, ImageRef, Kind, Lane, Outcome, now_ms
from kith.settings import load
from kith.stack import Stack, local_settings
from tests.shared_data import shared_data


@pytest.fixture(scope="module")
def shared() -> Path:
    return shared_data()


@pytest.fixture(scope="module")
def client(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    home = tmp_path_factory.mktemp("pipeline")
    settings = local_settings(
        load(model={"pack": shared / "weights"}, jobs={"retry_backoff_s": 0.1, "sweep_every_s": 0.1, "max_retries": 2}),
        home,
    )
    with Stack(settings), Client.open(settings) as client:
        obama, biden = (shared / "camera/real/enrol" / name for name in ("obama", "biden"))
        client.enrol("Barack Obama", sorted(obama.iterdir()), gallery="people")
        client.enrol("Joe Biden", sorted(biden.iterdir()), gallery="people")
        yield client


@pytest.fixture(scope="module")
def portrait(shared: Path) -> Image.Image:
    return Image.open(shared / "camera/real/enrol/obama/obama.jpg").convert("RGB")


@pytest.fixture(scope="module")
def both(shared: Path) -> Path:
    return shared / "camera/real/obama_and_biden.jpg"


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def bomb() -> bytes:
    """A PNG of 30,000×30,000 pixels in about 100 kB."""
    import struct  # noqa: PLC0415

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(bytes(30_000 * (1 + 30_000 // 8)), 9)
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def identify(client: Client, pictures: dict[str, bytes]) -> dict[str, Decision]:
    """One job of all `pictures`; the decisions by label."""
    refs = [client.intake.put(data, label=label) for label, data in pictures.items()]
    decisions = client.ask(client.intake.job(Kind.IDENTIFY, refs, gallery="people"), timeout_s=60)
    assert [decision.label for decision in decisions] == list(pictures)
    return {str(decision.label): decision for decision in decisions}


def test_of_everything_people_send_in_one_job_each_image_gets_its_own_answer(
    client: Client, portrait: Image.Image
) -> None:
    jpeg = encoded(portrait, "JPEG", quality=90)
    grey16 = np.asarray(portrait.convert("L")).astype(np.uint16) * 257
    frames = [portrait.resize((64, 64)), portrait.resize((64, 64)).rotate(90)]
    rotated = Image.Exif()
    rotated[0x0112] = 6
    answers = identify(
        client,
        {
            "good": jpeg,
            "truncated": jpeg[: len(jpeg) // 2],
            "bomb": bomb(),
            "animated": encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
            "text": b"Dear Sir or Madam, please find attached my photograph.\n" * 20,
            "cmyk": encoded(portrait.convert("CMYK"), "JPEG", quality=95),
            "16 bit": encoded(Image.fromarray(grey16), "PNG"),
            "rotated": encoded(portrait.rotate(90, expand=True), "JPEG", exif=rotated, quality=90),
            "no face": encoded(Image.linear_gradient("L").convert("RGB").resize((300, 200)), "JPEG"),
            "good again": encoded(portrait, "PNG"),
        },
    )
    named = {label: decision.subject for label, decision in answers.items() if decision.outcome is Outcome.MATCH}
    assert named == dict.fromkeys(["good", "cmyk", "16 bit", "rotated", "good again"], "Barack Obama")
    assert answers["no face"].outcome is Outcome.NO_FACE
    refused = {
        label: (decision.reason or "").split(":")[0]
        for label, decision in answers.items()
        if decision.outcome is Outcome.REJECTED
    }
    assert refused == {
        "truncated": "truncated_image",
        "bomb": "image_too_large",
        "animated": "animated_image",
        "text": "not_an_image",
    }


def test_a_photo_of_two_names_both_and_says_where_they_are(client: Client, both: Path) -> None:
    [decision] = client.identify([both], gallery="people")
    assert decision.face is not None
    faces = [decision.face, *decision.others]
    assert {face.subject for face in faces if face.outcome is Outcome.MATCH} == {"Barack Obama", "Joe Biden"}
    assert decision.faces_found == len(faces)
    for face in faces:
        assert face.box is not None
        assert face.landmarks is not None
        x, y, width, height = face.box
        assert all(x <= px <= x + width and y <= py <= y + height for px, py in face.landmarks)


def test_a_photo_of_eleven_faces_decides_all_eleven(client: Client, portrait: Image.Image) -> None:
    width, height = portrait.size
    tile = portrait.resize((240, round(240 * height / width)))
    sheet = Image.new("RGB", (4 * tile.width, 3 * tile.height), "grey")
    for n in range(11):
        sheet.paste(tile, (n % 4 * tile.width, n // 4 * tile.height))
    decision = identify(client, {"eleven": encoded(sheet, "JPEG", quality=92)})["eleven"]
    assert (decision.faces_found, len(decision.others)) == (11, 10)
    assert {face.subject for face in (decision.face, *decision.others) if face} == {"Barack Obama"}


def test_several_people_on_an_enrolment_photo_are_refused_with_the_remedy(client: Client, both: Path) -> None:
    [decision] = client.enrol("Which One", [both], gallery="people")
    assert decision.outcome is Outcome.LOW_QUALITY
    assert "crop the image" in (decision.reason or "")
    assert "Which One" not in [subject.name for subject in client.galleries.subjects("people")]


def test_one_bad_enrolment_photo_spoils_no_other(client: Client, shared: Path) -> None:
    good = sorted((shared / "camera/real/enrol/biden").iterdir())[0].read_bytes()
    answers = client.enrol("Joe / 🧪", [good, b"not a picture", good[:2000]], gallery="people")
    assert [decision.outcome for decision in answers] == [Outcome.ENROLLED, Outcome.REJECTED, Outcome.REJECTED]
    assert client.galleries.show("people", "Joe / 🧪").templates[0].image == answers[0].image
    client.forget("Joe / 🧪", gallery="people")


def test_a_missing_object_and_a_lying_one_are_rejected_alone(client: Client, portrait: Image.Image) -> None:
    good = client.intake.put(encoded(portrait, "JPEG"))
    missing = ImageRef("00/" + "0" * 64)
    # A sound picture, but not the one its name promises: who may write to the store must not become somebody else.
    lying = client.intake.put(encoded(portrait, "PNG"))
    Path(unquote(urlsplit(client.store.upload_url(lying.key)).path)).write_bytes(encoded(portrait, "JPEG"))
    decisions = client.ask(client.intake.job(Kind.IDENTIFY, [missing, lying, good], gallery="people"), timeout_s=30)
    assert [decision.outcome for decision in decisions] == [Outcome.REJECTED, Outcome.REJECTED, Outcome.MATCH]
    reasons = [(decision.reason or "").partition(":")[0] for decision in decisions[:2]]
    assert reasons == ["missing_image", "corrupt_image"]
    assert client.store.delete(lying.key)


def test_verification_answers_about_the_person_claimed(client: Client, portrait: Image.Image) -> None:
    jpeg = encoded(portrait, "JPEG")
    [right] = client.verify("Barack Obama", [jpeg], gallery="people")
    [wrong] = client.verify("Joe Biden", [jpeg], gallery="people")
    assert (right.outcome, right.subject) == (Outcome.MATCH, "Barack Obama")
    assert (wrong.outcome, wrong.subject) == (Outcome.UNKNOWN, None)
    with pytest.raises(UnknownSubject):
        client.verify("Nobody", [jpeg], gallery="people")


def test_an_unknown_gallery_is_refused_at_the_door_and_in_the_worker(client: Client, portrait: Image.Image) -> None:
    jpeg = encoded(portrait, "JPEG")
    with pytest.raises(UnknownGallery, match="nowhere"):
        client.identify([jpeg], gallery="nowhere")
    with pytest.raises(JobDead, match=r"unknown_gallery.*nowhere"):
        client.ask(client.intake.job(Kind.IDENTIFY, [client.intake.put(jpeg)], gallery="nowhere"), timeout_s=30)


def test_a_job_for_another_model_is_a_dead_letter(client: Client, portrait: Image.Image) -> None:
    ref = client.intake.put(encoded(portrait, "JPEG"))
    with pytest.raises(JobDead, match=r"model_mismatch.*cafe"):
        client.ask(client.intake.job(Kind.IDENTIFY, [ref], gallery="people", model_id="cafe"), timeout_s=30)


def test_a_job_past_its_deadline_is_expired_and_names_nobody(client: Client, portrait: Image.Image) -> None:
    ref = client.intake.put(encoded(portrait, "JPEG"))
    job = client.intake.job(Kind.IDENTIFY, [ref], gallery="people", lane=Lane.LIVE, expires_ms=now_ms() - 1)
    [decision] = client.ask(job, timeout_s=30)
    assert (decision.outcome, decision.face) == (Outcome.EXPIRED, None)


def test_the_same_job_submitted_twice_is_decided_once(client: Client, portrait: Image.Image) -> None:
    ref = client.intake.put(encoded(portrait, "JPEG"))
    before = client.results.position()
    jobs = [
        client.intake.job(Kind.IDENTIFY, [ref], gallery="people", idempotency_key="badge scan 17") for _ in range(3)
    ]
    assert [client.submit(job).accepted for job in jobs[:2]] == ["new", "open"]
    first = client.wait(jobs[0].job_id, timeout_s=30)
    assert client.submit(jobs[2]).accepted == "done"
    assert client.wait(jobs[2].job_id, timeout_s=1) == first
    assert [entry.decision for entry in client.results.after(before)] == first


def test_an_answer_sees_the_enrolment_whose_sequence_it_demands(client: Client, shared: Path) -> None:
    stranger, *more = sorted((shared / "faces/val/lfw_David_Nalbandian").iterdir())[:3]
    [before] = client.identify([more[0]], gallery="people")
    assert before.outcome is Outcome.UNKNOWN
    [enrolled] = client.enrol("David Nalbandian", [stranger], gallery="people")
    assert enrolled.gallery_version is not None
    [after] = client.identify([more[0]], gallery="people", min_sequence=enrolled.gallery_version)
    assert (after.outcome, after.subject) == (Outcome.MATCH, "David Nalbandian")
    assert (after.gallery_version or 0) >= enrolled.gallery_version
    client.forget("David Nalbandian", gallery="people")


def test_a_sequence_that_never_comes_is_retried_and_then_a_dead_letter(client: Client, portrait: Image.Image) -> None:
    ref = client.intake.put(encoded(portrait, "JPEG"))
    job = client.intake.job(Kind.IDENTIFY, [ref], gallery="people", min_sequence=10**9)
    with pytest.raises(JobDead, match=GalleryBehind().code):
        client.ask(job, timeout_s=60)


def test_a_photo_sent_as_an_aligned_crop_is_rejected_with_both_sizes(client: Client, portrait: Image.Image) -> None:
    [decision] = client.identify([encoded(portrait, "JPEG")], gallery="people", content=Content.ALIGNED)
    assert decision.outcome is Outcome.REJECTED
    assert "112×112" in (decision.reason or "")


def test_waiting_without_an_answer_says_where_the_job_stands(client: Client, portrait: Image.Image) -> None:
    ref = client.intake.put(encoded(portrait, "JPEG"))
    job = client.intake.job(Kind.IDENTIFY, [ref], gallery="people", min_sequence=10**9)
    client.submit(job)
    with pytest.raises(NoAnswerYet, match="not decided after"):
        client.wait(job.job_id, timeout_s=0.2)


def test_forgetting_removes_the_vectors_and_the_pictures_nobody_else_needs(client: Client, shared: Path) -> None:
    pictures = sorted((shared / "faces/val/lfw_David_Nalbandian").iterdir())[:2]
    client.enrol("One", pictures, gallery="people")
    client.enrol("Other", pictures[1:], gallery="people")
    templates = client.galleries.show("people", "One").templates
    receipt = client.forget("One", gallery="people").receipt
    assert {each.kind: each.count for each in receipt.erased}["vectors"] == 2
    assert receipt.silent == ()
    kept = {template.image for template in client.galleries.show("people", "Other").templates}
    assert {t.image: client.store.exists(t.image) for t in templates} == {t.image: t.image in kept for t in templates}
    client.forget("Other", gallery="people")

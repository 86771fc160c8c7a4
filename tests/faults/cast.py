"""Pictures of whom half are known, so that a wrong answer shows: neither a name nor `unknown` is right for all."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from kith.client import Client
from kith.jobs import Content, Decision, EmbedJob, ImageRef, Kind, Outcome

GALLERY = "cast"


def aligned_jpegs(count: int) -> list[bytes]:
    """`count` different 112×112 JPEG crops of noise-free gradients; the simulated model tells them apart."""
    made = []
    rng = np.random.default_rng(7)
    for _ in range(count):
        pixels = np.kron(rng.integers(0, 256, (7, 7, 3), np.uint8), np.ones((16, 16, 1), np.uint8))
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
        made.append(buffer.getvalue())
    return made


@dataclass(frozen=True)
class Cast:
    """Pictures, each labelled with its number; those of even number show the subjects of `GALLERY`.

    sequence: of the gallery when all were enrolled.
    """

    pictures: tuple[ImageRef, ...]
    sequence: int

    def wrong_answers(self, jobs: Sequence[EmbedJob], decisions: Sequence[Decision]) -> list[str]:
        """What is wrong with these decisions, one line each, going by the pictures of the jobs they answer."""
        by_id = {job.job_id: job for job in jobs}
        return [
            f"{decision.decision_id} of picture {asked.label}: {decision.outcome} {decision.subject} {decision.reason}"
            for decision in decisions
            for asked in [by_id[decision.job_id].images[decision.index]]
            if (decision.image, decision.label, decision.outcome, decision.subject)
            != (asked.key, asked.label, *_right_answer(int(asked.label or -1)))
        ]


def enrol_half(client: Client, count: int = 24, timeout_s: float = 60.0) -> Cast:
    """Store `count` pictures and enrol every second one, by the way every enrolment takes."""
    jpegs = aligned_jpegs(count)
    known = [client.intake.put(jpeg, subject=_subject(n)) for n, jpeg in enumerate(jpegs) if n % 2 == 0]
    job = client.intake.job(Kind.ENROL, known, gallery=GALLERY, content=Content.ALIGNED)
    decisions = client.ask(job, timeout_s)
    assert {decision.outcome for decision in decisions} == {Outcome.ENROLLED}
    pictures = tuple(client.intake.put(jpeg, label=str(n)) for n, jpeg in enumerate(jpegs))
    return Cast(pictures, client.galleries.info(GALLERY).sequence)


def _subject(number: int) -> str:
    return f"Person {number}"


def _right_answer(number: int) -> tuple[Outcome, str | None]:
    return (Outcome.UNKNOWN, None) if number % 2 else (Outcome.MATCH, _subject(number))

"""kith enrol, identify, verify: a few images now, and an answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from kith import wire
from kith.cli.exits import Exit
from kith.cli.terminal import Aligned, Gallery, Json, answer, answer_json, client_for, say
from kith.cli.wording import line_of
from kith.client import Client
from kith.errors import Rejected
from kith.folder import label_of
from kith.jobs import MAX_IMAGES_PER_JOB, Content, Decision, ImageRef, Kind, Outcome
from kith.names import subject_name

app = typer.Typer()

_Images = Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files.", show_default=False)]
_Timeout = Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds to wait for the answer.")]
_Subject = Annotated[str, typer.Argument(metavar="SUBJECT", help="The person's name.", show_default=False)]
_PANEL = "Faces"


@dataclass(frozen=True, slots=True)
class _Refused:
    """A file that never became a job."""

    label: str
    reason: str


@app.command(rich_help_panel=_PANEL)
def enrol(
    context: typer.Context,
    subject: _Subject,
    images: _Images,
    gallery: Gallery = None,
    aligned: Aligned = False,
    timeout: _Timeout = 30.0,
    as_json: Json = False,
) -> None:
    """Remember a person from one or more images; the gallery is created when it is not there.

    \b
    kith enrol "Ada Lovelace" ada1.jpg ada2.jpg
    kith enrol --gallery staff "Grace Hopper" grace/*.jpg

    Later decisions know the person at once: nothing is trained, nothing restarts.
    """
    subject = subject_name(subject)
    with client_for(context) as client:
        outcomes = _ask(client, Kind.ENROL, images, subject, gallery, aligned, timeout)
    _show(outcomes, as_json)
    if any(isinstance(each, _Refused) or each.outcome is not Outcome.ENROLLED for each in outcomes):
        raise typer.Exit(Exit.FAILED)


@app.command(rich_help_panel=_PANEL)
def identify(
    context: typer.Context,
    images: _Images,
    gallery: Gallery = None,
    aligned: Aligned = False,
    min_sequence: Annotated[
        int, typer.Option(min=0, help="Answer from a gallery that has seen this change (enrol prints its number).")
    ] = 0,
    timeout: _Timeout = 30.0,
    as_json: Json = False,
) -> None:
    """Say who is on each image, or that it is nobody we know (status 3).

    \b
    kith identify somebody.jpg
    kith identify --json door/*.jpg | jq -r 'select(.outcome=="match") | .face.subject'
    """
    with client_for(context) as client:
        client.galleries.info(gallery or client.settings.gallery.default)
        outcomes = _ask(client, Kind.IDENTIFY, images, None, gallery, aligned, timeout, min_sequence)
    _show(outcomes, as_json)
    _exit_as_answered(outcomes)


@app.command(rich_help_panel=_PANEL)
def verify(
    context: typer.Context,
    subject: _Subject,
    images: _Images,
    gallery: Gallery = None,
    aligned: Aligned = False,
    timeout: _Timeout = 30.0,
    as_json: Json = False,
) -> None:
    """Say whether each image shows SUBJECT (status 3 when one does not).

    \b
    kith verify "Ada Lovelace" at-the-door.jpg && open-the-door
    """
    subject = subject_name(subject)
    with client_for(context) as client:
        client.galleries.show(gallery or client.settings.gallery.default, subject)
        outcomes = _ask(client, Kind.VERIFY, images, subject, gallery, aligned, timeout)
    _show(outcomes, as_json)
    _exit_as_answered(outcomes)


def _ask(
    client: Client,
    kind: Kind,
    images: Sequence[Path],
    subject: str | None,
    gallery: str | None,
    aligned: bool,
    timeout_s: float,
    min_sequence: int = 0,
) -> list[Decision | _Refused]:
    """Decisions in the order of `images`. A file that cannot be read or sent is refused alone, the others go on."""
    answers: dict[int, Decision | _Refused] = {}
    ready: list[tuple[int, ImageRef]] = []
    for number, image in enumerate(images):
        label = label_of(str(image))
        try:
            ready.append((number, client.intake.put(image.read_bytes(), subject=subject, label=label)))
        except OSError as fault:
            answers[number] = _Refused(label, f"unreadable: {fault.strerror or fault}")
        except Rejected as refusal:
            answers[number] = _Refused(label, refusal.reason)
    content = Content.ALIGNED if aligned else Content.PHOTO
    groups = [ready[start : start + MAX_IMAGES_PER_JOB] for start in range(0, len(ready), MAX_IMAGES_PER_JOB)]
    jobs = [
        client.intake.job(
            kind, [each for _, each in group], gallery=gallery, content=content, min_sequence=min_sequence
        )
        for group in groups
    ]
    # All sent before the first is waited for.
    receipts = client.intake.submit_many(jobs)
    for group, receipt in zip(groups, receipts, strict=True):
        for (number, _), decision in zip(group, client.wait(receipt.job_id, timeout_s), strict=True):
            answers[number] = decision
    return [answers[number] for number in range(len(images))]


def _show(outcomes: Sequence[Decision | _Refused], as_json: bool) -> None:
    for each in outcomes:
        if as_json:
            answer_json(_plain(each))
        elif isinstance(each, _Refused):
            say(f"{each.label}: not sent: {each.reason}")
        else:
            answer(line_of(each))


def _plain(outcome: Decision | _Refused) -> dict[str, Any]:
    if isinstance(outcome, _Refused):
        return {"label": outcome.label, "outcome": Outcome.REJECTED.value, "reason": outcome.reason}
    return wire.to_dict(outcome)


def _exit_as_answered(outcomes: Sequence[Decision | _Refused]) -> None:
    found = {Outcome.REJECTED if isinstance(each, _Refused) else each.outcome for each in outcomes}
    # An image nobody could judge is no answer to "is it nobody?": it comes first.
    if found - {Outcome.MATCH, Outcome.UNKNOWN}:
        raise typer.Exit(Exit.FAILED)
    if Outcome.UNKNOWN in found:
        raise typer.Exit(Exit.NOBODY)

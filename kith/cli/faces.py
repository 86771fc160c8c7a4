"""kith enrol, identify, verify: a few images now, and an answer."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from kith import wire
from kith.cli.exits import Exit
from kith.cli.terminal import Aligned, Gallery, Json, answer, answer_json, client_for, content_of, say
from kith.cli.wording import line_of
from kith.client import Client
from kith.errors import Rejected
from kith.folder import label_of
from kith.jobs import Decision, ImageRef, Outcome

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


_Outcome = Decision | _Refused


class _Files:
    """Image files on their way to the store, stored as they are asked for. One that cannot be read or sent is refused
    alone, the others go on."""

    def __init__(self, client: Client, images: Sequence[Path]) -> None:
        self._client = client
        self._images = images
        self._refused: dict[int, _Refused] = {}

    def __iter__(self) -> Iterator[ImageRef]:
        for number, image in enumerate(self._images):
            try:
                stored = self._client.put(image)
            except OSError as fault:
                self._refused[number] = _Refused(label_of(str(image)), f"unreadable: {fault.strerror or fault}")
            except Rejected as refusal:
                self._refused[number] = _Refused(label_of(str(image)), refusal.reason)
            else:
                yield stored

    def with_refused(self, decisions: Sequence[Decision]) -> list[_Outcome]:
        """What became of each file, in their order; `decisions` are about those that were yielded."""
        decided = iter(decisions)
        return [self._refused.get(number) or next(decided) for number in range(len(self._images))]


def _about_somebody(
    name: str,
    explained: str,
    ask: Callable[..., list[Decision]],
    end: Callable[[Sequence[_Outcome]], None],
) -> None:
    """The command `name`: SUBJECT and image files go to `ask`, a verb of Client; `end` turns outcomes into a status."""

    @app.command(name, help=explained, rich_help_panel=_PANEL)
    def command(
        context: typer.Context,
        subject: _Subject,
        images: _Images,
        gallery: Gallery = None,
        aligned: Aligned = False,
        timeout: _Timeout = 30.0,
        as_json: Json = False,
    ) -> None:
        with client_for(context) as client:
            files = _Files(client, images)
            decisions = ask(client, subject, files, gallery=gallery, content=content_of(aligned), timeout_s=timeout)
        outcomes = files.with_refused(decisions)
        _show(outcomes, as_json)
        end(outcomes)


def _end_of_enrolment(outcomes: Sequence[_Outcome]) -> None:
    if any(isinstance(each, _Refused) or each.outcome is not Outcome.ENROLLED for each in outcomes):
        raise typer.Exit(Exit.FAILED)


def _end_of_question(outcomes: Sequence[_Outcome]) -> None:
    found = {Outcome.REJECTED if isinstance(each, _Refused) else each.outcome for each in outcomes}
    # An image nobody could judge is no answer to "is it nobody?": it comes first.
    if found - {Outcome.MATCH, Outcome.UNKNOWN}:
        raise typer.Exit(Exit.FAILED)
    if Outcome.UNKNOWN in found:
        raise typer.Exit(Exit.NOBODY)


_about_somebody(
    "enrol",
    """Remember a person from one or more images; the gallery is created when it is not there.

    \b
    kith enrol "Ada Lovelace" ada1.jpg ada2.jpg
    kith enrol --gallery staff "Grace Hopper" grace/*.jpg

    Later decisions know the person at once: nothing is trained, nothing restarts.
    """,
    Client.enrol,
    _end_of_enrolment,
)


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
        files = _Files(client, images)
        decisions = client.identify(
            files, gallery=gallery, min_sequence=min_sequence, content=content_of(aligned), timeout_s=timeout
        )
    outcomes = files.with_refused(decisions)
    _show(outcomes, as_json)
    _end_of_question(outcomes)


_about_somebody(
    "verify",
    """Say whether each image shows SUBJECT (status 3 when one does not).

    \b
    kith verify "Ada Lovelace" at-the-door.jpg && open-the-door
    """,
    Client.verify,
    _end_of_question,
)


def _show(outcomes: Sequence[_Outcome], as_json: bool) -> None:
    for each in outcomes:
        if as_json:
            answer_json(_plain(each))
        elif isinstance(each, _Refused):
            say(f"{each.label}: not sent: {each.reason}")
        else:
            answer(line_of(each))


def _plain(outcome: _Outcome) -> dict[str, Any]:
    if isinstance(outcome, _Refused):
        return {"label": outcome.label, "outcome": Outcome.REJECTED.value, "reason": outcome.reason}
    return wire.to_dict(outcome)

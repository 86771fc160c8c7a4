"""kith gallery forget: erase a whole gallery everywhere, with a signed receipt."""

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kith.cli.asking import ask_for_name
from kith.cli.counting import counting
from kith.cli.forget import receipt_folder, receipt_name, save_receipt
from kith.cli.terminal import Json, answer, answer_json, client_for
from kith.cli.wording import receipt_lines
from kith.client import Client
from kith.errors import UnknownGallery
from kith.gallery import GalleryDamaged

if TYPE_CHECKING:
    from kith.receipts import SignedReceipt

app = typer.Typer()

#: Kind of a receipt → what is counted on the screen.
_SHOWN = {
    "enrolment_images": "pictures of enrolments",
    "probe_images": "other pictures",
    "results": "decisions",
    "events": "events",
}


@app.command()
def forget(
    context: typer.Context,
    gallery: Annotated[str, typer.Argument(metavar="GALLERY", show_default=False)],
    receipt: Annotated[
        Path | None, typer.Option("--receipt", metavar="FILE", help="Where the receipt goes (default: home/receipts).")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Erase a whole gallery: people, journal, keys, pictures, decisions, events, strangers, samples. No way back.

    \b
    kith gallery forget staff                        asks for its name, erases, and writes a signed receipt
    kith gallery forget staff                        interrupted, the same again goes on
    kith forget --check home/receipts/….json         is anything left?

    Its cameras are paused. Settings that name it stay: cameras, API keys, webhooks.
    """
    with client_for(context) as client, counting(quiet=as_json) as tell:
        folder = receipt_folder(client, receipt)
        # Whoever goes on with one that is being forgotten was asked before.
        people, templates = _size(client, gallery)
        if not yes and client.gone.standing(gallery) is not None:
            size = f" ({people:,} people with {templates:,} templates)" if templates else ""
            ask_for_name(gallery, f"Gallery {gallery}{size} is erased, with everything that tells of it.")
        saved: list[Path] = []

        def keep(signed: "SignedReceipt") -> None:
            saved.append(save_receipt(signed, receipt or folder / receipt_name(signed)))

        def told(done: dict[str, int]) -> None:
            for kind, words in _SHOWN.items():
                if done.get(kind):
                    tell(words, done[kind], max(done[kind], templates if kind == "enrolment_images" else 0))

        signed = client.forget_gallery(gallery, save=keep, told=told)
        paused = _paused(client, gallery)
    if as_json:
        answer_json({"file": str(saved[0]), "key_id": signed.key_id, **asdict(signed.receipt), "cameras": paused})
        return
    for line in receipt_lines(signed.receipt):
        answer(line)
    if paused:
        answer(f"paused, for their gallery is gone: {', '.join(paused)}; kith camera remove NAME")
    answer(f"receipt: {saved[0]}")


def _size(client: Client, gallery: str) -> tuple[int, int]:
    """People and templates; 0 where that cannot be said, or not any more."""
    with suppress(UnknownGallery, GalleryDamaged):
        info = client.galleries.info(gallery)
        return info.subjects, info.templates
    return 0, 0


def _paused(client: Client, gallery: str) -> list[str]:
    return [camera.name for camera in client.cameras.all() if camera.gallery == gallery and camera.paused]

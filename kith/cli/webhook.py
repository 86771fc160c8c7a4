"""kith webhook: who is told by HTTP what happens, and how that goes."""

import re
from dataclasses import asdict, replace
from enum import StrEnum
from typing import Annotated, Any

import typer

from kith.cli.exits import Exit
from kith.cli.terminal import Json, answer, answer_json, answer_table, client_for, plain_table, say
from kith.cli.webhook_options import Cameras, Galleries, On, People, asked, once
from kith.cli.wording import time_of
from kith.outward.errors import DeliveryRefused, ReceiverAway
from kith.webhooks import EVENT, DeadLetter, Progress, Wanted, Webhook

app = typer.Typer()
_group = typer.Typer(
    no_args_is_help=True,
    help="Webhooks: add, list, show, change, test, pause, resume, replay, remove. docs/outward.md.",
)
app.add_typer(_group, name="webhook", rich_help_panel="System")


class _Narrowed(StrEnum):
    """What a filter may narrow."""

    GALLERY = "gallery"
    CAMERA = "camera"
    SUBJECT = "subject"


_Id = Annotated[str, typer.Argument(metavar="ID", help="The webhook's id (kith webhook list).", show_default=False)]


@_group.command()
def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose it is, for the list.", show_default=False)],
    url: Annotated[
        str,
        typer.Argument(
            metavar="URL",
            help="https://…; - to be asked for it, or to read it from standard input.",
            show_default=False,
        ),
    ],
    on: On = None,
    gallery: Galleries = None,
    camera: Cameras = None,
    subject: People = None,
    secret: Annotated[
        str | None,
        typer.Option(
            "--secret",
            metavar="-",
            help="- to be asked for a secret that the receiver has already, or to read it from standard input (after "
            "the URL, where that is read too). Default: one is made and shown once.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Tell a receiver what happens from now on; without --on, every event. Its secret is shown once; docs/outward.md
    says how to check it.

    \b
    kith webhook add desk https://desk.example.org/kith
    kith webhook add door https://door.example.org/in --on event.new --on event.update --camera door
    kith webhook add audit - --on decision.match -g staff < address.txt
    """
    if secret not in (None, "-"):
        raise typer.BadParameter("--secret takes - and reads it: on a command line everybody on this machine sees it")
    address = asked("address") if url == "-" else url
    given = None if secret is None else asked("secret")
    with client_for(context) as client:
        people = client.webhooks.marks(once(subject), once(gallery) or (client.settings.gallery.default,))
        wanted = Wanted(once(on) or (EVENT,), once(gallery), once(camera), people)
        webhook, signs = client.webhooks.add(name, address, wanted, given)
    if as_json:
        answer_json({**plain_webhook(webhook), **({} if given else {"secret": signs})})
        return
    say(f"webhook {webhook.webhook_id} ({name}) tells {webhook.shown} of {', '.join(wanted.kinds)}")
    if given is None:
        say("its secret; shown this once:")
        answer(signs)


@_group.command("list")
def list_(context: typer.Context, as_json: Json = False) -> None:
    """All webhooks, oldest first, and how each is; with --json one line each."""
    with client_for(context) as client:
        webhooks, progress = client.webhooks.store.all(), client.webhooks.store.progress()
    found = [(each, progress[each.webhook_id]) for each in webhooks if each.webhook_id in progress]
    if as_json:
        for webhook, at in found:
            answer_json(plain_webhook(webhook, at))
        return
    table = plain_table("id", "name", "to", "of", "delivered", "dead", "state", right=("delivered", "dead"))
    for webhook, at in found:
        row = webhook.webhook_id, webhook.name, webhook.shown, _scope(webhook.wanted)
        table.add_row(*row, f"{at.delivered:,}", f"{at.dead:,}", _state(webhook, at))
    answer_table(table)


@_group.command()
def show(context: typer.Context, webhook_id: _Id, as_json: Json = False) -> None:
    """One webhook, and what it could not be told."""
    with client_for(context) as client:
        webhook = client.webhooks.store.get(webhook_id)
        at, letters = client.webhooks.store.progress()[webhook_id], client.webhooks.store.dead(webhook_id)
    if as_json:
        answer_json({**plain_webhook(webhook, at), "dead_letters": [_plain_letter(each) for each in letters]})
        return
    answer(f"{webhook.webhook_id}  {webhook.name}  {webhook.shown}")
    answer(f"  told of     {_scope(webhook.wanted)}")
    answer(f"  since       {time_of(webhook.created_ms)}, by {webhook.by}")
    answer(f"  state       {_state(webhook, at)}")
    answer(f"  delivered   {at.delivered:,}; events up to {at.events}, decisions up to {at.results}")
    for letter in letters:
        answer(f"  dead        {time_of(letter.died_ms)}  {letter.source} {letter.entry_id}: {letter.why}")


@_group.command()
def change(
    context: typer.Context,
    webhook_id: _Id,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Whose it is, for the list.")] = None,
    url: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Another address; the secret stays. - to be asked, or to read it from standard input."
        ),
    ] = None,
    on: On = None,
    gallery: Galleries = None,
    camera: Cameras = None,
    subject: People = None,
    every: Annotated[
        list[_Narrowed] | None,
        typer.Option("--every", help="Let every one of these through again; several times for several."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Another name, address or filter, from the next delivery on. What is not named stays; what was told already is not
    told again.

    \b
    kith webhook change wh3f… --url https://desk.example.org/new
    kith webhook change wh3f… --on event.new --on event.update -g staff
    kith webhook change wh3f… --every camera                       front and hall no more, but all
    """
    given = {_Narrowed.GALLERY: gallery, _Narrowed.CAMERA: camera, _Narrowed.SUBJECT: subject}
    free = set(every or ())
    for which in free:
        if given[which]:
            raise typer.BadParameter(f"say either --{which} or --every {which}")
    narrowed = bool(on or free or any(given.values()))
    if not (narrowed or name or url):
        raise typer.BadParameter("say what is to change: --name, --url, --on, --gallery, --camera, --subject, --every")
    address = asked("address") if url == "-" else url
    with client_for(context) as client:

        def wanted(now: Wanted) -> Wanted:
            # Of the filter as it is when it is written: another change at the same moment is not undone.
            galleries = once(gallery) if gallery or _Narrowed.GALLERY in free else now.galleries
            people = client.webhooks.marks(once(subject), galleries or (client.settings.gallery.default,))
            return replace(
                now,
                kinds=once(on) or now.kinds,
                galleries=galleries,
                cameras=once(camera) if camera or _Narrowed.CAMERA in free else now.cameras,
                subjects=people if subject or _Narrowed.SUBJECT in free else now.subjects,
            )

        webhook = client.webhooks.change(webhook_id, name=name, url=address, wanted=wanted if narrowed else None)
    if as_json:
        answer_json(plain_webhook(webhook))
        return
    answer(f"webhook {webhook_id} ({webhook.name}) tells {webhook.shown} of {_scope(webhook.wanted)}")


@_group.command()
def test(context: typer.Context, webhook_id: _Id) -> None:
    """Deliver a trial (type "test") from here, and say what the receiver answered."""
    with client_for(context) as client:
        try:
            status = client.webhooks.test(webhook_id)
        except (ReceiverAway, DeliveryRefused) as fault:
            say(f"kith: it was not taken: {fault}")
            raise typer.Exit(Exit.UNAVAILABLE if isinstance(fault, ReceiverAway) else Exit.FAILED) from None
    answer(f"taken, it answered {status}")


@_group.command()
def pause(
    context: typer.Context,
    webhook_id: _Id,
    why: Annotated[str, typer.Option(help="For whoever reads the list.")] = "paused by hand",
) -> None:
    """Tell it nothing; what happens meanwhile is told when it is resumed, as long as it is kept."""
    with client_for(context) as client:
        webhook = client.webhooks.pause(webhook_id, why)
    answer(f"webhook {webhook_id} ({webhook.name}) is paused")


@_group.command()
def resume(context: typer.Context, webhook_id: _Id) -> None:
    """Go on where it was paused, or try again at once what failed."""
    with client_for(context) as client:
        webhook = client.webhooks.resume(webhook_id)
    answer(f"webhook {webhook_id} ({webhook.name}) goes on")


@_group.command()
def replay(
    context: typer.Context,
    webhook_id: _Id,
    after: Annotated[
        str | None,
        typer.Option("--from", metavar="ENTRY", help="start, or the id of an entry: all that came after it."),
    ] = None,
    dead: Annotated[bool, typer.Option("--dead", help="The dead letters, each once more.")] = False,
) -> None:
    """Tell it again. Deliveries have the ids they had, and what is too old to act on says so.

    \b
    kith webhook replay wh3f… --from 1718000000000-0    all after that entry, of events and decisions alike
    kith webhook replay wh3f… --dead                    what was given up
    """
    if dead == (after is not None):
        raise typer.BadParameter("say either --from ENTRY or --dead")
    if after is not None and after != "start" and not re.fullmatch(r"\d{1,19}(-\d{1,19})?", after):
        raise typer.BadParameter(f"--from takes start, or an entry's id (milliseconds-number), not {after!r}")
    with client_for(context) as client:
        if after is None:
            answer(f"{client.webhooks.redo(webhook_id):,} dead letters are delivered again")
        else:
            webhook = client.webhooks.replay(webhook_id, "0-0" if after == "start" else after)
            answer(f"webhook {webhook_id} ({webhook.name}) is told again of what came after {after}")


@_group.command()
def remove(context: typer.Context, webhook_id: _Id) -> None:
    """Tell it nothing more; its dead letters go with it."""
    with client_for(context) as client:
        webhook = client.webhooks.remove(webhook_id)
    answer(f"webhook {webhook_id} ({webhook.name}) is removed")


def plain_webhook(webhook: Webhook, progress: Progress | None = None) -> dict[str, Any]:
    """A webhook as plain JSON, without address and secret."""
    plain = asdict(webhook)
    del plain["sealed"], plain["wire"]
    if progress is None:
        return plain
    at = asdict(progress)
    del at["wire"]
    return {**plain, "progress": at}


def _plain_letter(letter: DeadLetter) -> dict[str, Any]:
    plain = asdict(letter)
    del plain["wire"]
    return plain


def _scope(wanted: Wanted) -> str:
    people = [f"{len(wanted.subjects)} people"] if wanted.subjects else []
    only = [*wanted.galleries, *wanted.cameras, *people]
    return ", ".join(wanted.kinds) + (f" (only {', '.join(only)})" if only else "")


def _state(webhook: Webhook, at: Progress) -> str:
    if webhook.paused_why is not None:
        return f"paused {time_of(webhook.paused_ms)}: {webhook.paused_why}"
    if at.attempts:
        return f"failing, {at.attempts} attempts, again {time_of(at.next_ms)}: {at.last_fault}"
    return "good" if at.last_ms else "nothing to tell yet"

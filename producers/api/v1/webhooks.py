"""Webhooks: who is told by HTTP what happens, how that goes, and what could not be delivered."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.responses import JSONResponse, Response

from kith import wire
from kith.outward.desk import WebhookDesk
from kith.outward.errors import DeliveryRefused, ReceiverAway
from kith.webhooks import Progress, Wanted, Webhook
from producers.api.callers import Caller
from producers.api.shapes import Administering, plain
from producers.api.v1.webhook_forms import (
    NewWebhook,
    Replayed,
    Replaying,
    Trial,
    WebhookChange,
    WebhookDeadLetters,
    WebhookPausing,
    Webhooks,
    WebhookView,
)

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])

WebhookId = Annotated[
    str, Path(pattern=r"^wh[0-9a-f]{12}$", description="The webhook's id.", examples=["wh3f9a0c5d7e21"])
]


@router.get("", response_model=Webhooks)
def list_webhooks(caller: Administering) -> Response:
    """All webhooks, and how each is."""
    store = _desk(caller).store
    progress = store.progress()
    return JSONResponse({"webhooks": [_view(each, progress.get(each.webhook_id)) for each in store.all()]})


@router.post("", status_code=201, response_model=WebhookView)
def add(body: NewWebhook, caller: Administering) -> Response:
    """Tell a receiver what happens from now on. Its secret is told this once; docs/outward.md says how it is used."""
    desk = _desk(caller)
    people = desk.marks(body.subjects, body.galleries or [caller.settings.gallery.default])
    wanted = Wanted(_texts(body.kinds), _texts(body.galleries), _texts(body.cameras), people)
    webhook, secret = desk.add(body.name, body.url, wanted, body.secret)
    view = _view(webhook, desk.store.progress().get(webhook.webhook_id))
    told = view if body.secret is not None else {**view, "secret": secret}
    return JSONResponse(told, 201, {"location": f"/v1/webhooks/{webhook.webhook_id}"})


@router.get("/{webhook_id}", response_model=WebhookView)
def show(webhook_id: WebhookId, caller: Administering) -> Response:
    """One webhook, and how far it has been told."""
    store = _desk(caller).store
    webhook = store.get(webhook_id)
    return JSONResponse(_view(webhook, store.progress().get(webhook_id)))


@router.patch("/{webhook_id}", response_model=WebhookView)
def change(webhook_id: WebhookId, body: WebhookChange, caller: Administering) -> Response:
    """Another name, address (the secret stays the same) or filter. What was told already is not told again."""
    desk = _desk(caller)
    # Of the filter as it is when it is written: another change at the same moment is not undone.
    webhook = desk.change(webhook_id, name=body.name, url=body.url, wanted=lambda now: _filter(caller, now, body))
    return JSONResponse(_view(webhook, desk.store.progress().get(webhook_id)))


@router.delete("/{webhook_id}", status_code=204)
def remove(webhook_id: WebhookId, caller: Administering) -> Response:
    """Tell it nothing more; its dead letters go with it."""
    _desk(caller).remove(webhook_id)
    return Response(status_code=204)


@router.post("/{webhook_id}/pause", response_model=WebhookView)
def pause(webhook_id: WebhookId, body: WebhookPausing, caller: Administering) -> Response:
    """Tell it nothing; what happens meanwhile is told when it is resumed, as long as it is kept."""
    desk = _desk(caller)
    webhook = desk.pause(webhook_id, body.why)
    return JSONResponse(_view(webhook, desk.store.progress().get(webhook_id)))


@router.post("/{webhook_id}/resume", response_model=WebhookView)
def resume(webhook_id: WebhookId, caller: Administering) -> Response:
    """Go on where it was paused, or try again at once what failed."""
    desk = _desk(caller)
    webhook = desk.resume(webhook_id)
    return JSONResponse(_view(webhook, desk.store.progress().get(webhook_id)))


@router.post("/{webhook_id}/test", response_model=Trial)
def test(webhook_id: WebhookId, caller: Administering) -> Response:
    """Deliver a trial (type `test`) from here, and say what the receiver answered."""
    try:
        status = _desk(caller).test(webhook_id)
    except (ReceiverAway, DeliveryRefused) as fault:
        # What was asked is how the receiver takes it, and that is known now.
        return plain(Trial(taken=False, status=fault.status, why=fault.reason))
    return plain(Trial(taken=True, status=status))


@router.get("/{webhook_id}/dead-letters", response_model=WebhookDeadLetters)
def dead_letters(webhook_id: WebhookId, caller: Administering) -> Response:
    """What it could not be told, and why."""
    store = _desk(caller).store
    store.get(webhook_id)
    return plain(WebhookDeadLetters(dead_letters=store.dead(webhook_id)))


@router.post("/{webhook_id}/replay", status_code=202, response_model=Replayed)
def replay(webhook_id: WebhookId, body: Replaying, caller: Administering) -> Response:
    """Tell it again. Deliveries have the ids they had, and what is too old to act on says so."""
    desk = _desk(caller)
    if body.after is None:
        return JSONResponse({"dead_letters": desk.redo(webhook_id)}, 202)
    desk.replay(webhook_id, body.after if "-" in body.after else f"{body.after}-0")
    return JSONResponse({}, 202)


def _desk(caller: Caller) -> WebhookDesk:
    # Of whatever gallery: what a receiver is told is not for a key of some of them to say.
    caller.all_galleries()
    return caller.client.webhooks


def _filter(caller: Caller, now: Wanted, body: WebhookChange) -> Wanted:
    given: dict[str, tuple[str, ...]] = {
        name: _texts(getattr(body, name)) for name in ("kinds", "galleries", "cameras") if name in body.model_fields_set
    }
    if body.subjects is not None:
        where = given.get("galleries", now.galleries) or (caller.settings.gallery.default,)
        given["subjects"] = caller.client.webhooks.marks(body.subjects, where)
    return replace(now, **given)


def _view(webhook: Webhook, progress: Progress | None) -> dict[str, Any]:
    told = wire.to_dict(webhook)
    for kept in ("sealed", "wire"):
        del told[kept]
    if progress is not None:
        told["progress"] = {name: value for name, value in wire.to_dict(progress).items() if name != "wire"}
    return told


def _texts(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(each) for each in values))

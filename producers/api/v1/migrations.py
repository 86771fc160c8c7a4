"""Migrations: a gallery moves to another model while it goes on answering."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from kith.audit import Action, Deed
from kith.checkpoints import load_pack
from kith.default_cutoff import default_cutoff
from kith.errors import CannotMigrate, InvalidPack, Misconfigured
from kith.migration import Migration
from kith.packs.shipped import resolve_pack
from producers.api.callers import Caller
from producers.api.moving import Moving, migrator_of
from producers.api.problems import Problem
from producers.api.shapes import Administering, Changed, GalleryPath, Reading, changed, plain
from producers.api.submissions import Flag

router = APIRouter(prefix="/v1/galleries/{gallery}/migration", tags=["migrations"])


class Target(BaseModel):
    """Where to. Workers must hold the pack as well (model.also)."""

    model_config = ConfigDict(extra="forbid")

    #: A name, never a path: a caller must not learn what lies where on this machine.
    pack: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", description="A pack of GET /v1/models.")]


class Switching(BaseModel):
    """Whether templates that cannot move are left behind: removed, for good."""

    model_config = ConfigDict(extra="forbid")

    leave_behind: Flag = False


class Progress(BaseModel):
    """`model_id`: the gallery's own. `other`: the model it moves to, or came from; absent where there is none.
    `missing`: templates without a vector of it. `embedding`: whether this server works on it now; `fault`: why it
    stopped. `unable`: templates that cannot have one, and why."""

    gallery: str
    model_id: str
    other: Migration | None = None
    missing: int = 0
    embedding: bool = False
    fault: str | None = None
    unable: dict[str, str] = {}


@router.get("", response_model=Progress)
def show(request: Request, gallery: GalleryPath, caller: Reading) -> Response:
    """Where the move stands."""
    return plain(_progress(request, caller, caller.gallery(gallery)))


@router.post("", status_code=202, response_model=Progress)
def begin(request: Request, gallery: GalleryPath, body: Target, caller: Administering) -> Response:
    """Begin, or go on: every enrolment picture is embedded by the other model. Nothing is switched."""
    client, name = caller.client, caller.gallery(gallery)
    info = client.galleries.info(name)
    try:
        pack = load_pack(resolve_pack(body.pack, client.settings.home))
    except (Misconfigured, InvalidPack) as unknown:
        raise Problem(
            404, "unknown_pack", str(unknown), field="pack", remedy="GET /v1/models lists the packs there are"
        ) from None
    if info.model_id == pack.model_id:
        raise CannotMigrate(f"gallery {name} is of model {pack.model_id} ({body.pack}) already")
    client.migrations.begin(name, model_id=pack.model_id, dimension=pack.dimension, pack=str(pack.path))
    _record(caller, name, "begun")
    moving: Moving = request.app.state.moving
    moving.begin(client, name, pack.model_id)
    return plain(_progress(request, caller, name), 202)


@router.post("/switch", response_model=Changed)
def switch(gallery: GalleryPath, body: Switching, caller: Administering) -> Response:
    """Answer by the other model from now on, with a cutoff of its own. 409 while a template is missing."""
    client, name = caller.client, caller.gallery(gallery)
    migrator, state = migrator_of(client, name), _state(caller, name)
    if not migrator.workers(state.model_id)[0]:
        raise CannotMigrate(f"no embed worker holds model {state.model_id}; start them with model.also")
    default = default_cutoff(client.settings, state.model_id)
    settings = migrator.settings_for(default, said=client.settings.decisions.cutoff)
    sequence = migrator.switch(state.model_id, settings, leave_behind=body.leave_behind)
    _record(caller, name, "switched", sequence)
    return changed(sequence)


@router.post("/rollback", response_model=Changed)
def roll_back(gallery: GalleryPath, body: Switching, caller: Administering) -> Response:
    """Answer by the former model again, with the cutoff it had. What was enrolled since gets its vectors first."""
    client, name = caller.client, caller.gallery(gallery)
    _state(caller, name)
    sequence = migrator_of(client, name).roll_back(leave_behind=body.leave_behind)
    _record(caller, name, "rolled back", sequence)
    return changed(sequence)


@router.delete("", status_code=204)
def end(gallery: GalleryPath, caller: Administering) -> Response:
    """Erase the vectors of the model that is not in use; after a switch there is no way back then."""
    name = caller.gallery(gallery)
    caller.client.migrations.end(name)
    _record(caller, name, "ended")
    return Response(status_code=204)


def _state(caller: Caller, gallery: str) -> Migration:
    state = caller.client.migrations.state(gallery)
    if state is None:
        raise CannotMigrate(f"gallery {gallery} is not moving to another model; begin with POST …/migration")
    return state


def _progress(request: Request, caller: Caller, gallery: str) -> Progress:
    moving: Moving = request.app.state.moving
    client = caller.client
    state = client.migrations.state(gallery)
    return Progress(
        gallery=gallery,
        model_id=client.galleries.info(gallery).model_id,
        other=state,
        missing=0 if state is None else state.missing,
        embedding=moving.works_on(gallery),
        fault=moving.fault(gallery),
        unable={} if state is None else client.migrations.unable(gallery),
    )


def _record(caller: Caller, gallery: str, what: str, sequence: int | None = None) -> None:
    deed = Deed(caller.key.actor, Action.MIGRATED, gallery, sequence=sequence, detail={"what": what})
    caller.client.audit.record(deed)

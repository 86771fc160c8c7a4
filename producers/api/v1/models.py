"""Models: which packs are on this machine, and which ones the workers hold."""

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import Response

from kith.packs.listing import list_packs
from producers.api.shapes import Reading, plain

router = APIRouter(prefix="/v1/models", tags=["models"])


class Held(BaseModel):
    """A model that embed workers hold."""

    model_id: str
    name: str | None = None
    workers: int


class PackView(BaseModel):
    """A model pack by its name, as POST …/migration takes it."""

    name: str
    model_id: str | None = None
    dimension: int | None = None
    terms: str
    fault: str | None = None


class Models(BaseModel):
    """`held`: by workers. `packs`: of the machine that serves this API; those without a model_id can be pulled."""

    held: list[Held]
    packs: list[PackView]


@router.get("", response_model=Models)
def list_models(caller: Reading) -> Response:
    """Which models there are."""
    held: dict[str, Held] = {}
    for beat in caller.client.ledger.workers():
        for model_id in (beat.model_id, *beat.also):
            if model_id is not None:
                known = held.setdefault(model_id, Held(model_id=model_id, workers=0))
                known.workers += 1
                known.name = beat.model_name if model_id == beat.model_id else known.name
    packs = [
        PackView(
            name=each.name,
            model_id=each.model_id,
            dimension=each.dimension,
            terms=each.terms,
            fault=each.fault or None,
        )
        for each in list_packs(caller.settings.home)
    ]
    return plain(Models(held=sorted(held.values(), key=lambda each: each.model_id), packs=packs))

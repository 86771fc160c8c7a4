"""Templates: what of a person a gallery compares with. They come by enrol jobs, POST /v1/jobs."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel
from starlette.responses import Response

from kith.names import MAX_SUBJECT_NAME
from kith.subjects import TemplateInfo
from producers.api.shapes import Changed, Enrolling, GalleryPath, Reading, changed, plain
from producers.api.submissions import NAME_PATTERN

router = APIRouter(prefix="/v1/galleries/{gallery}/templates", tags=["templates"])

Subject = Annotated[
    str,
    Query(
        min_length=1,
        max_length=MAX_SUBJECT_NAME,
        pattern=NAME_PATTERN,
        description="Whose they are.",
        examples=["Ada Lovelace"],
    ),
]


class Templates(BaseModel):
    """Oldest first. `image`: key of the picture it was made from (GET /v1/images/KEY)."""

    templates: tuple[TemplateInfo, ...]


@router.get("", response_model=Templates)
def list_templates(gallery: GalleryPath, subject: Subject, caller: Reading) -> Response:
    """A person's templates, with quality and picture."""
    return plain(Templates(templates=caller.client.galleries.show(caller.gallery(gallery), subject).templates))


@router.delete("/{template_id}", response_model=Changed)
def remove(
    gallery: GalleryPath,
    template_id: Annotated[str, Path(min_length=1, max_length=100)],
    subject: Subject,
    caller: Enrolling,
) -> Response:
    """Take a template from a person, who stays even without any. It can be undone; forgetting the person erases."""
    return changed(caller.client.galleries.remove(caller.gallery(gallery), subject, [template_id]))

"""What pages load beside themselves: styles and scripts, and pictures of people made small."""

import io
import threading
from typing import Annotated

from fastapi import APIRouter, Path, Query
from PIL import Image
from starlette.requests import Request
from starlette.responses import Response

from kith.images import decode
from kith.imagestore import key_of
from kith.settings import Limits
from producers.api.pages.page_route import PageRoute
from producers.api.pages.rendering import Pages
from producers.api.pages.visitors import Reading
from producers.api.problems import Problem

router = APIRouter(route_class=PageRoute, include_in_schema=False)

#: Pictures decoded at once, as large as limits.image_pixels each.
_AT_ONCE = threading.BoundedSemaphore(2)
#: What is left around a face, in its own widths on each side.
_AROUND = 0.35
#: A page of faces is to weigh less than 100 kB.
_QUALITY = 78


@router.get("/static/{version}/{name}")
def asset(request: Request, version: str, name: str) -> Response:
    """One style or script. Under an older version too: a page from before an upgrade asks for it."""
    pages: Pages = request.app.state.pages
    found = pages.assets.files.get(name)
    if found is None:
        raise Problem(404, "not_found", "there is no such file")
    kept = "public, max-age=31536000, immutable" if version == pages.assets.version else "no-cache"
    return Response(found.data, headers={"cache-control": kept, "content-type": found.kind})


@router.get("/pictures/{prefix}/{digest}")
def picture(
    prefix: Annotated[str, Path(pattern=r"^[0-9a-f]{2}$")],
    digest: Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")],
    visitor: Reading,
    side: Annotated[int, Query(ge=32, le=640)] = 160,
    box: Annotated[str | None, Query(pattern=r"^-?\d{1,6}(,-?\d{1,6}){3}$", description="x,y,width,height")] = None,
) -> Response:
    """A stored picture, at most so large, or the face in it. Who has its key has read it on a page."""
    del prefix  # it is the digest's own beginning
    data = visitor.client.store.get(key_of(digest))
    face = tuple(int(each) for each in box.split(",")) if box else None
    with _AT_ONCE:
        small = made_small(data, visitor.client.settings.limits, side, face)
    # An hour, not for good: who is forgotten is to go from browsers as well.
    headers = {"cache-control": "private, max-age=3600, immutable"}
    return Response(small, media_type="image/webp", headers=headers)


def made_small(data: bytes, limits: Limits, side: int, box: tuple[int, ...] | None = None) -> bytes:
    """A picture as WebP without anything but its pixels, at most `side` pixels on the longer side. box: x, y, width,
    height of what is to be seen, in pixels of the upright picture. Raises as kith.images.decode."""
    image = Image.fromarray(decode(data, limits))
    if box is not None:
        image = _cut(image, *box)
    image.thumbnail((side, side), Image.Resampling.BOX if max(image.size) > 8 * side else Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=_QUALITY)
    return buffer.getvalue()


def _cut(image: Image.Image, x: int, y: int, width: int, height: int) -> Image.Image:
    """A square around a face, as far as the picture goes."""
    half = max(width, height) * (0.5 + _AROUND)
    across, down = x + width / 2, y + height / 2
    left, top = max(0, round(across - half)), max(0, round(down - half))
    right, bottom = min(image.width, round(across + half)), min(image.height, round(down + half))
    # A box that lies outside, as only a hand-made address has it.
    return image.crop((left, top, right, bottom)) if right > left and bottom > top else image

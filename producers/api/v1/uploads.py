"""Images by themselves: uploaded before the job that names them, and looked at afterwards."""

from hashlib import sha256
from typing import Annotated, Literal

from anyio import to_thread
from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from kith.api_keys import Scope
from kith.image_headers import form_of
from kith.imagestore import key_of
from producers.api.callers import Caller, needs
from producers.api.problems import Problem
from producers.api.shapes import Reading, plain
from producers.api.submissions import judge_picture

router = APIRouter(prefix="/v1", tags=["images"])

Uploading = Annotated[Caller, Depends(needs(Scope.SUBMIT, Scope.ENROL))]
Digest = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the bytes, in hex.")]

_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WebP": "image/webp", "BMP": "image/bmp", "GIF": "image/gif"}


class Promise(BaseModel):
    """An image that is going to be uploaded."""

    model_config = ConfigDict(extra="forbid")

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="Of the bytes, in hex.")]


class Upload(BaseModel):
    """Where the bytes go. `needs_key`: whether the API key has to be sent along."""

    key: Annotated[str, Field(description='Name it in a job: {"images": [{"key": …}]}.')]
    method: Literal["PUT"] = "PUT"
    url: str
    needs_key: bool
    expires_s: int | None = None


class Stored(BaseModel):
    """An image that is stored."""

    key: str


@router.post("/uploads", status_code=201, response_model=Upload)
def promise(body: Promise, caller: Uploading) -> Response:
    """A place for an image, by PUT. With an S3 store the URL is presigned: the bytes go there directly and need no key.

    Other bytes than promised are rejected by the worker as `corrupt_image`.
    """
    image, url = caller.client.upload_url(body.sha256)
    if url.startswith("file:"):
        # The store is a folder of this machine: the bytes come through here.
        return plain(Upload(key=image.key, url=f"/v1/uploads/{body.sha256}", needs_key=True), 201)
    expiry_s = caller.settings.store.upload_expiry_s
    return plain(Upload(key=image.key, url=url, needs_key=False, expires_s=expiry_s), 201)


@router.put(
    "/uploads/{digest}",
    status_code=201,
    response_model=Stored,
    openapi_extra={
        "requestBody": {"required": True, "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}}
    },
)
async def upload(request: Request, digest: Digest, caller: Uploading) -> Response:
    """Store an image under its SHA-256. The same image again changes nothing."""
    data = await request.body()

    def store() -> str:
        if sha256(data).hexdigest() != digest:
            raise Problem(
                422,
                "corrupt_image",
                "the bytes do not hash to what was promised",
                field="body",
                limit=digest,
                remedy="send the very bytes whose SHA-256 is in the address",
            )
        judge_picture(data, caller.settings.limits, "body")
        return caller.client.put(data).key

    return plain(Stored(key=await to_thread.run_sync(store)), 201)


@router.get(
    "/images/{prefix}/{digest}",
    response_class=Response,
    responses={200: {"content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}}},
)
def image(prefix: Annotated[str, Path(pattern=r"^[0-9a-f]{2}$")], digest: Digest, caller: Reading) -> Response:
    """The bytes of a stored image: of a decision, a template, an event. Who has its key has read it somewhere."""
    del prefix  # it is the digest's own beginning
    data = caller.client.store.get(key_of(digest))
    kind = _TYPES.get(form_of(data) or "", "application/octet-stream")
    # Named by their content, they never change. Sandboxed: nothing that a browser takes them for may run.
    headers = {"cache-control": "private, max-age=86400, immutable", "content-security-policy": "sandbox"}
    return Response(data, media_type=kind, headers=headers)

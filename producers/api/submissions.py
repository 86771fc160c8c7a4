"""What a submission says, in whichever of three forms it comes: JSON, a form with files, or the bytes of one picture.

All three end in the same `Submission`, judged by the same rules; pictures are judged by their headers before anything
is stored (kith.images.inspect), the rest of them by the worker that decodes them.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.json_schema import SkipJsonSchema
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from kith.errors import KithError
from kith.images import inspect
from kith.jobs import MAX_IMAGES_PER_JOB, Content, Kind, Lane
from kith.names import MAX_SUBJECT_NAME
from kith.settings import Limits
from producers.api.problems import Problem, of_error

#: Largest integer that every JSON reader keeps exact.
MAX_INTEGER = 2**53 - 1

#: RFC 4648, section 4.
_BASE64 = r"^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4})$"

_NAMED: dict[str, Any] = {"subject": {"type": "string"}}

#: Text fields of a form, each at most so long.
_FIELDS, _FIELD_BYTES = 80, 4096

#: Numbers as they are in JSON: no text that looks like one, and no true for 1.
Whole = Annotated[int, Field(strict=True)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Flag = Annotated[bool, Field(strict=True)]

#: As kith.names.subject_name has it, as far as a pattern can say so.
NAME_PATTERN = r"^ *[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
SubjectName = Annotated[
    str, Field(min_length=1, max_length=MAX_SUBJECT_NAME, pattern=NAME_PATTERN, description="The person's name.")
]
GalleryName = Annotated[
    str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", description="Default: the setting gallery.default.")
]


class Picture(BaseModel):
    """One image: `key` of one that is stored (POST /v1/uploads), `data` in base64, or `url` where `api.fetch` is on."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"oneOf": [{"required": [way]} for way in ("key", "data", "url")]}
    )

    key: Annotated[str, Field(pattern=r"^[0-9a-f]{2}/[0-9a-f]{64}$")] | SkipJsonSchema[None] = None
    data: Annotated[str, Field(pattern=_BASE64, description="Base64.")] | SkipJsonSchema[None] = None
    url: Annotated[str, Field(max_length=2048, pattern="^https?://")] | SkipJsonSchema[None] = None
    subject: SubjectName | None = None
    label: Annotated[str, Field(max_length=1024, description="Your own word for it, in its decision.")] | None = None

    @model_validator(mode="after")
    def _in_one_way(self) -> "Picture":
        ways = self.model_fields_set & {"key", "data", "url"}
        if len(ways) != 1 or (self.key or self.data or self.url) is None:
            raise ValueError("give exactly one of key, data and url")
        return self


class Wishes(BaseModel):
    """What is asked about the images."""

    model_config = ConfigDict(extra="forbid")

    kind: Annotated[
        Literal[Kind.IDENTIFY, Kind.ENROL, Kind.VERIFY],
        Field(description="Who is this; remember this person; is it the person claimed?"),
    ] = Kind.IDENTIFY
    gallery: GalleryName | None = None
    subject: Annotated[
        SubjectName | None, Field(description="Of all images: whom to enrol, or who is claimed (verify).")
    ] = None
    lane: Annotated[Lane, Field(description="How urgent it is.")] = Lane.INTERACTIVE
    content: Annotated[Content, Field(description="A photo, or a 112×112 crop that is aligned already.")] = (
        Content.PHOTO
    )
    min_sequence: Annotated[
        Whole, Field(ge=0, le=MAX_INTEGER, description="Answer from a gallery that has seen this change.")
    ] = 0
    expires_ms: Annotated[
        Whole | None, Field(ge=0, le=MAX_INTEGER, description="Unix milliseconds; past it the decision is `expired`.")
    ] = None


class JobRequest(Wishes):
    """One job, about 1..64 images."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "gallery": "staff",
                    "images": [{"key": "ab/ab" + "0" * 62, "label": "front-door/4711"}],
                },
            ],
            "if": {"properties": {"kind": {"enum": ["enrol", "verify"]}}, "required": ["kind"]},
            "then": {
                "anyOf": [
                    {"required": ["subject"], "properties": {"subject": {"type": "string"}}},
                    {"properties": {"images": {"items": {"required": ["subject"], "properties": _NAMED}}}},
                ]
            },
        },
    )

    images: Annotated[list[Picture], Field(min_length=1, max_length=MAX_IMAGES_PER_JOB)]

    @model_validator(mode="after")
    def _names_its_subjects(self) -> "JobRequest":
        if self.kind is not Kind.IDENTIFY and self.subject is None and any(not each.subject for each in self.images):
            raise ValueError(f"a job of kind {self.kind} names its subject, or one with every image")
        return self


@dataclass(frozen=True, slots=True)
class Shown:
    """An image of a submission: bytes, or the key of one that is stored, or where to fetch it (and once it was fetched,
    its bytes as well)."""

    data: bytes | None = None
    key: str | None = None
    url: str | None = None
    subject: str | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Submission:
    """What is asked, and about which images (1..64). within: the place it came in, `jobs.3.` of many; names what is
    wrong with it."""

    wishes: Wishes
    images: tuple[Shown, ...]
    within: str = ""


async def submission_in(request: Request) -> Submission:
    """The submission that is a request's body. Raises Problem, RequestValidationError."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        return of_request(_validated(JobRequest, await request.body()))
    if kind == "multipart/form-data":
        return await _of_form(request)
    if kind.startswith("image/") or kind == "application/octet-stream":
        wishes = _wishes(dict(request.query_params))
        label = request.query_params.get("label")
        return _checked(Submission(wishes, (Shown(await request.body(), subject=wishes.subject, label=label),)))
    raise Problem(
        415,
        "unsupported_media_type",
        f"the body is {kind or 'of no stated type'}",
        field="Content-Type",
        limit="application/json, multipart/form-data, image/*, application/octet-stream",
        remedy="send one of these",
    )


def of_request(asked: JobRequest, within: str = "") -> Submission:
    """A job that came as JSON. within: see Submission. Raises Problem."""
    images = []
    for index, each in enumerate(asked.images):
        data = None
        if each.data is not None:
            try:
                data = base64.b64decode(each.data, validate=True)
            except (binascii.Error, ValueError):
                field = f"{within}images.{index}.data"
                raise Problem(
                    422, "invalid_request", "this is no base64", field=field, remedy="encode the file"
                ) from None
        images.append(Shown(data, each.key, each.url, each.subject or asked.subject, each.label))
    return Submission(asked, tuple(images), within)


def judge(submission: Submission, limits: Limits) -> None:
    """Look at the headers of the pictures that came with it. Raises Problem, which names the one that is wrong."""
    for index, image in enumerate(submission.images):
        if image.data is not None:
            judge_picture(image.data, limits, f"{submission.within}images.{index}")


def judge_picture(data: bytes, limits: Limits, field: str) -> None:
    """Raises Problem for what no worker should meet."""
    try:
        inspect(data, limits)
    except KithError as wrong:
        raise of_error(wrong, field) from None


async def _of_form(request: Request) -> Submission:
    try:
        async with request.form(max_files=MAX_IMAGES_PER_JOB, max_fields=_FIELDS, max_part_size=_FIELD_BYTES) as form:
            return await _of_parts(form)
    except HTTPException as broken:
        # So the framework tells of a form that it cannot read.
        raise _too_many(broken.detail) from None


async def _of_parts(form: FormData) -> Submission:
    files = [each for _, each in form.multi_items() if isinstance(each, UploadFile)]
    if not files:
        raise Problem(
            422, "invalid_request", "the form has no file", field="images", remedy="add a file part, with a file name"
        )
    wishes = _wishes({name: value for name, value in form.multi_items() if isinstance(value, str)})
    # Read one by one: they lie in temporary files, and are in memory from here on.
    images = [Shown(await each.read(), subject=wishes.subject, label=each.filename or None) for each in files]
    return _checked(Submission(wishes, tuple(images)))


def _wishes(fields: Mapping[str, Any]) -> Wishes:
    known = {name: value for name, value in fields.items() if name not in ("wait", "label")}
    try:
        return Wishes.model_validate_strings(known)
    except ValidationError as wrong:
        raise RequestValidationError([{**each, "loc": ("query", *each["loc"])} for each in wrong.errors()]) from None


def _validated(model: type[JobRequest], body: bytes) -> JobRequest:
    try:
        return model.model_validate_json(body)
    except ValidationError as wrong:
        raise RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in wrong.errors()]) from None


def _checked(submission: Submission) -> Submission:
    if submission.wishes.kind is not Kind.IDENTIFY and submission.wishes.subject is None:
        raise Problem(
            422,
            "invalid_request",
            f"a job of kind {submission.wishes.kind} names its subject",
            field="subject",
            remedy="add the field subject",
        )
    if any(image.label is not None and len(image.label) > 1024 for image in submission.images):
        raise Problem(422, "invalid_request", "a label or file name is too long", field="label", limit=1024)
    return submission


def _too_many(why: str) -> Problem:
    return Problem(
        413 if why.startswith(("Too many", "Part exceeded")) else 400,
        "form_refused",
        why,
        field="body",
        limit=f"{MAX_IMAGES_PER_JOB} files, {_FIELDS} fields of {_FIELD_BYTES:,} bytes",
        remedy="send more images in further jobs (POST /v1/bulk), and only fields that the form has",
    )

"""Webhooks as they are told to the door, and as it tells of them."""

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from kith.webhooks import EVENT, KINDS, DeadLetter, Progress, Wanted
from producers.api.submissions import Flag, GalleryName, SubjectName

#: Of each sort, that one filter names.
_MOST = 100
_NAME = r"^[^\x00-\x1f\x7f-\x9f]+$"

WebhookName = Annotated[
    str, Field(min_length=1, max_length=100, pattern=_NAME, description="For the list.", examples=["desk"])
]
#: All of one stream, or one kind of it.
WantedKind = StrEnum("WantedKind", {kind.replace(".", "_").upper(): kind for kind in KINDS})  # type: ignore[misc]
Kinds = Annotated[
    list[WantedKind], Field(min_length=1, max_length=len(KINDS), examples=[["event.new", "event.update"]])
]
Galleries = Annotated[list[GalleryName], Field(max_length=_MOST, description="Only of these.", examples=[["staff"]])]
Cameras = Annotated[
    list[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]],
    Field(max_length=_MOST, description="Only of these.", examples=[["front"]]),
]
People = Annotated[
    list[SubjectName],
    Field(
        max_length=_MOST,
        description="Only about these people of the galleries named, else of gallery.default. A filter goes with a "
        "person through changes of name.",
        examples=[["Ada Lovelace"]],
    ),
]
Address = Annotated[
    str,
    Field(
        min_length=8,
        max_length=2000,
        pattern=r"^https?://[!-~]+$",
        description="https, of the public network, unless webhooks.private says otherwise.",
        examples=["https://desk.example.org/kith"],
    ),
]


class NewWebhook(BaseModel):
    """A receiver of what happens from now on. `secret`: one that it has already; else one is made, and told once."""

    model_config = ConfigDict(extra="forbid")

    name: WebhookName
    url: Address
    kinds: Kinds = [WantedKind(EVENT)]
    galleries: Galleries = []
    cameras: Cameras = []
    subjects: People = []
    secret: Annotated[str, Field(min_length=24, max_length=200, pattern=r"^[!-~]+$")] | SkipJsonSchema[None] = None

    @model_validator(mode="after")
    def _no_null(self) -> "NewWebhook":
        if "secret" in self.model_fields_set and self.secret is None:
            raise ValueError("leave secret out to have one made, null is none")
        return self


class WebhookChange(BaseModel):
    """What is to be changed; what is not named stays. An empty list lets everything through."""

    model_config = ConfigDict(extra="forbid")

    name: WebhookName | SkipJsonSchema[None] = None
    url: Address | SkipJsonSchema[None] = None
    kinds: Kinds | SkipJsonSchema[None] = None
    galleries: Galleries | SkipJsonSchema[None] = None
    cameras: Cameras | SkipJsonSchema[None] = None
    subjects: People | SkipJsonSchema[None] = None

    @model_validator(mode="after")
    def _no_nulls(self) -> "WebhookChange":
        if any(getattr(self, each) is None for each in self.model_fields_set):
            raise ValueError("leave out what stays, null is no value")
        return self


class WebhookPausing(BaseModel):
    """Why, for whoever reads the list."""

    model_config = ConfigDict(extra="forbid")

    why: Annotated[str, Field(min_length=1, max_length=200)] = "paused over HTTP"


class Replaying(BaseModel):
    """What is told again: all that came `after` an entry of either stream (`0` for all that is kept), or the `dead`
    letters."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "oneOf": [{"required": ["after"]}, {"required": ["dead"]}],
            "examples": [{"after": "1718000000000-0"}, {"dead": True}],
        },
    )

    after: Annotated[str, Field(pattern=r"^\d{1,15}(-\d{1,15})?$")] | SkipJsonSchema[None] = None
    dead: Annotated[Flag, Field(json_schema_extra={"const": True})] | SkipJsonSchema[None] = None

    @model_validator(mode="after")
    def _one_of_them(self) -> "Replaying":
        if (self.after is None) == (self.dead is not True) or len(self.model_fields_set) > 1:
            raise ValueError("give either after or dead: true")
        return self


class WebhookView(BaseModel):
    """`shown`: its address, without what may be secret. `wanted.subjects`: people, by digests of their ids. `progress`:
    how far it has been told; `progress.attempts` above 0 says that it is failing, `last_fault` how."""

    webhook_id: str
    name: str
    shown: str
    wanted: Wanted
    created_ms: int
    by: str
    paused_why: str | None = None
    paused_ms: int = 0
    progress: Progress | None = None
    secret: Annotated[str | None, Field(description="Of one that was just added, unless it came with it.")] = None


class Webhooks(BaseModel):
    """Oldest first."""

    webhooks: list[WebhookView]


class Trial(BaseModel):
    """Whether the receiver took it. `status`: what it answered, absent where it did not."""

    taken: bool
    status: int | None = None
    why: str | None = None


class WebhookDeadLetters(BaseModel):
    """The one that died first first. Each names an entry of `/v1/events` or `/v1/decisions`, and repeats nothing."""

    dead_letters: list[DeadLetter]


class Replayed(BaseModel):
    """`dead_letters`: how many are delivered again."""

    dead_letters: int | None = None

"""The face collection of a key, as CompreFace calls it: one gallery. Its examples are templates, under UUIDs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from uuid import UUID, uuid5

from kith.api_keys import Scope
from kith.checkpoints import model_id_of
from kith.client import Client
from kith.enrolment import MOST_TEMPLATES
from kith.errors import UnknownGallery, UnknownSubject, UnknownTemplate
from kith.packs.at_hand import main_manifest, other_manifests
from kith.subjects import GalleryInfo
from producers.api.callers import Caller
from producers.api.problems import Problem

#: Names of templates as UUIDs of version 5 (RFC 9562) under this namespace, itself drawn at random once.
_TEMPLATES = UUID("8a2d5e0b-6d0f-4a52-9f6e-6d3c1f2b7a90")


@dataclass(frozen=True, slots=True)
class Example:
    """A template as CompreFace sees it: an image of a subject. key: of the picture, '' where it has none."""

    image_id: UUID
    subject: str
    template_id: str
    key: str


def image_id(template_id: str) -> UUID:
    """The UUID by which clients know a template."""
    return uuid5(_TEMPLATES, template_id)


def gallery_of(caller: Caller) -> str:
    """The gallery that a key is for. Raises Problem for a key of several: this API has no word to choose by."""
    own, default = caller.key.galleries, caller.settings.gallery.default
    if not own or default in own:
        return default
    if len(own) == 1:
        return own[0]
    raise Problem(
        403,
        "gallery_forbidden",
        f"key {caller.key.key_id} is for the galleries {', '.join(own)}, and this API knows one for each key",
        remedy="make a key for one gallery (kith apikeys create --gallery)",
    )


def opened(caller: Caller) -> GalleryInfo:
    """The key's gallery. One that is not there is made, for the model that workers have: in CompreFace a collection is
    there as soon as it has a key. Raises UnknownGallery where that cannot be done."""
    name, client = gallery_of(caller), caller.client
    try:
        return client.galleries.info(name)
    except UnknownGallery:
        found = _model(client) if caller.key.may(Scope.ENROL) else None
        if found is None:
            raise UnknownGallery(
                f"gallery {name} is not there yet; the first example that is added to it makes it"
            ) from None
        model_id, dimension = found
        return client.galleries.create(name, model_id=model_id, dimension=dimension)


def subjects(caller: Caller) -> list[str]:
    """Names; none where the gallery is not there yet."""
    try:
        return [each.name for each in caller.client.galleries.subjects(gallery_of(caller))]
    except UnknownGallery:
        return []


def examples(caller: Caller, subject: str | None = None) -> Iterator[Example]:
    """All of a subject's, or of everybody's. Nothing where there is no such subject, or no gallery yet."""
    galleries, name = caller.client.galleries, gallery_of(caller)
    try:
        people = galleries.catalogue(name).subjects.values() if subject is None else [galleries.show(name, subject)]
    except (UnknownGallery, UnknownSubject):
        return
    for person in people:
        for each in person.templates:
            yield Example(image_id(each.template_id), person.name, each.template_id, each.image)


def example(caller: Caller, wanted: UUID) -> Example:
    """The one with this UUID. Raises UnknownTemplate."""
    # Looked through, for nobody asks often: a second index of a gallery would have to be kept right for ever.
    for each in examples(caller):
        if each.image_id == wanted:
            return each
    raise UnknownTemplate(f"Image {wanted} not found")


def remove(caller: Caller, gone: Sequence[Example]) -> int:
    """Take examples from their subjects, who stay; how many."""
    galleries, name = caller.client.galleries, gallery_of(caller)
    by_subject: dict[str, list[str]] = {}
    for each in gone:
        by_subject.setdefault(each.subject, []).append(each.template_id)
    for subject, template_ids in by_subject.items():
        remaining = iter(template_ids)
        while chunk := list(islice(remaining, MOST_TEMPLATES)):
            galleries.remove(name, subject, chunk)
    return len(gone)


def _model(client: Client) -> tuple[str, int] | None:
    held = {beat.model_id for beat in client.ledger.workers()}
    for each in (main_manifest(client.settings), *other_manifests(client.settings)):
        if each is not None and model_id_of(each) in held:
            return model_id_of(each), each.embedder.dimension
    return None

"""Changing a part of what is kept: read, decide, write over what was read, and again where somebody else was faster.

So `--margin` does not undo a cutoff that upkeep has derived meanwhile, nor one note another.
"""

from collections.abc import Callable, Mapping

from kith.errors import Rejected
from kith.gallery import GalleryStore
from kith.gallery_settings import GallerySettings
from kith.subjects import GalleryInfo, SubjectDetail

#: Each time somebody else's change was made; more than this within a call is no person any more.
_MOST_TIMES = 100


class ChangedMeanwhile(Rejected):
    """What was decided on has been changed meanwhile; look again."""


def amend_settings(
    store: GalleryStore, name: str, change: Callable[[GalleryInfo], GallerySettings | None]
) -> tuple[GallerySettings, int]:
    """Give gallery `name` the settings that `change` makes of those in force; None leaves them. The settings then, and
    the sequence number from which on they are in force.

    change: called again with what holds by then when somebody else changed the settings, or the model, in between.
    Raises UnknownGallery, ChangedMeanwhile when that goes on and on.
    """
    for _ in range(_MOST_TIMES):
        info = store.info(name)
        wanted = change(info)
        if wanted is None:
            return info.settings, info.sequence
        try:
            return wanted, store.configure(name, wanted, over=info)
        except ChangedMeanwhile:
            continue
    raise settings_changed(name)


def amend_description(
    store: GalleryStore,
    name: str,
    subject: str,
    change: Callable[[SubjectDetail], tuple[str | None, Mapping[str, str]]],
) -> int:
    """Describe a subject by what `change` makes of what is noted: external id and metadata; the sequence number.

    Raises UnknownGallery, UnknownSubject, NameTaken, InvalidName, ChangedMeanwhile as `amend_settings` does.
    """
    for _ in range(_MOST_TIMES):
        known = store.show(name, subject)
        external_id, metadata = change(known)
        try:
            return store.describe(name, subject, external_id=external_id, metadata=metadata, over=known)
        except ChangedMeanwhile:
            continue
    raise description_changed(name, subject)


def settings_changed(name: str) -> ChangedMeanwhile:
    """The error of `configure`."""
    return ChangedMeanwhile(f"the settings of gallery {name}, or its model, were changed meanwhile; look again")


def description_changed(name: str, subject: str) -> ChangedMeanwhile:
    """The error of `describe`."""
    return ChangedMeanwhile(f"what is noted of {subject!r} of gallery {name} was changed meanwhile; look again")

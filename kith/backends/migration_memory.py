"""The other model's vectors of galleries in one process; see kith.backends.migration_redis."""

from collections.abc import Mapping
from itertools import groupby

from kith.backends.gallery_memory import MemoryGalleryStore
from kith.backends.gallery_memory_log import state_of
from kith.backends.gallery_memory_state import MemoryGallery
from kith.backends.other_model_memory import OtherModel
from kith.errors import CannotMigrate
from kith.gallery_settings import GallerySettings
from kith.jobs import now_ms
from kith.journal import FREE, Op, Snapshot, Vectors
from kith.migration import Migration, Missing, check_vectors, lacking


class MemoryMigrationStore:
    """MigrationStore on the galleries of a MemoryGalleryStore."""

    def __init__(self, galleries: MemoryGalleryStore) -> None:
        self._galleries = galleries

    def begin(self, name: str, *, model_id: str, dimension: int, pack: str) -> Migration:
        with self._galleries.holding(name) as gallery:
            if gallery.model_id == model_id:
                raise CannotMigrate(f"gallery {name} is of model {model_id} already")
            if gallery.other is None:
                gallery.other = OtherModel(model_id, dimension, pack, now_ms())
            if gallery.other.model_id != model_id:
                raise CannotMigrate(f"gallery {name} holds vectors of model {gallery.other.model_id} beside its own")
            return _state(gallery, gallery.other)

    def state(self, name: str) -> Migration | None:
        with self._galleries.holding(name) as gallery:
            return None if gallery.other is None else _state(gallery, gallery.other)

    def missing(self, name: str, *, after: int = -1, limit: int = 1024) -> list[Missing]:
        with self._galleries.holding(name) as gallery:
            other = gallery.other
            found = [
                Missing(template_id, slot, gallery.templates[template_id].info.image)
                for slot, template_id in sorted(gallery.by_slot.items())
                if other is None or template_id not in other.vectors.keys() | other.unable.keys()
            ]
        return [each for each in found if each.slot > after][:limit]

    def put(self, name: str, model_id: str, vectors: Mapping[str, Vectors], unable: Mapping[str, str]) -> int:
        with self._galleries.holding(name) as gallery:
            other = gallery.other
            if other is None or other.model_id != model_id:
                return 0
            check_vectors(name, other.dimension, vectors)
            fresh = [each for each in vectors if each in gallery.templates and each not in other.vectors]
            for each in fresh:
                other.vectors[each] = vectors[each].copy()
                other.unable.pop(each, None)
            for each, reason in unable.items():
                if each in gallery.templates and each not in other.vectors:
                    other.unable[each] = reason
            return len(fresh)

    def unable(self, name: str) -> dict[str, str]:
        with self._galleries.holding(name) as gallery:
            return {} if gallery.other is None else dict(gallery.other.unable)

    def retry(self, name: str) -> int:
        with self._galleries.holding(name) as gallery:
            if gallery.other is None:
                return 0
            count = len(gallery.other.unable)
            gallery.other.unable.clear()
            return count

    def other(self, name: str) -> Snapshot:
        with self._galleries.holding(name) as gallery:
            other = _other(gallery)
            own = state_of(gallery)
            snapshot = Snapshot(
                *(name, other.model_id, other.dimension, own.epoch, own.sequence, own.settings),
                owners=[owners.copy() for owners in own.owners],
                qualities=own.qualities,
                names=own.names,
            )
            for owners in snapshot.owners:
                owners[:] = FREE
            for template_id, vector in other.vectors.items():
                template = gallery.templates[template_id]
                snapshot.put(template.info.slot, vector, template.number, template.info.quality)
        return snapshot

    def switch(
        self, name: str, model_id: str, *, before: GallerySettings, after: GallerySettings, drop_unable: bool = False
    ) -> int:
        with self._galleries.holding(name) as gallery:
            other = _other(gallery)
            if other.model_id != model_id:
                raise CannotMigrate(f"gallery {name} holds no vectors of another model {model_id}")
            short = len(gallery.templates) - len(other.vectors)
            if short > len(other.unable) or (other.unable and not drop_unable):
                raise CannotMigrate(lacking(name, short, len(other.unable)))
            if gallery.settings != before:
                raise CannotMigrate(f"the settings of gallery {name} were changed meanwhile; look again, then switch")

            def owner(template_id: str) -> int:
                return gallery.templates[template_id].number

            for number, ids in groupby(sorted(other.unable, key=owner), key=owner):
                gallery.remove(number, list(ids))
            former = OtherModel(gallery.model_id, gallery.dimension, other.pack, other.started_ms, settings=before)
            for template_id, template in gallery.templates.items():
                former.vectors[template_id], template.vector = template.vector, other.vectors[template_id]
            gallery.model_id, gallery.dimension = other.model_id, other.dimension
            gallery.settings, gallery.other = after, former
            former.switched = gallery.model_since = gallery.sequence + 1
            return gallery.tell(Op.MODEL, 0, before=former.model_id, after=other.model_id, settings=(before, after))

    def end(self, name: str) -> None:
        with self._galleries.holding(name) as gallery:
            _other(gallery)
            gallery.other = None


def _other(gallery: MemoryGallery) -> OtherModel:
    if gallery.other is None:
        raise CannotMigrate(f"gallery {gallery.name} holds no vectors of another model")
    return gallery.other


def _state(gallery: MemoryGallery, other: OtherModel) -> Migration:
    return Migration(
        *(gallery.name, other.model_id, other.dimension, other.pack, other.started_ms, other.switched, other.settings),
        *(len(gallery.templates), len(other.vectors), len(other.unable)),
    )

"""A migration store whose beginning, switch and end stand in the audit log, with who did them (see kith.audited)."""

from typing import Any

from kith.audit import Action, AuditLog, Deed, Detail
from kith.gallery_settings import GallerySettings
from kith.migration import Migration, MigrationStore


class AuditedMigrationStore:
    """A MigrationStore. by: the actor. What workers do meanwhile, picture by picture, goes by the store itself."""

    def __init__(self, store: MigrationStore, audit: AuditLog, by: str) -> None:
        self._store, self._audit, self._by = store, audit, by

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._store, verb)

    def begin(self, name: str, *, model_id: str, dimension: int, pack: str) -> Migration:
        before = self._store.state(name)
        state = self._store.begin(name, model_id=model_id, dimension=dimension, pack=pack)
        if before is None:
            self._record(name, {"stage": "begun", "model": model_id})
        return state

    def switch(
        self, name: str, model_id: str, *, before: GallerySettings, after: GallerySettings, drop_unable: bool = False
    ) -> int:
        sequence = self._store.switch(name, model_id, before=before, after=after, drop_unable=drop_unable)
        self._record(name, {"stage": "switched", "model": model_id, "left_behind": drop_unable}, sequence)
        return sequence

    def end(self, name: str) -> None:
        state = self._store.state(name)
        if state is not None:
            # Before it is done: there is no way back.
            self._record(name, {"stage": "ended", "model": state.model_id})
        self._store.end(name)

    def _record(self, name: str, detail: Detail, sequence: int | None = None) -> None:
        self._audit.record(Deed(self._by, Action.MIGRATED, name, sequence=sequence, detail=detail))

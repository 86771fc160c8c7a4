"""Who changed what in a gallery stands in the audit log, once a call, by id and never by name."""

from collections.abc import Callable

import numpy as np
import pytest

from kith.audit import Action, AuditEntry, Deed
from kith.audited import AuditedGalleryStore
from kith.audited_migration import AuditedMigrationStore
from kith.backends.audit_memory import MemoryAudit
from kith.backends.gallery_memory import MemoryGalleryStore
from kith.backends.migration_memory import MemoryMigrationStore
from kith.errors import CannotMigrate, StateUnavailable, UnknownSubject
from kith.gallery import Enrolment, GallerySettings, Introduction


class Audit(MemoryAudit):
    """Can be away."""

    away = False

    def record(self, deed: Deed) -> AuditEntry:
        if self.away:
            raise StateUnavailable
        return super().record(deed)


@pytest.fixture
def audit() -> Audit:
    return Audit()


@pytest.fixture
def plain() -> MemoryGalleryStore:
    return MemoryGalleryStore()


@pytest.fixture
def store(plain: MemoryGalleryStore, audit: Audit) -> AuditedGalleryStore:
    store = AuditedGalleryStore(plain, audit, "cli:ada@desk")
    for _ in range(3):
        store.create("door", model_id="m", dimension=4)
    return store


def face(subject: str, number: int) -> Enrolment:
    return Enrolment(subject, f"t{number}", np.array([1, 0, 0, 0], np.float32), f"i{number}", 1.0, "m")


def last(audit: Audit) -> Deed:
    return audit.latest(1)[0].deed


def test_every_change_is_one_entry_with_its_number_and_whom_it_is_about(
    store: AuditedGalleryStore, audit: Audit
) -> None:
    assert [entry.deed.action for entry in audit.latest(9)] == [Action.CREATED]
    store.enrol("door", [face("Ann", 1), face("Ann", 2)])
    ann = store.show("door", "Ann").subject_id
    changes: list[tuple[Action, Callable[[], int]]] = [
        (Action.RENAMED, lambda: store.rename("door", "Ann", "Anna")),
        (Action.DESCRIBED, lambda: store.describe("door", "Anna", external_id="7")),
        (Action.REMOVED, lambda: store.remove("door", "Anna", ["t1"])),
        (Action.UNDONE, lambda: store.undo("door", store.info("door").sequence)),
    ]
    for action, change in changes:
        before = audit.head().number
        sequence = change()
        deed = last(audit)
        assert audit.head().number == before + 1
        assert (deed.actor, deed.action, deed.gallery) == ("cli:ada@desk", action, "door")
        assert (deed.subject_id, deed.sequence) == (ann, sequence)
    sequence = store.move("door", "Anna", ["t1"], "Bea")
    bea = store.show("door", "Bea").subject_id
    moved = audit.latest(2)[0].deed
    assert (moved.action, moved.subject_id, moved.sequence) == (Action.MOVED, bea, sequence)
    store.merge("door", "Bea", "Anna")
    assert (last(audit).action, last(audit).subject_id, dict(last(audit).detail)) == (
        Action.MOVED,
        ann,
        {"merge": True},
    )
    store.configure("door", GallerySettings(cutoff=0.4))
    assert (last(audit).action, last(audit).subject_id) == (Action.CONFIGURED, None)


def test_an_introduction_is_one_too_and_nothing_where_it_changes_nothing(
    store: AuditedGalleryStore, audit: Audit
) -> None:
    sequence = store.introduce("door", "Ann", Introduction(external_id="7"))
    deed = last(audit)
    assert (deed.action, deed.subject_id, deed.sequence) == (
        *(Action.ENROLLED, store.show("door", "Ann").subject_id),
        sequence,
    )
    assert dict(deed.detail) == {"templates": 0, "subjects": 1}
    before = audit.head()
    assert store.introduce("door", "Ann", Introduction()) is None
    assert audit.head() == before


def test_a_batch_of_many_people_is_one_entry(store: AuditedGalleryStore, audit: Audit) -> None:
    before = audit.head().number
    store.enrol("door", [face(f"n{number}", number) for number in range(20)])
    assert audit.head().number == before + 1
    assert (last(audit).subject_id, last(audit).sequence) == (None, 20)
    assert dict(last(audit).detail) == {"templates": 20, "subjects": 20, "first": 1}
    store.enrol("door", [face("solo", 99)])
    assert last(audit).subject_id == store.show("door", "solo").subject_id


def test_nobody_is_shown_exported_or_forgotten_when_it_cannot_be_recorded(
    store: AuditedGalleryStore, plain: MemoryGalleryStore, audit: Audit
) -> None:
    store.enrol("door", [face("Ann", 1)])
    for verb in ("show", "snapshot", "catalogue"):
        getattr(store, verb)(*(("door", "Ann") if verb == "show" else ("door",)))
        assert last(audit).action is Action.LOOKED
    audit.away = True

    def shown(*_: object) -> None:
        pytest.fail("shown, and not recorded")

    plain.snapshot = plain.catalogue = shown  # type: ignore[method-assign,assignment]
    looks: list[Callable[[], object]] = [
        lambda: store.show("door", "Ann"),
        lambda: store.snapshot("door"),
        lambda: store.catalogue("door"),
        lambda: store.forget("door", "Ann"),
    ]
    for look in looks:
        with pytest.raises(StateUnavailable):
            look()
    assert plain.show("door", "Ann").name == "Ann"
    audit.away = False
    store.forget("door", "Ann")
    assert [entry.deed.detail["stage"] for entry in audit.latest(2)] == ["begun", "done"]


def test_no_name_gets_into_the_log_and_what_fails_is_not_recorded(store: AuditedGalleryStore, audit: Audit) -> None:
    store.enrol("door", [face("Ann", 1)])
    store.rename("door", "Ann", "Anna")
    before = audit.head()
    with pytest.raises(UnknownSubject):
        store.rename("door", "Nobody", "Somebody")
    assert audit.head() == before
    assert not any("Ann" in str(entry) for entry in audit.latest(99))


def test_a_change_of_model_is_recorded_when_it_begins_is_made_and_ends(
    store: AuditedGalleryStore, plain: MemoryGalleryStore, audit: Audit
) -> None:
    store.enrol("door", [face("Ann", 1)])
    migrations = AuditedMigrationStore(MemoryMigrationStore(plain), audit, "cli:ada@desk")
    before, settings = audit.head().number, plain.info("door").settings
    for _ in range(2):
        migrations.begin("door", model_id="n", dimension=4, pack="new")
    with pytest.raises(CannotMigrate):
        migrations.switch("door", "n", before=settings, after=settings)
    migrations.put("door", "n", {"t1": face("Ann", 1).vector}, {})
    sequence = migrations.switch("door", "n", before=settings, after=settings)
    audit.away = True
    with pytest.raises(StateUnavailable):
        migrations.end("door")
    assert migrations.state("door").model_id == "m"
    audit.away = False
    migrations.end("door")
    with pytest.raises(CannotMigrate):
        migrations.end("door")
    told = [entry.deed for entry in audit.page(before).entries]
    assert {(each.actor, each.action, each.gallery) for each in told} == {("cli:ada@desk", Action.MIGRATED, "door")}
    assert [(each.sequence, dict(each.detail)) for each in told] == [
        (None, {"stage": "begun", "model": "n"}),
        (sequence, {"stage": "switched", "model": "n", "left_behind": False}),
        (None, {"stage": "ended", "model": "m"}),
    ]

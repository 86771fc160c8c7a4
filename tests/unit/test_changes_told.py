"""Changes of a gallery in words."""

from kith.changes_told import inverse, names_in, told
from kith.gallery_settings import GallerySettings
from kith.journal import Op
from kith.subjects import HistoryEntry

MOVED = HistoryEntry(3, Op.MOVE, 0, 2, "b", "Bob", ("t1",), source=1)


def test_whose_templates_were_moved_is_said_by_name_where_the_history_has_it() -> None:
    renamed = HistoryEntry(2, Op.RENAME, 0, 1, "a", "Anna", before="Ann")
    enrolled = HistoryEntry(1, Op.ENROL, 0, 1, "a", "Ann", ("t1",), created=True)
    names = names_in([MOVED, renamed, enrolled])

    assert names == {2: "Bob", 1: "Anna"}
    assert told(MOVED, names) == "1 template of Anna moved to Bob"
    assert inverse(MOVED, names) == "1 template of Bob given back to Anna"
    assert told(MOVED) == "1 template of subject 1 moved to Bob"


def test_whoever_was_forgotten_has_no_name() -> None:
    assert names_in([HistoryEntry(1, Op.ENROL, 0, 1, erased=True)]) == {}


def test_which_settings_were_changed_is_said() -> None:
    def changed(before: GallerySettings, after: GallerySettings) -> str:
        return told(HistoryEntry(1, Op.SETTINGS, 0, before=before, after=after))

    assert changed(GallerySettings(), GallerySettings(cutoff=0.5, keep_probes_s=60)) == (
        "settings changed: cutoff none → 0.5, keep_probes_s none → 60"
    )
    assert changed(GallerySettings(cutoff=0.5), GallerySettings()) == "settings changed: cutoff 0.5 → none"
    assert changed(GallerySettings(), GallerySettings()) == "cutoff derived anew"

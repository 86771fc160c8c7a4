"""A change of a gallery in words, for whoever reads its history: what was done, and what undoing it does."""

from collections.abc import Iterable, Mapping
from dataclasses import fields

from kith.gallery_settings import GallerySettings
from kith.journal import Op
from kith.subjects import HistoryEntry


def names_in(entries: Iterable[HistoryEntry]) -> dict[int, str]:
    """What subjects are called, by number, as the newest of these changes (newest first) that is about each says."""
    names: dict[int, str] = {}
    for each in entries:
        if each.subject:
            names.setdefault(each.number, each.subject)
    return names


def told(entry: HistoryEntry, names: Mapping[int, str] | None = None) -> str:
    """A change in words. names: of subjects by number; whoever is not among them is told of by number."""
    if entry.erased:
        return f"{entry.op} (of somebody forgotten since)"
    new = ", a new subject" if entry.created else ""
    moved = f"{_count(entry)} of {_source(entry, names)} moved to {entry.subject}{new}"
    lines = {
        Op.ENROL: f"{entry.subject}: {_count(entry)} enrolled{new}",
        Op.REMOVE: f"{entry.subject}: {_count(entry)} removed{', and the subject with them' if entry.gone else ''}",
        Op.MOVE: f"{_former(entry, names)} merged into {entry.subject} with {_count(entry)}" if entry.gone else moved,
        Op.RENAME: f"{entry.before} renamed {entry.subject}",
        Op.DESCRIBE: f"{entry.subject} described",
        Op.FORGET: f"subject {entry.number} forgotten",
        Op.SETTINGS: _settings(entry),
        Op.MODEL: f"model {entry.before} changed for {entry.after}",
    }
    return lines.get(entry.op, f"{entry.op} changed")


def inverse(entry: HistoryEntry, names: Mapping[int, str] | None = None) -> str:
    """What undoing a change does, in words. names: as for `told`."""
    new = ", who was new with them" if entry.created else ""
    lines = {
        Op.ENROL: f"{_count(entry)} of {entry.subject} removed{new}",
        Op.REMOVE: f"{_count(entry)} given back to {entry.subject}",
        Op.MOVE: f"{_count(entry)} of {entry.subject} given back to {_former(entry, names)}",
        Op.RENAME: f"{entry.subject} called {entry.before} again",
        Op.DESCRIBE: f"the description of {entry.subject} as before",
    }
    return lines.get(entry.op, f"{entry.op} as before")


def _settings(entry: HistoryEntry) -> str:
    before, after = entry.before, entry.after
    if not isinstance(before, GallerySettings) or not isinstance(after, GallerySettings):
        return "settings changed"
    # How a cutoff was derived goes with the cutoff.
    names = [each.name for each in fields(GallerySettings) if each.name != "record"]
    changed = [
        f"{name} {_value(getattr(before, name))} → {_value(getattr(after, name))}"
        for name in names
        if getattr(before, name) != getattr(after, name)
    ]
    return f"settings changed: {', '.join(changed)}" if changed else "cutoff derived anew"


def _value(value: object) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _count(entry: HistoryEntry) -> str:
    return f"{len(entry.templates)} template{'' if len(entry.templates) == 1 else 's'}"


def _former(entry: HistoryEntry, names: Mapping[int, str] | None) -> str:
    ended = entry.before if entry.gone and isinstance(entry.before, tuple) else None
    return str(ended[1]) if ended else _source(entry, names)


def _source(entry: HistoryEntry, names: Mapping[int, str] | None) -> str:
    return (names or {}).get(entry.source) or f"subject {entry.source}"

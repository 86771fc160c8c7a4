"""Runs the galleries' Lua script, and turns what it answers into results or errors. gallery.lua documents the keys."""

from collections.abc import Sequence
from functools import cached_property
from hashlib import sha1
from importlib.resources import files
from typing import Any, NoReturn

import redis

from kith.backends.gallery_rows import RowFormats
from kith.errors import (
    CannotMigrate,
    CannotUndo,
    KeysUnavailable,
    ModelMismatch,
    NameTaken,
    SameSubject,
    StateUnavailable,
    UnknownGallery,
    UnknownSubject,
    UnknownTemplate,
)
from kith.migration import lacking

_PARTS = (
    *(
        "gallery.lua",
        "gallery_change.lua",
        "gallery_undo.lua",
        "gallery_read.lua",
        "gallery_migrate.lua",
        "gallery_reseal.lua",
    ),
    "gallery_holdings.lua",
)
#: As many arguments as any operation names; those of lists are read from ARGV.
_DISPATCH = "return operations[ARGV[1]](ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9])\n"

Call = tuple[Any, ...]


class GalleryScript:
    """The operations of gallery.lua and its sisters on one client. prefix: of all keys. rows: how vectors stand
    there."""

    def __init__(self, client: redis.Redis, prefix: str, rows: RowFormats | None = None) -> None:
        self.client = client
        self.prefix = prefix
        self.rows = rows or RowFormats()

    def key(self, name: str, part: str = "") -> str:
        """The key of a part of gallery `name`; without one, the base of all of them."""
        base = f"{self.prefix}:g:{name}"
        return f"{base}:{part}" if part else base

    def ask(self, name: str, operation: str, *arguments: object, subject: str = "", new: str = "") -> list[Any]:
        """One operation. subject, new: names for the error, as the caller wrote them."""
        return checked(name, self.run([(name, operation, *arguments)])[0], subject, new)

    def run(self, calls: Sequence[Call]) -> list[Any]:
        """Run operations in one round trip: (gallery, operation, *arguments) each; their raw replies."""
        text, digest = self._script
        for attempt in range(2):
            with self.client.pipeline(transaction=False) as pipe:
                for name, *arguments in calls:
                    pipe.evalsha(digest, 2, self.key(name), f"{self.prefix}:galleries", *arguments)
                try:
                    return pipe.execute()
                except redis.exceptions.NoScriptError:
                    # A new or restarted server. Should some have run before the script was flushed, then running all
                    # again changes nothing: only enrolments are sent together, and they know their template ids.
                    if attempt:
                        raise
            self.client.script_load(text)
        raise AssertionError("unreachable")

    @cached_property
    def _script(self) -> tuple[str, str]:
        folder = files("kith.backends")
        text = "\n".join(folder.joinpath(part).read_text(encoding="utf-8") for part in _PARTS) + _DISPATCH
        # Redis names scripts by SHA-1; nothing is protected by it.
        return text, sha1(text.encode(), usedforsecurity=False).hexdigest()


def checked(name: str, reply: list[Any], subject: str = "", new: str = "") -> list[Any]:
    """What follows the `ok` of a reply; raises the error that stands there instead."""
    code, *rest = reply
    if code != b"ok":
        _refuse(name, code.decode(), rest[0].decode() if rest else "", subject, new)
    return rest


def _refuse(name: str, code: str, detail: str, subject: str, new: str) -> NoReturn:
    match code:
        case "unknown_gallery":
            raise UnknownGallery(f"there is no gallery {name}")
        case "unknown_subject":
            raise UnknownSubject(f"nobody is called {detail or subject!r} in gallery {name}")
        case "unknown_template":
            raise UnknownTemplate(f"{subject!r} of gallery {name} has no template {detail}")
        case "name_taken":
            raise NameTaken(f"another subject of gallery {name} is called {new!r}")
        case "external_id_taken":
            raise NameTaken(f"another subject of gallery {name} has the external id {detail or new!r}")
        case "same_subject":
            raise SameSubject(f"{subject!r} and {new!r} are the same subject of gallery {name}")
        case "stale_key":
            raise KeysUnavailable(f"gallery {name} is sealed by a newer key than this process has read")
        case "model_mismatch":
            raise ModelMismatch(f"gallery {name} is of another model now: it has moved to it, or was made anew")
    _refuse_to_undo(name, code, new)
    _refuse_to_migrate(name, code, detail)
    raise StateUnavailable(f"the gallery script answered {code!r}, which this version does not know")


def _refuse_to_undo(name: str, code: str, new: str) -> None:
    match code:
        case "no_such_change":
            raise CannotUndo(f"the journal of gallery {name} holds no change {new}: it was trimmed, or is yet to come")
        case "changed_since":
            raise CannotUndo(
                f"what change {new} of gallery {name} left behind has been changed since; undo the later changes first"
            )
        case "change_of_model":
            raise CannotUndo(f"change {new} of gallery {name} is of its model: kith migrate {name} --rollback")
        case "other_model":
            raise CannotUndo(f"what change {new} of gallery {name} took away is of its former model")
        case "forgotten_since":
            raise CannotUndo(f"change {new} of gallery {name} is about somebody forgotten; that cannot be undone")


def _refuse_to_migrate(name: str, code: str, detail: str) -> None:
    match code:
        case "same_model":
            raise CannotMigrate(f"gallery {name} is of model {detail} already")
        case "other_migration":
            raise CannotMigrate(
                f"gallery {name} holds vectors of model {detail} beside its own; end that first "
                f"(kith migrate {name} --abandon)"
            )
        case "no_migration":
            raise CannotMigrate(f"gallery {name} holds no vectors of another model {detail}".rstrip())
        case "lacking":
            raise CannotMigrate(lacking(name, *map(int, detail.split())))
        case "settings_changed":
            raise CannotMigrate(f"the settings of gallery {name} were changed meanwhile; look again, then switch")

"""Runs the galleries' Lua script, and turns what it answers into results or errors. gallery.lua documents the keys."""

import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property
from hashlib import sha1
from importlib.resources import files
from typing import Any, NoReturn

import redis

from kith.amending import description_changed, settings_changed
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
from kith.gallery import BeingForgotten, GalleryDamaged
from kith.migration import lacking

#: Of the script, after gallery.lua: gallery_enrol.lua and so on, in this order, for each uses what stands before it.
_PARTS = (
    *("subjects", "slots", "enrol", "change", "undo", "forget", "trim", "drop"),
    *("read", "migrate", "reseal", "holdings", "run"),
)

#: Of the script that only follows a log, which each worker does a hundred times a second: a server makes every function
#: of a script anew each time that it runs.
_FOLLOWING, _FOLLOWING_PARTS = "changes", ("subjects", "slots", "read", "run")

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

    def change(
        self, name: str, operation: str, *arguments: object, subject: str = "", new: str = "", discreet: bool = False
    ) -> list[Any]:
        """`ask` for what is done once, also when redis-py sends it again because the answer was lost: the second run
        answers what the first one did. discreet: the answer, kept for that, tells of a person; it is deleted as soon as
        it is here."""
        request = self.key(name, f"r:{secrets.token_hex(16)}")
        reply = self.run([(name, operation, *arguments)], request)[0]
        if discreet:
            # Where this fails it expires by itself.
            with suppress(redis.exceptions.RedisError):
                self.client.delete(request)
        return checked(name, reply, subject, new)

    def run(self, calls: Sequence[Call], *requests: str, beside: Callable[[Any], object] | None = None) -> list[Any]:
        """Run operations in one round trip: (gallery, operation, *arguments) each; their raw replies. requests: the key
        of the answer, for a change. beside: adds commands to the pipeline; their replies come first."""
        following = all(operation == _FOLLOWING for _, operation, *_ in calls)
        text, digest = self._following_script if following else self._script
        for attempt in range(2):
            with self.client.pipeline(transaction=False) as pipe:
                if beside is not None:
                    beside(pipe)
                for name, *arguments in calls:
                    keys = self.key(name), f"{self.prefix}:galleries", *requests
                    pipe.evalsha(digest, len(keys), *keys, *arguments)
                replies = pipe.execute(raise_on_error=False)
            faults = [each for each in replies if isinstance(each, Exception)]
            if not faults:
                return replies
            # redis-py holds each of them in a frame that it holds: cycles, and with them stays what our callers go on
            # to read, vectors too, until they are collected.
            for fault in faults:
                fault.__traceback__ = None
            # A new or restarted server has no script. Should some have run before it was flushed, then running all
            # again changes nothing: what is sent together are enrolments, which know their template ids, or reads.
            if attempt or not isinstance(faults[0], redis.exceptions.NoScriptError):
                try:
                    self._damaged(calls, replies[len(replies) - len(calls) :])
                    raise faults[0]
                finally:
                    del replies, faults, fault
            self.client.script_load(text)
        raise AssertionError("unreachable")

    def _damaged(self, calls: Sequence[Call], replies: Sequence[Any]) -> None:
        """Raises GalleryDamaged where a key of a gallery is of another kind than it should be: the others are not."""
        for (name, *_), reply in zip(calls, replies, strict=True):
            if isinstance(reply, redis.exceptions.ResponseError) and "WRONGTYPE" in str(reply):
                raise GalleryDamaged(f"gallery {name} was damaged in Redis, below {self.key(name)}: {reply}")

    @cached_property
    def _script(self) -> tuple[str, str]:
        return _made_of(_PARTS)

    @cached_property
    def _following_script(self) -> tuple[str, str]:
        return _made_of(_FOLLOWING_PARTS)


def _made_of(parts: Sequence[str]) -> tuple[str, str]:
    folder = files("kith.backends")
    names = ("gallery.lua", *(f"gallery_{part}.lua" for part in parts))
    text = "\n".join(folder.joinpath(name).read_text(encoding="utf-8") for name in names)
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
        case "being_forgotten":
            raise BeingForgotten(
                f"gallery {name} is being forgotten; its name is free when that is done (kith gallery forget {name} "
                "goes on with it, should it have been broken off)"
            )
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
        case "not_sealed_anew":
            raise KeysUnavailable(
                f"what change {new} of gallery {name} took away awaits its sealing anew; wait for kith keys rotate "
                f"{name} --reseal, or run it again if it was interrupted"
            )
        case "set_meanwhile":
            raise settings_changed(name)
        case "noted_meanwhile":
            raise description_changed(name, subject)
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

"""Verbs about webhooks as the requests they are, and what is told of a webhook over HTTP."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from kith.remote.calls import Call, as_json, path
from kith.remote.records import plain, record, records
from kith.webhooks import DeadLetter, Progress, Wanted

#: A trial is answered when the receiver has, or has not.
_TRIAL_S = 30.0


@dataclass(frozen=True, slots=True)
class WebhookInfo:
    """A webhook as its list has it. shown: its address, without what may be secret. secret: of one that was just added,
    which nothing tells again."""

    webhook_id: str
    name: str
    shown: str
    wanted: Wanted
    created_ms: int
    by: str
    paused_why: str | None = None
    paused_ms: int = 0
    progress: Progress | None = None
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Trial:
    """Whether a receiver took what it was sent. status: what it answered, None where it did not; why: not."""

    taken: bool
    status: int | None = None
    why: str | None = None


def webhooks() -> Call[list[WebhookInfo]]:
    """All of them, oldest first."""
    return Call("GET", path("v1", "webhooks"), records(WebhookInfo, "webhooks"))


def webhook(webhook_id: str) -> Call[WebhookInfo]:
    """One."""
    return Call("GET", _at(webhook_id), record(WebhookInfo))


def add(
    name: str,
    url: str,
    kinds: Sequence[str] | None,
    galleries: Sequence[str] | None,
    cameras: Sequence[str] | None,
    subjects: Sequence[str] | None,
    secret: str | None,
) -> Call[WebhookInfo]:
    """A new one. Not sent again: there would be two."""
    body, headers = as_json(
        name=name, url=url, kinds=_list(kinds), galleries=_list(galleries), cameras=_list(cameras),
        subjects=_list(subjects), secret=secret,
    )  # fmt: skip
    return Call("POST", path("v1", "webhooks"), record(WebhookInfo), body=body, headers=headers, again=False)


def change(
    webhook_id: str,
    name: str | None,
    url: str | None,
    kinds: Sequence[str] | None,
    galleries: Sequence[str] | None,
    cameras: Sequence[str] | None,
    subjects: Sequence[str] | None,
) -> Call[WebhookInfo]:
    """Another name, address or filter."""
    body, headers = as_json(
        name=name, url=url, kinds=_list(kinds), galleries=_list(galleries), cameras=_list(cameras),
        subjects=_list(subjects),
    )  # fmt: skip
    return Call("PATCH", _at(webhook_id), record(WebhookInfo), body=body, headers=headers)


def remove(webhook_id: str) -> Call[None]:
    """Tell it nothing more."""
    return Call("DELETE", _at(webhook_id), lambda _: None, again=False)


def pause(webhook_id: str, why: str) -> Call[WebhookInfo]:
    """Tell it nothing until it is resumed."""
    body, headers = as_json(why=why)
    return Call("POST", _at(webhook_id, "pause"), record(WebhookInfo), body=body, headers=headers)


def resume(webhook_id: str) -> Call[WebhookInfo]:
    """Go on."""
    return Call("POST", _at(webhook_id, "resume"), record(WebhookInfo))


def try_out(webhook_id: str) -> Call[Trial]:
    """Deliver a trial."""
    return Call("POST", _at(webhook_id, "test"), record(Trial), again=False, wait_s=_TRIAL_S)


def dead_letters(webhook_id: str) -> Call[list[DeadLetter]]:
    """What it could not be told."""
    return Call("GET", _at(webhook_id, "dead-letters"), records(DeadLetter, "dead_letters"))


def replay(webhook_id: str, after: str) -> Call[None]:
    """Tell again what came after an entry."""
    body, headers = as_json(after=after)
    return Call("POST", _at(webhook_id, "replay"), lambda _: None, body=body, headers=headers)


def redo(webhook_id: str) -> Call[int]:
    """Deliver the dead letters again; how many."""
    body, headers = as_json(dead=True)
    return Call("POST", _at(webhook_id, "replay"), _count, body=body, headers=headers)


def _count(body: bytes) -> int:
    return int(plain(body)["dead_letters"])


def _at(webhook_id: str, *what: str) -> str:
    return path("v1", "webhooks", webhook_id, *what)


def _list(values: Sequence[str] | None) -> Any:
    return None if values is None else list(values)

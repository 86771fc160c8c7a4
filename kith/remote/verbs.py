"""Every verb of the two clients as the request it is."""

import base64
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from kith.calibration_samples import SearchSample
from kith.jobs import Content, Decision, ImageRef, Kind, Lane
from kith.remote import records
from kith.remote.calls import Call, Method, as_json, parameters, path
from kith.remote.records import Job, Page, listed, member, plain, record
from kith.results import Entry
from kith.status import Status
from kith.subjects import GalleryInfo, HistoryEntry, SubjectDetail, SubjectInfo
from kith.watching.erasing import ForgottenStranger
from kith.watching.event_log import EventEntry
from kith.watching.strangers import Stranger

if TYPE_CHECKING:
    from kith.receipts import SignedReceipt

T = TypeVar("T")

#: Pictures of a job that have no more bytes than this travel in it; else each is stored first, so that a lost
#: connection costs one picture.
INLINE_BYTES = 1 << 20

#: Seconds for which a question may wait on the other side, at most: proxies cut off what is silent for a minute.
LONGEST_WAIT_S = 30.0


def put(data: bytes) -> Call[str]:
    """Store a picture; its key."""
    digest = sha256(data).hexdigest()
    headers = {"content-type": "application/octet-stream"}
    return Call("PUT", path("v1", "uploads", digest), member("key"), body=data, headers=headers)


def image(key: str) -> Call[bytes]:
    """The bytes of a stored picture."""
    return Call("GET", path("v1", "images", key), bytes)


def submit(
    kind: Kind,
    images: Sequence[bytes | ImageRef],
    *,
    labels: Sequence[str | None],
    subject: str | None,
    gallery: str | None,
    lane: Lane | None,
    content: Content,
    min_sequence: int,
    expires_ms: int | None,
    idempotency_key: str | None,
    wait_s: float,
) -> Call[Job]:
    """Hand in a job. Without a key of the caller's own it gets one here: sent twice, it is one job."""
    pictures: list[dict[str, str]] = []
    for each, label in zip(images, labels, strict=True):
        if isinstance(each, ImageRef):
            shown = {"key": each.key, "label": each.label, "subject": each.subject}
        else:
            shown = {"data": base64.b64encode(each).decode(), "label": label, "subject": None}
        pictures.append({name: value for name, value in shown.items() if value is not None})
    body, headers = as_json(
        kind=kind.value,
        images=pictures,
        subject=subject,
        gallery=gallery,
        lane=None if lane is None else lane.value,
        content=content.value,
        min_sequence=min_sequence or None,
        expires_ms=expires_ms,
    )
    headers |= {"idempotency-key": idempotency_key or uuid4().hex}
    wait_s = min(wait_s, LONGEST_WAIT_S)
    params = parameters(wait=wait_s or None)
    return Call("POST", path("v1", "jobs"), record(Job), params, body, headers, wait_s=wait_s)


def job(job_id: str, wait_s: float) -> Call[Job]:
    """Where a job stands, after at most `wait_s` seconds or when it has ended."""
    wait_s = min(wait_s, LONGEST_WAIT_S)
    return Call("GET", path("v1", "jobs", job_id), record(Job), parameters(wait=wait_s or None), wait_s=wait_s)


def cancel(job_id: str) -> Call[Job]:
    """Cancel a job that nobody has begun on."""
    return Call("DELETE", path("v1", "jobs", job_id), record(Job))


def decisions(after: str | None, **filters: Any) -> Call[Page[Entry]]:
    """A page of decisions."""
    return Call("GET", path("v1", "decisions"), records.decisions, parameters(after=after, limit=500, **filters))


def events(after: str | None, **filters: Any) -> Call[Page[EventEntry]]:
    """A page of what cameras told."""
    return Call("GET", path("v1", "events"), records.events, parameters(after=after, limit=500, **filters))


def decision(decision_id: str) -> Call[Decision]:
    """One decision."""
    return Call("GET", path("v1", "decisions", decision_id), record(Decision))


def judge(decision_id: str, verdict: str, actually: str | None, group: str | None, sampled: bool) -> Call[SearchSample]:
    """Say whether a decision was right."""
    body, headers = as_json(verdict=verdict, actually=actually, group=group, sampled=sampled or None)
    where = path("v1", "decisions", decision_id, "feedback")
    return Call("PUT", where, record(SearchSample), body=body, headers=headers)


def withdraw(decision_id: str) -> Call[bool]:
    """Take back what was said of a decision."""
    # Sent twice the second one finds nothing, and would say so.
    where = path("v1", "decisions", decision_id, "feedback")
    return Call("DELETE", where, member("withdrawn"), again=False)


def galleries() -> Call[list[GalleryInfo]]:
    """Those that the key may see."""
    return Call("GET", path("v1", "galleries"), records.records(GalleryInfo, "galleries"))


def gallery(name: str) -> Call[GalleryInfo]:
    """One gallery."""
    return Call("GET", path("v1", "galleries", name), record(GalleryInfo))


def history(name: str, before: str | None) -> Call[Page[HistoryEntry]]:
    """A page of a gallery's changes, newest first."""
    where = path("v1", "galleries", name, "history")
    return Call("GET", where, listed(HistoryEntry, "entries"), parameters(before=before, limit=500))


def subjects(name: str, after: str | None) -> Call[Page[SubjectInfo]]:
    """A page of a gallery's people, by name."""
    where = path("v1", "galleries", name, "subjects")
    return Call("GET", where, listed(SubjectInfo, "subjects"), parameters(after=after, limit=1000))


def subject(name: str, who: str) -> Call[SubjectDetail]:
    """One person."""
    return Call("GET", path("v1", "galleries", name, "subjects", who), record(SubjectDetail))


def introduce(name: str, who: str, external_id: str | None, metadata: Mapping[str, str] | None) -> Call[int | None]:
    """Add somebody without templates."""
    body, headers = as_json(name=who, external_id=external_id, metadata=metadata)
    where = path("v1", "galleries", name, "subjects")
    return Call("POST", where, member("sequence"), body=body, headers=headers)


def change(name: str, who: str, /, **to: Any) -> Call[int | None]:
    """Rename somebody, or set what is noted of them. A rename is not sent again: nobody has the former name then."""
    body, headers = as_json(**to)
    where = path("v1", "galleries", name, "subjects", who)
    return Call("PATCH", where, member("sequence"), body=body, headers=headers, again="name" not in to)


def forget(name: str, who: str, wait_s: float) -> "Call[SignedReceipt]":
    """Erase somebody; the signed receipt. It is given once, so this is not sent again."""
    where = path("v1", "galleries", name, "subjects", who)
    return Call("DELETE", where, _receipt, parameters(wait=wait_s), again=False, wait_s=wait_s)


def forget_gallery(name: str, wait_s: float) -> "Call[SignedReceipt]":
    """Erase a gallery. As `forget`."""
    where = path("v1", "galleries", name)
    return Call("DELETE", where, _receipt, parameters(confirm=name, wait=wait_s), again=False, wait_s=wait_s)


def altered(method: Method, name: str, /, *what: str, **body: Any) -> Call[int | None]:
    """A change of a gallery that cannot be repeated: merge, move, undo."""
    content, headers = as_json(**body)
    where = path("v1", "galleries", name, *what)
    return Call(method, where, member("sequence"), body=content, headers=headers, again=False)


def remove(name: str, who: str, template_id: str) -> Call[int | None]:
    """Take a template from somebody."""
    where = path("v1", "galleries", name, "templates", template_id)
    return Call("DELETE", where, member("sequence"), parameters(subject=who), again=False)


def strangers(name: str, everybody: bool) -> Call[list[Stranger]]:
    """People nobody has named."""
    where = path("v1", "galleries", name, "strangers")
    return Call("GET", where, records.records(Stranger, "strangers"), parameters(all=everybody or None))


def name_stranger(name: str, number: int, subject: str) -> Call[int]:
    """Say who one is; how many templates were made."""
    return _of_stranger(name, number, "name", lambda body: int(plain(body)["templates"]), subject=subject)


def merge_strangers(name: str, number: int, other: int) -> Call[int]:
    """Say that two are one; the number that goes on."""
    return _of_stranger(name, number, "merge", lambda body: int(plain(body)["kept"]), other=other)


def ignore_stranger(name: str, number: int, ignored: bool) -> Call[bool]:
    """Tell of one no more, or again."""
    return _of_stranger(name, number, "ignore", lambda body: bool(plain(body)["ignored"]), ignored=ignored)


def forget_stranger(name: str, number: int) -> Call[ForgottenStranger]:
    """Erase one."""
    where = path("v1", "galleries", name, "strangers", str(number))
    return Call("DELETE", where, record(ForgottenStranger), again=False)


def status() -> Call[Status]:
    """Queues, workers, galleries."""
    return Call("GET", path("v1", "status"), record(Status))


def anything(method: Method, where: str, params: Mapping[str, Any], body: Mapping[str, Any] | None) -> Call[Any]:
    """What has no verb of its own. What changes something is not sent again."""
    content, headers = (None, {}) if body is None else as_json(**body)
    return Call(
        method, where, _anything, parameters(**params), content, headers, again=method in ("GET", "PUT")
    )  # fmt: skip


def _anything(body: bytes) -> Any:
    return plain(body) if body else None


def _of_stranger(name: str, number: int, what: str, read: Callable[[bytes], T], **body: Any) -> Call[T]:
    content, headers = as_json(**body)
    where = path("v1", "galleries", name, "strangers", str(number), what)
    return Call("POST", where, read, body=content, headers=headers, again=False)


def _receipt(body: bytes) -> "SignedReceipt":
    # Here, because the library of signatures takes its time to load, and hardly anybody forgets.
    from kith.receipts import from_text  # noqa: PLC0415

    return from_text(body)

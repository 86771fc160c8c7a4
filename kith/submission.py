"""What a bulk submission remembers between runs: an append-only file of JSON lines under `home/submissions`.

    {"kith": 1, "nonce": …, "folder": …, "gallery": …, "kind": …}            the first line
    {"job": id, "images": [{"path", "size", "mtime_ns", "key"}, …], "key": …}   before the job is sent
    {"accepted": id}                                                          after the ledger has it

A job is written down *before* it is sent. A run that is killed between the two finds it here and sends the same job
again, from the same images in the same order, hence with the same idempotency key; the ledger recognises it. Grouping
the images anew would not do: one file more or less shifts every later group.
"""

import fcntl
import json
import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from kith.errors import Misconfigured
from kith.folder import Image
from kith.jobs import Content, Kind


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """A job on record. keys: where its images lie in the store, in the order of `images`."""

    job_id: str
    images: tuple[Image, ...]
    keys: tuple[str, ...]
    idempotency_key: str


@dataclass
class Record:
    """The state file of one folder, gallery and kind, open and locked. Use as a context manager.

    jobs: every job ever planned, by id, in order. accepted: ids of those the ledger has.
    """

    path: Path
    nonce: str = ""
    jobs: dict[str, PlannedJob] = field(default_factory=dict)
    accepted: set[str] = field(default_factory=set)
    _seen: set[Image] = field(default_factory=set)
    _descriptor: int = -1

    @classmethod
    def open(
        cls, home: Path, installation: str, folder: Path, gallery: str, kind: Kind, content: Content, *, again: bool
    ) -> Self:
        """Open, or begin, the record of this submission.

        installation: tells two systems that share a home apart. again: forget what was submitted, begin anew. Raises
        Misconfigured when another process works on it, or the file is not one of ours.
        """
        parts = (installation, str(folder), gallery, kind, content)
        readable = re.sub(r"[^A-Za-z0-9]+", "-", folder.name).strip("-")[:40] or "folder"
        digest = sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:12]
        directory = home / "submissions"
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        record = cls(directory / f"{readable}-{digest}.jsonl")
        record._descriptor = os.open(record.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(record._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Misconfigured(f"another process submits {folder} to gallery {gallery}; wait for it") from None
            if again:
                os.ftruncate(record._descriptor, 0)
            record._read()
            if not record.nonce:
                record._begin({"folder": str(folder), "gallery": gallery, "kind": kind, "content": content})
        except BaseException:
            record.close()
            raise
        return record

    def close(self) -> None:
        """Close the file, which also lets go of the lock."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def has(self, image: Image) -> bool:
        """Whether a planned job holds this image, unchanged."""
        return image in self._seen

    def unfinished(self) -> list[PlannedJob]:
        """Planned jobs of which it is not known that the ledger has them."""
        return [job for job in self.jobs.values() if job.job_id not in self.accepted]

    def accepted_in_order(self) -> list[str]:
        """Ids of the jobs the ledger has, oldest first."""
        return [job_id for job_id in self.jobs if job_id in self.accepted]

    def plan(self, jobs: Sequence[PlannedJob]) -> None:
        """Write jobs down before they are sent.

        Synced: should a power cut take these lines while the ledger keeps the jobs, their images would be submitted
        a second time under other ids. One sync per call, which covers many images.
        """
        for job in jobs:
            self.jobs[job.job_id] = job
            self._seen.update(job.images)
        self._append(*({"job": job.job_id, "images": _plain(job), "key": job.idempotency_key} for job in jobs))
        os.fsync(self._descriptor)

    def accept(self, job_ids: Sequence[str]) -> None:
        """Note that the ledger has these jobs. Not synced: a lost line costs a repetition, which the ledger notices."""
        self.accepted.update(job_ids)
        self._append(*({"accepted": job_id} for job_id in job_ids))

    def _begin(self, about: dict[str, str]) -> None:
        self.nonce = secrets.token_hex(8)
        self._append({"kith": 1, "nonce": self.nonce, **about})
        os.fsync(self._descriptor)

    def _append(self, *lines: dict[str, Any]) -> None:
        # One write: a kill cannot end it half-way unless the disk is full, and _read bears a torn line anyway.
        data = b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines)
        while data:
            data = data[os.write(self._descriptor, data) :]

    def _read(self) -> None:
        data = self.path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            # The last write was cut off. Removed, or the next line would be glued to it.
            os.ftruncate(self._descriptor, whole)
        for number, line in enumerate(data[:whole].splitlines(), 1):
            try:
                self._take(json.loads(line))
            except (ValueError, KeyError, TypeError) as broken:
                raise Misconfigured(
                    f"line {number} of {self.path} is damaged ({type(broken).__name__}); mend it, or remove the file "
                    "to submit everything again"
                ) from None

    def _take(self, line: dict[str, Any]) -> None:
        if "kith" in line:
            self.nonce = line["nonce"]
        elif "accepted" in line:
            self.accepted.add(line["accepted"])
        else:
            images = tuple(Image(each["path"], each["size"], each["mtime_ns"]) for each in line["images"])
            job = PlannedJob(line["job"], images, tuple(each["key"] for each in line["images"]), line["key"])
            self.jobs[job.job_id] = job
            self._seen.update(images)


def _plain(job: PlannedJob) -> list[dict[str, Any]]:
    return [
        {"path": image.path, "size": image.size, "mtime_ns": image.mtime_ns, "key": key}
        for image, key in zip(job.images, job.keys, strict=True)
    ]

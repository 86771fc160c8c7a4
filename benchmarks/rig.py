"""A running stack with pictures in its store and people in its gallery, and the stopwatch for one round of jobs."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kith.client import Client
from kith.jobs import MAX_IMAGES_PER_JOB, Content, EmbedJob, ImageRef, Kind, Lane, Outcome
from kith.results import Entry
from kith.settings import Settings, load
from kith.stack import Stack, local_settings

#: The gallery that is searched.
GALLERY = "bench"

#: Between two looks at the number of decisions: often enough for a round of a second, too seldom to cost anything.
_LOOK_EVERY_S = 0.02
_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class Round:
    """One round of jobs. started_s: when the first was handed in. ended_s: when the last decision was in the stream."""

    images: int
    started_s: float
    ended_s: float

    @property
    def rate(self) -> float:
        """Images per second."""
        return self.images / (self.ended_s - self.started_s)


class Rig:
    """A stack to be measured, its client and its troubles."""

    def __init__(self, stack: Stack, client: Client, troubles: Sequence[str]) -> None:
        self.stack = stack
        self.client = client
        self._troubles = troubles

    def put(self, pictures: Iterable[bytes]) -> list[ImageRef]:
        """Store pictures."""
        return [self.client.intake.put(picture) for picture in pictures]

    def enrol(self, people: Sequence[tuple[str, bytes]], content: Content = Content.ALIGNED) -> None:
        """Fill the gallery with (subject, picture)."""
        intake = self.client.intake
        for start in range(0, len(people), MAX_IMAGES_PER_JOB):
            images = [intake.put(data, subject=name) for name, data in people[start : start + MAX_IMAGES_PER_JOB]]
            self.client.ask(intake.job(Kind.ENROL, images, gallery=GALLERY, content=content), _TIMEOUT_S)

    def jobs(
        self, images: Sequence[ImageRef], per_job: int, content: Content, lane: Lane = Lane.BULK
    ) -> list[EmbedJob]:
        """Jobs of `per_job` images each, the last one with what is left."""
        return [
            self.client.intake.job(
                Kind.IDENTIFY, images[start : start + per_job], gallery=GALLERY, content=content, lane=lane
            )
            for start in range(0, len(images), per_job)
        ]

    def run(self, images: Sequence[ImageRef], per_job: int, content: Content) -> Round:
        """Hand `images` in as bulk jobs and wait until the results stream holds all their decisions."""
        before = self.client.results.count()
        started_s = time.time()
        self.client.intake.submit_many(self.jobs(images, per_job, content))
        return Round(len(images), started_s, self.await_decisions(before + len(images)))

    def await_decisions(self, count: int) -> float:
        """Wait until the stream holds `count` decisions; when the last one came, by the server's own stamp.

        Raises RuntimeError when a worker dies meanwhile or nothing comes: a benchmark must not measure an accident.
        """
        deadline_s = time.monotonic() + _TIMEOUT_S
        while self.client.results.count() < count:
            self.check()
            if time.monotonic() > deadline_s:
                raise RuntimeError(f"{count} decisions did not come within {_TIMEOUT_S:g} s")
            time.sleep(_LOOK_EVERY_S)
        self.check()
        return stamp_s(self.client.results.position())

    def entries(self, after: str) -> Iterator[Entry]:
        """All entries of the stream after id `after`."""
        while entries := self.client.results.after(after):
            yield from entries
            after = entries[-1].entry_id

    def check(self) -> None:
        """Raises RuntimeError when something went wrong: figures with an accident in them are no figures."""
        if self._troubles:
            raise RuntimeError(f"the stack is not sound: {self._troubles[0]}")
        if self.client.ledger.dead_count():
            letter = self.client.ledger.dead_letters(1)[0]
            raise RuntimeError(f"a job became a dead letter: {letter.reason}")

    def refused(self, after: str) -> int:
        """How many decisions after id `after` are neither a match nor `unknown`."""
        return sum(entry.decision.outcome not in (Outcome.MATCH, Outcome.UNKNOWN) for entry in self.entries(after))


@contextmanager
def open_rig(home: Path, pack: Path, *, embed: int = 1, **sections: Any) -> Iterator[Rig]:
    """A stack of `embed` workers with model `pack` under `home`; sections: settings that differ from the defaults."""
    troubles: list[str] = []
    settings = bench_settings(home, pack, **sections)
    with ExitStack() as parts:
        stack = parts.enter_context(Stack(settings, embed=embed, notify=troubles.append))
        client = parts.enter_context(Client.open(settings))
        yield Rig(stack, client, troubles)


def bench_settings(home: Path, pack: Path, **sections: Any) -> Settings:
    """The defaults, but for `sections` and where things are."""
    return local_settings(load(model={"pack": pack}, **sections), home)


def stamp_s(entry_id: str) -> float:
    """When an entry entered the stream, Unix seconds: its id begins with the server's milliseconds."""
    return int(entry_id.partition("-")[0]) / 1000

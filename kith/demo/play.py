"""The demo itself, on a stack that runs: enrol, ask, count, and enrol one more while everything goes on."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from kith.client import Client
from kith.demo.cast import Cast, Newcomer, Picture
from kith.demo.screen import Screen
from kith.demo.tally import Tally, Verdict
from kith.errors import KithError, NoAnswerYet, Rejected
from kith.jobs import Content, Decision, EmbedJob, ImageRef, Kind, Lane, Outcome

_GALLERY = "demo"
#: Silence after which something is wrong: on a slow machine a job takes seconds.
_PATIENCE_S = 60.0
_UPLOAD_THREADS = 4


class Play:
    """One performance. content: what the pictures show."""

    def __init__(self, client: Client, cast: Cast, screen: Screen, content: Content) -> None:
        self._client = client
        self._cast = cast
        self._screen = screen
        self._content = content
        self._failed: dict[str, str] = {}

    def enrol(self) -> int:
        """Enrol the people; how many pictures became templates. Raises KithError when none did."""
        pictures = self._cast.enrol
        began_s = time.monotonic()
        refused: list[Decision] = []
        with self._screen.counting("enrolling", len(pictures)) as counter:

            def count(decision: Decision, _: Picture) -> None:
                counter.decided(decision, None)
                if decision.outcome is not Outcome.ENROLLED:
                    refused.append(decision)

            decided = self._run(Kind.ENROL, pictures, count)
        enrolled = decided - len(refused)
        self._screen.say(
            f"{enrolled} of {len(pictures)} pictures of {self._cast.subjects} people enrolled in "
            f"{time.monotonic() - began_s:.1f} s"
        )
        for decision in refused[:5]:
            self._screen.say(f"  not enrolled: {decision.label}: {decision.reason}")
        if not enrolled:
            raise KithError("nobody could be enrolled; are these pictures of faces?")
        return enrolled

    def ask(self) -> Tally:
        """Ask about all probes at once, in the bulk lane, and watch the decisions arrive."""
        tally = Tally()
        with self._screen.counting("recognising", len(self._cast.probes)) as counter:

            def count(decision: Decision, picture: Picture) -> None:
                counter.decided(decision, tally.add(decision, picture.subject))

            self._run(Kind.IDENTIFY, self._cast.probes, count)
        return tally

    def summary(self, enrolled: int, tally: Tally) -> None:
        """What came of it, a figure and its meaning a line."""
        counts, probes = tally.counts, self._cast.probes
        known = sum(probe.subject is not None for probe in probes)
        strangers = len(probes) - known
        rows: list[tuple[object, str]] = [
            (self._cast.subjects, f"subjects known, from {enrolled} pictures"),
            (len(probes), f"pictures asked about: {known} of people known, {strangers} of strangers"),
            (counts[Verdict.HIT], f"hits: the right name{_share(counts[Verdict.HIT], known)}"),
            (counts[Verdict.MISSED], "people known, but taken for strangers (score below the cutoff)"),
            (
                counts[Verdict.REJECTED_STRANGER],
                f"strangers answered with unknown{_share(counts[Verdict.REJECTED_STRANGER], strangers)}",
            ),
            (counts[Verdict.WRONG_NAME], "wrong names: somebody called what they are not"),
            (counts[Verdict.NO_FACE], "pictures without a usable face"),
            (counts[Verdict.REFUSED], "pictures rejected"),
        ]
        if self._failed:
            label, reason = next(iter(self._failed.items()))
            rows.append((len(self._failed), f"files not sent, such as {label}: {reason}"))
        rows += [
            (f"{tally.images_per_s:.0f}", "images a second, from the store to the published decision"),
            (
                f"{tally.latency_s(0.5):.2f} s",
                f"p50 from submit to decision, p99 {tally.latency_s(0.99):.2f} s: sent all at once, so mostly queueing",
            ),
        ]
        for value, meaning in rows:
            self._screen.say(f"{value!s:>8}  {meaning}")

    def newcomer(self, newcomer: Newcomer) -> None:
        """Ask about a person, enrol the person, ask again."""
        say = self._screen.say
        say(f"Now somebody new, while everything runs: {newcomer.name}")
        self._once("before", newcomer.probes, 0)
        began_s = time.monotonic()
        enrolled = [each for each in self._wait(Kind.ENROL, newcomer.enrol) if each.outcome is Outcome.ENROLLED]
        if not enrolled:
            say("  none of these pictures could be enrolled")
            return
        took_ms = (time.monotonic() - began_s) * 1000
        sequence = max(each.gallery_version or 0 for each in enrolled)
        say(f"  enrolled {len(enrolled)} pictures in {took_ms:.0f} ms: change {sequence} of the gallery")
        # The change's number goes along: the answer comes from a gallery that has seen it.
        self._once("after", newcomer.probes, sequence)

    def _once(self, when: str, pictures: Sequence[Picture], sequence: int) -> None:
        for decision in self._wait(Kind.IDENTIFY, pictures, sequence):
            face = decision.face
            score = ""
            if face is not None and face.score is not None:
                score = f" (score {face.score:.2f}, cutoff {decision.cutoff:.2f})"
            who = decision.subject or ("unknown" if decision.outcome is Outcome.UNKNOWN else decision.reason)
            self._screen.say(f"  {when}: {decision.label} → {who}{score}")

    def _wait(self, kind: Kind, pictures: Sequence[Picture], sequence: int = 0) -> list[Decision]:
        jobs = self._jobs(kind, pictures, Lane.INTERACTIVE, sequence)
        return [decision for job in jobs for decision in self._client.ask(job, _PATIENCE_S)]

    def _run(self, kind: Kind, pictures: Sequence[Picture], count: Callable[[Decision, Picture], None]) -> int:
        """Submit `pictures`, tell `count` of each decision as it is published; how many there were."""
        results = self._client.results
        last = results.position()
        jobs = self._jobs(kind, pictures, Lane.BULK)
        by_label = {picture.label: picture for picture in pictures}
        expected = {job.job_id: len(job.images) for job in jobs}
        self._client.intake.submit_many(jobs)
        decided, total, heard_s = 0, sum(expected.values()), time.monotonic()
        while decided < total:
            page = results.after(last, block_s=0.2)
            for entry in page:
                decision, last = entry.decision, entry.entry_id
                if decision.job_id in expected and decision.label is not None:
                    decided += 1
                    count(decision, by_label[decision.label])
            if page:
                heard_s = time.monotonic()
            elif time.monotonic() - heard_s > _PATIENCE_S:
                # Says what became of it: a dead letter with its reason, or where it is stuck.
                self._client.wait(next(iter(expected)), 0.1)
                raise NoAnswerYet(f"{total - decided} decisions are missing after {_PATIENCE_S:g} s of silence")
        return decided

    def _jobs(self, kind: Kind, pictures: Sequence[Picture], lane: Lane, sequence: int = 0) -> list[EmbedJob]:
        intake, size = self._client.intake, self._client.settings.jobs.images_per_job
        with ThreadPoolExecutor(_UPLOAD_THREADS) as threads:
            stored = list(threads.map(lambda picture: self._stored(kind, picture), pictures))
        images = [image for image in stored if image is not None]
        return [
            intake.job(
                kind,
                images[start : start + size],
                gallery=_GALLERY,
                lane=lane,
                content=self._content,
                min_sequence=sequence,
            )
            for start in range(0, len(images), size)
        ]

    def _stored(self, kind: Kind, picture: Picture) -> ImageRef | None:
        """Put one picture; None when it cannot be, which the summary then says."""
        subject = None if kind is Kind.IDENTIFY else picture.subject
        try:
            return self._client.intake.put(picture.path.read_bytes(), subject=subject, label=picture.label)
        except OSError as fault:
            self._failed[picture.label] = f"unreadable: {fault.strerror or fault}"
        except Rejected as refusal:
            self._failed[picture.label] = refusal.reason
        return None


def _share(part: int, whole: int) -> str:
    return f" ({part / whole:.1%})" if whole else ""

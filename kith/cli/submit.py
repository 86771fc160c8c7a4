"""kith submit: a folder of images, resumable."""

import sys
import time
from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from kith.answers import Answers
from kith.bulk import Bulk, Step
from kith.cli.exits import Exit
from kith.cli.terminal import Aligned, Gallery, Json, answer, answer_json, client_for, content_of, folder, say
from kith.client import Client
from kith.errors import NoAnswerYet
from kith.jobs import Kind, Lane, Outcome

app = typer.Typer()

#: Outcomes that mean: this image was not done as asked. A stranger or an empty scene is an answer to identify.
_UNDONE = {
    Kind.IDENTIFY: {Outcome.REJECTED, Outcome.EXPIRED},
    Kind.ENROL: {Outcome.REJECTED, Outcome.EXPIRED, Outcome.NO_FACE, Outcome.LOW_QUALITY},
}
#: Lines about single images in the summary for a person; --json has them all.
_MOST_LINES = 20
_LOOK_EVERY_S = 0.1
#: Seconds between plain progress lines, where no bar can be drawn.
_LINE_EVERY_S = 2.0


@app.command(rich_help_panel="Faces")
def submit(
    context: typer.Context,
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", parser=folder, help="The folder with the images.", show_default=False)
    ],
    gallery: Gallery = None,
    enrol: Annotated[bool, typer.Option("--enrol", help="Remember people: DIR holds SUBJECT/IMAGE.jpg.")] = False,
    lane: Annotated[Lane, typer.Option("--lane", help="How urgent it is.")] = Lane.BULK,
    aligned: Aligned = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the decisions and sum them up.")] = True,
    again: Annotated[bool, typer.Option("--again", help="Submit everything anew, also what was submitted.")] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Give up when so many seconds bring no decision.")] = 120.0,
    as_json: Json = False,
) -> None:
    """Hand in all images of a folder; the same command again goes on where it was interrupted.

    \b
    kith submit photos/ --gallery staff          who is on each of them?
    kith submit staff/ --gallery staff --enrol   remember SUBJECT from staff/SUBJECT/*.jpg
    kith submit photos/ --no-wait                hand in and leave; kith results has the decisions

    Nothing is lost or submitted twice, also when this command is killed. A changed file counts as new. Status 1 when
    an image could not be handed in, was rejected, or (--enrol) not enrolled; those are listed at the end.
    """
    kind = Kind.ENROL if enrol else Kind.IDENTIFY
    with (
        client_for(context) as client,
        Bulk(
            client.intake,
            client.settings,
            directory,
            gallery=gallery,
            kind=kind,
            lane=lane,
            content=content_of(aligned),
            again=again,
            notify=lambda line: say(f"kith: {line}"),
        ) as bulk,
    ):
        if kind is Kind.IDENTIFY:
            client.galleries.info(gallery or client.settings.gallery.default)
        summary = _Run(client, bulk, kind, wait, timeout, as_json).run()
    if summary.undone:
        raise typer.Exit(Exit.FAILED)


class _Run:
    """One run: hands in, collects decisions meanwhile, sums up."""

    def __init__(self, client: Client, bulk: Bulk, kind: Kind, wait: bool, timeout_s: float, as_json: bool) -> None:
        self._bulk = bulk
        self._kind = kind
        self._wait = wait
        self._timeout_s = timeout_s
        self._as_json = as_json
        # The jobs of earlier runs too: a summary is of the folder, not of the last five minutes.
        self._answers = Answers(client.ledger, client.results, bulk.record.accepted_in_order())
        self._outcomes: Counter[str] = Counter()
        self._refused: dict[str, str] = {}
        self._step = Step(total=0)
        self._began_s = time.monotonic()

    def run(self) -> "_Run":
        bar: _Bar | _Lines = _Bar() if sys.stderr.isatty() and not self._as_json else _Lines()
        with bar:
            for step in self._bulk.run():
                self._step = step
                self._answers.expect(step.job_ids)
                if self._wait:
                    self._collect()
                bar.show(step, self._decided)
            if self._wait:
                self._wait_for_the_rest(bar)
        self._report()
        return self

    @property
    def undone(self) -> bool:
        """Whether an image was not done as asked."""
        return bool(self._bulk.failures or self._refused or self._answers.dead)

    @property
    def _decided(self) -> int:
        return self._outcomes.total()

    def _collect(self) -> None:
        for decision in self._answers.look():
            self._outcomes[decision.outcome] += 1
            if decision.outcome in _UNDONE[self._kind]:
                self._refused[decision.label or decision.image] = decision.reason or decision.outcome

    def _wait_for_the_rest(self, bar: "_Bar | _Lines") -> None:
        heard_s = time.monotonic()
        while self._answers.waiting:
            before = self._answers.waiting
            self._collect()
            bar.show(self._step, self._decided)
            if self._answers.waiting < before:
                heard_s = time.monotonic()
                continue
            if time.monotonic() - heard_s > self._timeout_s:
                raise NoAnswerYet(
                    f"all images are handed in, but no decision came for {self._timeout_s:g} s and "
                    f"{self._answers.waiting} jobs are open (see kith status); the same command goes on waiting"
                )
            time.sleep(_LOOK_EVERY_S)

    def _report(self) -> None:
        took_s = time.monotonic() - self._began_s
        failed = dict(sorted({**self._bulk.failures, **self._refused}.items()))
        if self._as_json:
            answer_json(self._plain(took_s))
            return
        step = self._step
        answer(
            f"{step.handed_in} images handed in"
            + (f", {step.before} before" if step.before else "")
            + (f", {len(self._bulk.failures)} could not be" if self._bulk.failures else "")
        )
        if self._wait:
            counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in self._outcomes.most_common())
            answer(
                f"{self._decided} decided: {counts or 'none'} ({took_s:.1f} s, {self._decided / took_s:.0f} images/s)"
            )
        if self._answers.forgotten:
            answer(f"{len(self._answers.forgotten)} jobs were decided too long ago to be counted here (kith results)")
        for label, reason in list(failed.items())[:_MOST_LINES]:
            answer(f"  {label}: {reason}")
        if len(failed) > _MOST_LINES:
            answer(f"  … and {len(failed) - _MOST_LINES} more (--json lists all)")
        for job_id, reason in self._answers.dead.items():
            answer(f"  job {job_id} is a dead letter: {reason}")

    def _plain(self, took_s: float) -> dict[str, Any]:
        step = self._step
        return {
            "images": step.total,
            "handed_in": step.handed_in,
            "handed_in_before": step.before,
            "decided": self._decided if self._wait else None,
            "outcomes": dict(self._outcomes),
            "not_handed_in": dict(sorted(self._bulk.failures.items())),
            "not_done": dict(sorted(self._refused.items())),
            "dead": self._answers.dead,
            "jobs_forgotten": len(self._answers.forgotten),
            "jobs": len(self._bulk.record.jobs),
            "record": str(self._bulk.record.path),
            "seconds": round(took_s, 3),
        }


class _Bar(AbstractContextManager["_Bar"]):
    """Two bars on a terminal."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description:>9}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._handed_in = self._progress.add_task("handed in", total=None)
        self._decided = self._progress.add_task("decided", total=None)

    def __enter__(self) -> "_Bar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, step: Step, decided: int) -> None:
        handed_in = step.before + step.handed_in
        self._progress.update(self._handed_in, total=step.total - step.failed, completed=handed_in)
        self._progress.update(self._decided, total=step.total - step.failed, completed=decided)


class _Lines(nullcontext[None]):
    """A line every few seconds, on standard error, where there is no terminal."""

    def __init__(self) -> None:
        super().__init__()
        self._next_s = time.monotonic() + _LINE_EVERY_S

    def show(self, step: Step, decided: int) -> None:
        if time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + _LINE_EVERY_S
            say(f"{step.before + step.handed_in} of {step.total} images handed in, {decided} decided")

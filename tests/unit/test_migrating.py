"""Sending a gallery's pictures to another model, whatever else the system has to do."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from kith import cli, migrating
from kith.backends.gallery_memory import MemoryGalleryStore
from kith.backends.migration_memory import MemoryMigrationStore
from kith.errors import NoAnswerYet, Overloaded
from kith.gallery import Enrolment
from kith.jobs import EmbedJob, Kind, Lane
from kith.migrating import Migrator
from tests.plain_gallery import DIMENSION, unit


class House:
    """A gallery with five pictures that moves to model n, a worker that embeds at once, and an intake that refuses the
    first jobs because it is full."""

    def __init__(self, refuses: int) -> None:
        self.refuses, self.handed_in, self.known = refuses, 0, dict[str, str]()
        self.galleries = MemoryGalleryStore()
        self.galleries.create("door", model_id="m", dimension=DIMENSION)
        faces = [Enrolment(f"n{seed}", f"t{seed}", unit(seed), f"ab/{seed}", 1.0, "m") for seed in range(5)]
        self.galleries.enrol("door", faces)
        self.migrations = MemoryMigrationStore(self.galleries)
        self.migrations.begin("door", model_id="n", dimension=3, pack="new")

    def job(self, kind: Kind, images: Any, **parts: Any) -> EmbedJob:
        assert (kind, parts["lane"]) == (Kind.REEMBED, Lane.BULK)
        self.handed_in += 1
        return EmbedJob(job_id=f"j{self.handed_in}", kind=kind, images=tuple(images), created_ms=1, **parts)

    def submit(self, job: EmbedJob) -> None:
        if self.handed_in <= self.refuses:
            raise Overloaded("9 jobs are open (jobs.max_open)")
        self.migrations.put("door", "n", {str(each.template): unit(1, 3) for each in job.images}, {})
        self.known[job.job_id] = "done"

    def state(self, job_id: str) -> Any:
        return SimpleNamespace(state=self.known.get(job_id, "open"), reason=None)

    def workers(self) -> list[Any]:
        return []


@pytest.fixture
def migrator(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Migrator]:
    monkeypatch.setattr(migrating, "_LOOK_EVERY_S", 0)

    def made(house: Any, patience_s: float) -> Migrator:
        return Migrator(house.galleries, house.migrations, house, house, "door", patience_s=patience_s)

    return made


def test_while_others_have_as_many_jobs_open_as_may_be_it_waits_for_room(migrator: Callable[..., Migrator]) -> None:
    house = House(refuses=3)
    done = migrator(house, patience_s=60).embed("n")
    assert (done.embedded, done.missing, house.handed_in) == (5, 0, 4)


def test_where_no_room_comes_it_says_why(migrator: Callable[..., Migrator]) -> None:
    with pytest.raises(NoAnswerYet, match=r"5 of 5 are missing.*9 jobs are open \(jobs\.max_open\)"):
        migrator(House(refuses=10**9), patience_s=0.05).embed("n")


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["--switch", "--yes"], "--yes"),
        (["--status", "--retry-failed"], "--retry-failed"),
        (["--switch", "--shadow", "5"], "--shadow"),
        (["--to", "new", "--leave-behind"], "--leave-behind"),
        (["--abandon", "--leave-behind"], "--leave-behind"),
    ],
)
def test_an_option_that_means_nothing_with_the_verb_is_refused(words: list[str], option: str) -> None:
    done = CliRunner().invoke(cli.app, ["migrate", "door", *words])
    assert done.exit_code == 2
    assert f"{option} means nothing here" in done.stderr

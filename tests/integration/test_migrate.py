"""A gallery moves to another model under load: nobody waits, nothing is wrong, and whatever is killed, it goes on.

The two models are simulated, of different dimensions: a vector of the one that met the other would not even fit.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from kith.checkpoints import Pack, load_pack, simulated_pack
from kith.client import Client
from kith.errors import CannotMigrate, JobDead
from kith.jobs import Content, ImageRef, Kind, Outcome
from kith.migrating import Migrator
from kith.migration import Migration
from kith.settings import Settings, as_environment
from kith.stack import Stack
from tests.faults.cast import GALLERY, Cast, aligned_jpegs, enrol_half
from tests.faults.load import PATIENCE_S, Load, impatient
from tests.faults.victims import Killer

KITH = Path(sys.executable).with_name("kith")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    other = simulated_pack(tmp_path / "other", dimension=96, seconds_per_batch=0.05)
    settings = impatient(tmp_path)
    return settings.model_copy(update={"model": settings.model.model_copy(update={"also": (str(other.path),)})})


@contextlib.contextmanager
def house(settings: Settings, *, embed: int = 1) -> Iterator[tuple[Stack, Client, Cast]]:
    with Stack(settings, embed=embed) as stack, Client.open(settings) as client:
        yield stack, client, enrol_half(client)


def other(settings: Settings) -> Pack:
    return load_pack(Path(settings.model.also[0]))


def migrator(client: Client) -> Migrator:
    return Migrator(client.galleries, client.migrations, client.intake, client.ledger, GALLERY, patience_s=PATIENCE_S)


def begin(client: Client, pack: Pack) -> None:
    client.migrations.begin(GALLERY, model_id=pack.model_id, dimension=pack.dimension, pack=str(pack.path))


def switch(client: Client, pack: Pack) -> int:
    moving = migrator(client)
    return moving.switch(pack.model_id, moving.settings_for(pack.default_cutoff))


def model_of(client: Client, cast: Cast) -> str | None:
    [decision] = client.identify([cast.pictures[0]], gallery=GALLERY, content=Content.ALIGNED, timeout_s=PATIENCE_S)
    assert (decision.outcome, decision.subject) == (Outcome.MATCH, "Person 0")
    return decision.model_id


def test_a_gallery_moves_and_goes_back_under_load_without_one_wrong_answer(settings: Settings) -> None:
    pack = other(settings)
    with house(settings, embed=2) as (_, client, cast):
        before, subjects = client.galleries.info(GALLERY), client.galleries.subjects(GALLERY)
        with Load(client, cast, per_second=10) as load:
            load.wait_for_more(5)
            begin(client, pack)
            told: list[Migration] = []
            migrator(client).embed(pack.model_id, told.append)
            assert client.galleries.info(GALLERY) == before
            load.wait_for_more(5)
            changed = switch(client, pack)
            load.wait_for_more(10)
            assert client.galleries.info(GALLERY).model_id == pack.model_id
            migrator(client).roll_back()
            load.wait_for_more(10)
        load.assert_each_image_was_decided_once_and_rightly()
        decisions = load.settle()
        assert model_of(client, cast) == before.model_id
        assert client.galleries.subjects(GALLERY) == subjects
    assert told[-1].missing == 0
    sides: dict[str | None, list[int | None]] = {each.model_id: [] for each in decisions}
    for each in decisions:
        sides[each.model_id].append(each.gallery_version)
    assert set(sides) == {before.model_id, pack.model_id}
    # Between the two changes of model, and nowhere else.
    assert set(sides[pack.model_id]) == {changed}
    assert set(sides[before.model_id]) == {changed - 1, changed + 1}


def test_enrolments_go_on_meanwhile_and_after_and_belong_to_whatever_model_is_in_use(settings: Settings) -> None:
    pack = other(settings)
    fresh = aligned_jpegs(40)[30:]
    with house(settings) as (_, client, cast):
        begin(client, pack)
        client.enrol("Early", fresh[:2], gallery=GALLERY, content=Content.ALIGNED)
        migrator(client).embed(pack.model_id)
        client.enrol("Late", fresh[2:4], gallery=GALLERY, content=Content.ALIGNED)
        with pytest.raises(CannotMigrate, match="2 templates"):
            switch(client, pack)
        migrator(client).embed(pack.model_id)
        switch(client, pack)
        # As when the job is delivered once more: the worker's id of the template is not of a model.
        templates = client.galleries.info(GALLERY).templates
        [again] = client.enrol("Late", fresh[2:3], gallery=GALLERY, content=Content.ALIGNED)
        assert (again.outcome, again.model_id) == (Outcome.ENROLLED, pack.model_id)
        assert client.galleries.info(GALLERY).templates == templates
        [first, _] = client.enrol("New", fresh[4:6], gallery=GALLERY, content=Content.ALIGNED)
        assert (first.outcome, first.model_id) == (Outcome.ENROLLED, pack.model_id)
        migrator(client).roll_back()
        for name, picture in (("Early", fresh[0]), ("Late", fresh[3]), ("New", fresh[5])):
            [decision] = client.identify([picture], gallery=GALLERY, content=Content.ALIGNED)
            assert (decision.subject, decision.model_id) == (name, client.ledger.workers()[0].model_id)
        assert model_of(client, cast) == client.galleries.info(GALLERY).model_id


def test_pictures_that_are_gone_are_listed_and_their_templates_go_on_demand(settings: Settings) -> None:
    pack = other(settings)
    with house(settings) as (_, client, cast):
        known = client.galleries.show(GALLERY, "Person 2").templates[0]
        client.store.delete(known.image)
        begin(client, pack)
        migrator(client).embed(pack.model_id)
        [(template_id, reason)] = client.migrations.unable(GALLERY).items()
        assert (template_id, reason.partition(":")[0]) == (known.template_id, "missing_image")
        with pytest.raises(
            CannotMigrate, match=r"1 templates of 1 people .* no template left: Person 2.* --leave-behind"
        ):
            switch(client, pack)
        moving = migrator(client)
        moving.switch(pack.model_id, moving.settings_for(pack.default_cutoff), leave_behind=True)
        assert client.galleries.show(GALLERY, "Person 2").templates == ()
        assert model_of(client, cast) == pack.model_id


def test_a_job_that_asks_for_the_former_model_is_refused_after_the_switch(settings: Settings) -> None:
    pack = other(settings)
    with house(settings) as (_, client, cast):
        former = client.galleries.info(GALLERY).model_id
        begin(client, pack)
        migrator(client).embed(pack.model_id)
        switch(client, pack)
        for kind, image in (
            (Kind.IDENTIFY, cast.pictures[0]),
            (Kind.ENROL, ImageRef(cast.pictures[1].key, subject="Somebody")),
        ):
            job = client.intake.job(kind, [image], gallery=GALLERY, content=Content.ALIGNED, model_id=former)
            with pytest.raises(JobDead, match="model_mismatch"):
                client.ask(job, PATIENCE_S)


def test_a_worker_without_the_model_puts_jobs_off_until_it_has_it(settings: Settings) -> None:
    pack = other(settings)
    with house(settings) as (_, client, cast):
        begin(client, pack)
        migrator(client).embed(pack.model_id)
        switch(client, pack)
    poor = settings.model_copy(update={"model": settings.model.model_copy(update={"also": ()})})
    with Stack(poor) as stack, Client.open(poor) as client:
        job = client.intake.job(Kind.IDENTIFY, cast.pictures[:1], gallery=GALLERY, content=Content.ALIGNED)
        client.submit(job)
        until(lambda: "model_away" in (client.ledger.state(job.job_id).reason or ""))
        assert f"needs model {pack.model_id}" in stack.log_of("embed-1").read_text()
    with Stack(settings), Client.open(settings) as client:
        [decision] = client.wait(job.job_id, PATIENCE_S)
        assert (decision.subject, decision.model_id) == ("Person 0", pack.model_id)


def test_workers_killed_and_valkey_restarted_cost_the_move_no_vector(settings: Settings) -> None:
    pack = other(settings)
    with house(settings, embed=2) as (stack, client, cast):
        assert stack.valkey is not None
        enrol_more(client)
        begin(client, pack)
        killer, moving = Killer(stack, client, settings), command(settings, "--to", str(pack.path))
        killer.kill_one_in_the_middle_of_a_job()
        # No goodbye to the server either; the command gives up or goes on, and so does the same command again.
        os.kill(stack.valkey.pid or 0, signal.SIGKILL)
        stack.valkey.stop()
        stack.valkey.start()
        moving.wait(PATIENCE_S)
        until(lambda: command(settings, "--to", str(pack.path)).wait(PATIENCE_S) == 0)
        state = client.migrations.state(GALLERY)
        assert state is not None
        assert (state.missing, state.unable) == (0, 0)
        assert command(settings, "--switch").wait(PATIENCE_S) == 0
        assert model_of(client, cast) == pack.model_id


def test_the_command_killed_at_any_step_is_finished_by_the_same_command(settings: Settings) -> None:
    pack = other(settings)
    with house(settings) as (_, client, cast):
        enrol_more(client)
        former = client.galleries.info(GALLERY).model_id
        for embedded in (0, 10, 40):
            moving = command(settings, "--to", str(pack.path))
            until(partial(has_moved, client, embedded))
            moving.kill()
            moving.wait(PATIENCE_S)
            assert model_of(client, cast) == former
        assert command(settings, "--to", str(pack.path), "--yes").wait(PATIENCE_S) == 0
        assert model_of(client, cast) == pack.model_id
        assert command(settings, "--rollback").wait(PATIENCE_S) == 0
        assert model_of(client, cast) == former
        assert command(settings, "--abandon", "--yes").wait(PATIENCE_S) == 0
        assert client.migrations.state(GALLERY) is None
        assert client.ledger.dead_letters() == []


def enrol_more(client: Client) -> None:
    for number, picture in enumerate(aligned_jpegs(100)[30:]):
        client.submit(
            client.intake.job(
                Kind.ENROL,
                [client.intake.put(picture, subject=f"More {number % 20}")],
                gallery=GALLERY,
                content=Content.ALIGNED,
            )
        )
    until(lambda: client.galleries.info(GALLERY).templates == 12 + 70)


def has_moved(client: Client, least: int) -> bool:
    state = client.migrations.state(GALLERY)
    return state is not None and state.embedded >= least


def command(settings: Settings, *arguments: str) -> subprocess.Popen[bytes]:
    run = [str(KITH), "--home", str(settings.home), "migrate", GALLERY, "--timeout", "60"]
    return subprocess.Popen([*run, *arguments], env=os.environ | as_environment(settings))


def until(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)

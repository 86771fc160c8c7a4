"""Templates that cannot move to another model: whose they are is said before a gallery is switched, and what to do."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from kith import cli
from kith.backends.gallery_memory import MemoryGalleryStore
from kith.backends.migration_memory import MemoryMigrationStore
from kith.checkpoints import Pack, simulated_pack
from kith.cli import migrate
from kith.cli.migrate_shadow import Shadow
from kith.errors import CannotMigrate
from kith.gallery import Enrolment
from kith.gallery_settings import GallerySettings
from kith.ledger import WorkerBeat
from kith.left_behind import NO_PICTURE, LeftBehind, left_behind, told
from kith.migrating import Migrator
from kith.settings import Settings
from kith.shadow import Answer, Differs, Rates
from kith.table_import import import_table
from kith.tables import open_table
from tests.plain_gallery import DIMENSION, unit

Run = Callable[..., Result]


class Desk:
    """Stands for intake and ledger: jobs are not asked for here, and one worker holds every model."""

    def __init__(self, model_id: str) -> None:
        self.beats = [WorkerBeat("embed@here", "embed", "here", 1, 1, 1, model_id=model_id)]

    def workers(self) -> list[WorkerBeat]:
        return self.beats

    def job(self, *_: object, **__: object) -> None:
        pytest.fail("a picture was asked for")


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    return simulated_pack(tmp_path / "new", dimension=8)


@pytest.fixture
def store(tmp_path: Path) -> MemoryGalleryStore:
    """Ann with a picture and one vector from a table, Bob and Cid from the table alone."""
    made = MemoryGalleryStore()
    made.create("door", model_id="m", dimension=DIMENSION)
    made.enrol("door", [Enrolment("Ann", "a1", unit(1), "ab/1", 1.0, "m")])
    file = tmp_path / "people.csv"
    rows = [("Ann", 2), ("Bob", 3), ("Bob", 4), ("Cid", 5)]
    header = ",".join(["subject", *(f"v{n}" for n in range(DIMENSION))])
    lines = [f"{who},{','.join(map(str, unit(seed).tolist()))}" for who, seed in rows]
    file.write_text("\n".join([header, *lines]), encoding="utf-8")
    with open_table(file, None, normalise=True) as table:
        import_table(made, "door", table)
    return made


@pytest.fixture
def run(store: MemoryGalleryStore, pack: Pack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    migrations, desk = MemoryMigrationStore(store), Desk(pack.model_id)
    client = SimpleNamespace(
        galleries=store, migrations=migrations, intake=desk, ledger=desk, settings=Settings(home=tmp_path)
    )
    monkeypatch.setattr(migrate, "client_for", lambda _: nullcontext(client))
    migrations.begin("door", model_id=pack.model_id, dimension=8, pack=str(pack.path))
    migrations.put("door", pack.model_id, {"a1": unit(1, 8)}, {})

    def invoke(*words: str) -> Result:
        return CliRunner().invoke(cli.app, ["migrate", "door", *words], env={"COLUMNS": "200"})

    return invoke


def test_an_imported_row_without_a_picture_claims_none_and_is_itself_when_imported_again(
    store: MemoryGalleryStore, tmp_path: Path
) -> None:
    ids = [each.template_id for each in store.show("door", "Bob").templates]
    assert {each.image for each in store.show("door", "Bob").templates} == {""}
    assert len(set(ids)) == 2
    (tmp_path / ".people.csv.door.import").unlink()
    with open_table(tmp_path / "people.csv", None, normalise=True) as table:
        import_table(store, "door", table)
    assert [each.template_id for each in store.show("door", "Bob").templates] == ids


def test_what_was_embedded_is_not_erased_unasked(
    run: Run, store: MemoryGalleryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    unasked = run("--abandon")
    assert (unasked.exit_code, "add --yes" in unasked.stderr) == (2, True)
    monkeypatch.setattr(migrate, "sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True)))
    client = migrate.client_for(None).__enter__()  # type: ignore[arg-type]
    monkeypatch.setattr("typer.confirm", lambda asked, **_: asked.startswith("Erase the 1 vectors of model") and None)
    refused = run("--abandon")
    assert (refused.exit_code, "nothing was changed" in refused.stderr) == (1, True)
    assert client.migrations.state("door") is not None
    assert run("--abandon", "--yes").exit_code == 0
    assert client.migrations.state("door") is None
    assert isinstance(run("--abandon").exception, CannotMigrate)


def test_people_are_counted_with_what_they_lose_and_keep(store: MemoryGalleryStore) -> None:
    catalogue = store.catalogue("door")
    every = [each for subject in catalogue.subjects.values() for each in subject.templates]
    unable = {each.template_id: NO_PICTURE for each in every if not each.image}
    unable |= {"a1": "no_face: nobody on it", "gone": "no_face: x"}
    found = left_behind(catalogue, unable)
    ids = {each.name: each.subject_id for each in store.subjects("door")}
    assert found == [
        LeftBehind(ids["Ann"], "Ann", 2, 0, {"no_face": 1, "no_picture": 1}),
        LeftBehind(ids["Bob"], "Bob", 2, 0, {"no_picture": 2}),
        LeftBehind(ids["Cid"], "Cid", 1, 0, {"no_picture": 1}),
    ]
    del unable["a1"]
    assert left_behind(catalogue, unable)[0] == LeftBehind(ids["Ann"], "Ann", 1, 1, {"no_picture": 1})
    assert left_behind(catalogue, {}) == []


def test_the_sentence_has_numbers_reasons_names_and_the_remedy() -> None:
    many = [LeftBehind(str(n), f"p{n}", 2, n % 2, {"no_picture": 1, "no_face": 1}) for n in range(7)]
    assert told("door", many) == (
        "14 templates of 7 people in gallery door cannot move to the other model (7 no_face, 7 no_picture): p0, p1, "
        "p2, p3, p4 and 2 more; 4 of these people would have no template left: p0, p2, p4, p6. Enrol them from "
        "pictures (kith enrol NAME FILE… -g door), or give --leave-behind, which removes these templates for good"
    )


def test_whoever_cannot_move_is_named_before_anything_is_embedded_and_when_it_is_done(run: Run, pack: Pack) -> None:
    done = run("--to", str(pack.path))
    assert done.exit_code == 1
    said = "4 templates of 3 people in gallery door cannot move to the other model (4 no_picture): Ann, Bob, Cid; 2 of"
    assert said in done.stderr
    assert said in done.stdout
    assert [line.split() for line in done.stdout.splitlines()[-3:]] == [
        ["Ann", "1", "1", "no_picture", "1"],
        ["Bob", "2", "0", "no_picture", "2"],
        ["Cid", "1", "0", "no_picture", "1"],
    ]
    shown = json.loads(run("--status", "--json").stdout)
    assert set(shown["failed"].values()) == {NO_PICTURE}
    assert [(each["subject"], each["lost"], each["kept"]) for each in shown["left_behind"]] == [
        *(("Ann", 1, 1), ("Bob", 2, 0), ("Cid", 1, 0)),
    ]


def test_the_switch_is_refused_with_their_names_until_they_may_be_left_behind(
    run: Run, pack: Pack, store: MemoryGalleryStore
) -> None:
    run("--to", str(pack.path))
    refused = run("--switch")
    assert isinstance(refused.exception, CannotMigrate)
    assert "would have no template left: Bob, Cid." in str(refused.exception)
    assert "--leave-behind" in str(refused.exception)
    assert store.info("door").model_id == "m"
    done = run("--switch", "--leave-behind")
    assert done.exit_code == 0, done.output
    assert store.info("door").model_id == pack.model_id
    assert {each.name: each.templates for each in store.subjects("door")} == {"Ann": 1, "Bob": 0, "Cid": 0}


def test_a_preview_of_the_switch_says_what_would_change_and_switches_nothing(
    run: Run, pack: Pack, store: MemoryGalleryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str, int, float | None]] = []

    def compare(
        _: object, gallery: str, packs: tuple[Pack, Pack], settings: GallerySettings, count: int, *__: object
    ) -> Shadow:
        asked.append((gallery, packs[1].model_id, count, settings.cutoff))
        rates = Rates(1.0, 0.0, 5, 5)
        differs = Differs("gate.jpg", Answer("Ann", 0.6), Answer(None, 0.2))
        return Shadow(2, 2, (differs,), 0.4, 0.5, rates, rates)

    monkeypatch.setattr(migrate, "shadow_of", compare)
    monkeypatch.setattr(migrate, "_pack_of_model", lambda *_: pack)
    run("--status")
    done = run("--switch", "--preview")
    for said in ("gate.jpg: Ann (0.60) now, nobody we know (0.20) then", "cutoff 0.4000 now, 0.5000 then",
                 "nothing has been switched; kith migrate door --switch does it"):  # fmt: skip
        assert said in done.stdout, done.output
    assert run("--switch", "--preview", "--shadow", "7", "--json").exit_code == 1
    assert asked == [("door", pack.model_id, 200, None), ("door", pack.model_id, 7, None)]
    assert store.info("door").model_id == "m"
    assert run("--status", "--preview").exit_code == 2
    refused = run("--rollback", "--preview")
    assert isinstance(refused.exception, CannotMigrate)


def test_going_back_is_refused_for_whoever_came_since_without_a_picture(store: MemoryGalleryStore) -> None:
    migrations, desk = MemoryMigrationStore(store), Desk("n")
    parts: Any = (store, migrations, desk, desk, "door")
    migrator = Migrator(*parts)
    migrations.begin("door", model_id="n", dimension=8, pack="new")
    missing = migrations.missing("door")
    migrations.put("door", "n", {each.template_id: unit(each.slot, 8) for each in missing}, {})
    migrator.switch("n", GallerySettings(cutoff=0.5))
    store.enrol("door", [Enrolment("Dan", "d1", unit(9, 8), "", 1.0, "n")])
    with pytest.raises(CannotMigrate, match=r"1 templates of 1 people .*Dan"):
        migrator.roll_back()
    migrator.roll_back(leave_behind=True)
    assert store.info("door").model_id == "m"
    assert store.show("door", "Dan").templates == ()


def test_whoever_was_forgotten_meanwhile_does_not_hold_a_switch_up(store: MemoryGalleryStore, run: Run) -> None:
    run("--status")
    for who in ("Bob", "Cid"):
        store.forget("door", who)
    store.remove("door", "Ann", [each.template_id for each in store.show("door", "Ann").templates if not each.image])
    assert run("--switch").exit_code == 0

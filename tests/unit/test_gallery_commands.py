"""kith gallery: what its verbs do, ask and refuse, on a gallery in memory."""

import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from kith import cli
from kith.backends.audit_memory import MemoryAudit
from kith.backends.gallery_memory import MemoryGalleryStore
from kith.backends.migration_memory import MemoryMigrationStore
from kith.cli import forget, gallery, gallery_corrections, gallery_files, gallery_journal, subjects
from kith.errors import CannotUndo, KithError, OutOfReach, Rejected, UnknownSubject
from kith.gallery import Enrolment, template_id
from kith.gallery_settings import GallerySettings, Scoring
from kith.jobs import Decision, Face, Kind, Lane, Outcome, now_ms
from kith.results import Entry
from kith.settings import Settings
from tests.plain_gallery import DIMENSION, key, unit

Run = Callable[..., Result]


def face(subject: str, seed: int) -> Enrolment:
    image = f"ab/{seed}"
    return Enrolment(subject, template_id("door", subject, image), unit(seed), image, 0.25, "m")


class Results:
    """Three decisions of the last hour about `door`, one by a model it has no more, one about another gallery."""

    def __init__(self) -> None:
        self.decisions = [
            decision(0, "Ann", 0.7, "Bob", 0.6),
            decision(1, "Bob", 0.8, "Ann", 0.1),
            decision(2, "Ann", 0.2, "Bob", 0.1),
            replace(decision(3, "Ann", 0.7, "Bob", 0.6), model_id="former"),
            replace(decision(4, "Ann", 0.7, "Bob", 0.6), gallery="gate"),
        ]

    def after(self, entry_id: str, *, limit: int) -> list[Entry]:
        first_ms = now_ms() - 3_600_000
        if entry_id.endswith("-9") or int(entry_id.partition("-")[0]) > first_ms:
            return []
        return [Entry(f"{first_ms}-9", each) for each in self.decisions]


def decision(number: int, nearest: str, score: float, runner_up: str, second: float) -> Decision:
    face = Face(Outcome.UNKNOWN, score=score, nearest=nearest, runner_up=runner_up, runner_up_score=second)
    place = (f"job:{number}", "job", number, Kind.IDENTIFY, "door", Lane.BULK, f"ab/{number}", face.outcome, 1, 2)
    return Decision(*place, label=f"{number}.jpg", face=face, cutoff=0.5, gallery_version=2, model_id="m")


@pytest.fixture
def store() -> MemoryGalleryStore:
    made = MemoryGalleryStore()
    made.create("door", model_id="m", dimension=DIMENSION)
    made.enrol("door", [face("Ann", 1), face("Ann", 2), face("Bob", 3)])
    return made


@pytest.fixture
def run(store: MemoryGalleryStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    settings, audit = Settings(home=tmp_path, gallery={"default": "door"}), MemoryAudit()
    client = SimpleNamespace(
        galleries=store,
        settings=settings,
        store=None,
        audit=audit,
        by="cli:ada@desk",
        results=Results(),
        gone=SimpleNamespace(all=dict),
    )
    for module in (forget, gallery, gallery_corrections, gallery_files, gallery_journal, subjects):
        monkeypatch.setattr(module, "client_for", lambda _: nullcontext(client))

    def invoke(*words: str, ok: bool = True) -> Result:
        result = CliRunner().invoke(cli.app, words, env={"COLUMNS": "200"})
        if ok:
            assert result.exit_code == 0, (result.output, result.exception)
        return result

    return invoke


def switch(store: MemoryGalleryStore) -> None:
    """The gallery `door` to model n, with a cutoff of its own."""
    migrations, before = MemoryMigrationStore(store), store.info("door").settings
    migrations.begin("door", model_id="n", dimension=3, pack="new")
    vectors = {each.template_id: unit(each.slot, 3) for each in migrations.missing("door")}
    migrations.put("door", "n", vectors, {})
    migrations.switch("door", "n", before=before, after=replace(before, cutoff=0.6))


def wrong(result: Result, error: type[KithError]) -> str:
    assert isinstance(result.exception, error), (result.output, result.exception)
    return str(result.exception)


def lines(result: Result) -> list[dict[str, object]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_gallery_is_made_set_shown_and_listed(run: Run, store: MemoryGalleryStore) -> None:
    run("gallery", "create", "gate", "--model", "m", "--dimension", "4", "--scoring", "mean")
    run("gallery", "set", "gate", "--margin", "0.1", "--keep-probes", "0.5")
    settings = store.info("gate").settings
    assert (settings.margin, settings.scoring, settings.keep_probes_s) == (0.1, Scoring.MEAN, 43_200)
    run("gallery", "set", "gate", "--keep-probes", "0")
    assert store.info("gate").settings.keep_probes_s is None
    assert run("gallery", "set", "gate", ok=False).exit_code == 2
    shown = run("gallery", "show", "gate").stdout
    assert "0 subjects with 0 templates, at change 2" in shown
    assert "margin 0.1" in shown
    assert [each["name"] for each in lines(run("gallery", "list", "--json"))] == ["door", "gate"]
    assert lines(run("gallery", "show", "door", "--json"))[0]["templates"] == 3


def test_what_others_set_and_note_while_a_command_runs_stays(
    run: Run, store: MemoryGalleryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    info, show, waiting = store.info, store.show, ["cutoff", "note"]

    def slow_info(name: str) -> object:
        found = info(name)
        if "cutoff" in waiting:
            waiting.remove("cutoff")
            store.configure(name, replace(found.settings, cutoff=0.4, fpir=0.01))
        return found

    def slow_show(name: str, subject: str) -> object:
        found = show(name, subject)
        if "note" in waiting:
            waiting.remove("note")
            store.describe(name, subject, external_id="a-1", metadata={"room": "7"})
        return found

    monkeypatch.setattr(store, "info", slow_info)
    monkeypatch.setattr(store, "show", slow_show)
    said = run("gallery", "set", "door", "--margin", "0.1").stdout
    assert "cutoff 0.4000; margin 0.1" in said
    assert info("door").settings == GallerySettings(cutoff=0.4, fpir=0.01, margin=0.1)
    run("gallery", "describe", "door", "Ann", "-m", "site=x")
    assert (show("door", "Ann").external_id, show("door", "Ann").metadata) == ("a-1", {"room": "7", "site": "x"})
    assert waiting == []


def test_templates_are_moved_split_off_and_removed(run: Run, store: MemoryGalleryStore) -> None:
    one, two = key("Ann", 1), key("Ann", 2)
    taken = run("gallery", "split", "door", "Ann", "-t", two, "--to", "Bob", ok=False)
    assert taken.exit_code == 2
    wrong(run("gallery", "move", "door", "Ann", "-t", two, "--to", "Cid", ok=False), UnknownSubject)
    assert lines(run("gallery", "split", "door", "Ann", "-t", two, "--to", "Cid", "--json")) == [{"sequence": 3}]
    run("gallery", "move", "door", "Ann", "--templates", one, "--to", "Cid")
    assert {each.name: each.templates for each in store.subjects("door")} == {"Ann": 0, "Bob": 1, "Cid": 2}
    run("gallery", "remove", "door", "Cid", one, two)
    run("gallery", "merge", "door", "Bob", "Ann")
    assert {each.name: each.templates for each in store.subjects("door")} == {"Ann": 1, "Cid": 0}


def test_notes_are_added_and_taken_away_one_by_one(run: Run, store: MemoryGalleryStore) -> None:
    run("gallery", "describe", "door", "Ann", "--external-id", "a-1", "-m", "room=7", "-m", "site=x=y")
    run("gallery", "describe", "door", "Ann", "-m", "room=")
    known = store.show("door", "Ann")
    assert (known.external_id, dict(known.metadata)) == ("a-1", {"site": "x=y"})
    assert run("gallery", "find", "door", "--external-id", "a-1").stdout == "Ann\n"
    shown = run("subjects", "show", "Ann").stdout
    assert "external id a-1" in shown
    assert "site: x=y" in shown
    assert key("Ann", 1) in shown
    assert "a-1" in run("subjects", "list").stdout
    run("gallery", "describe", "door", "Ann", "--external-id", "")
    wrong(run("gallery", "find", "door", "--external-id", "a-1", ok=False), UnknownSubject)
    for words in ([], ["-m", "room"]):
        assert run("gallery", "describe", "door", "Ann", *words, ok=False).exit_code == 2


class TestPreviews:
    """Nothing is changed by any of them."""

    @pytest.fixture(autouse=True)
    def unchanged(self, store: MemoryGalleryStore) -> Iterator[None]:
        before = store.catalogue("door")
        yield
        after = store.catalogue("door")
        assert (after.info, after.subjects) == (before.info, before.subjects)

    def effect(self, run: Run, *words: str) -> tuple[list[object], list[object]]:
        [said] = lines(run(*words, "--preview", "--json"))
        found: Any = said["preview"]
        assert said["applied"] is False
        assert (found["looked_at"], found["left_out"], found["older"]) == (3, 0, 0)
        changed = [(each["decision_id"], each["before"], each["after"]) for each in found["changed"]]
        unclear = [(each["decision_id"], each["before"], each["after_one_of"]) for each in found["open"]]
        return changed, unclear

    def test_of_each_verb_say_who_would_be_named_otherwise(self, run: Run) -> None:
        one, two = key("Ann", 1), key("Ann", 2)
        assert self.effect(run, "gallery", "merge", "door", "Ann", "Bob") == ([("job:0", "Ann", "Bob")], [])
        either = [("job:0", "Ann", ["Ann", "Bob"])]
        assert self.effect(run, "gallery", "remove", "door", "Ann", one) == ([], either)
        assert self.effect(run, "gallery", "remove", "door", "Ann", one, two) == ([("job:0", "Ann", "Bob")], [])
        assert self.effect(run, "gallery", "move", "door", "Ann", "-t", one, "--to", "Bob") == ([], either)
        assert self.effect(run, "gallery", "split", "door", "Ann", "-t", one, "--to", "Zoe") == (
            *([], [("job:0", "Ann", ["Ann", "Zoe"])]),
        )
        assert self.effect(run, "forget", "Bob", "-g", "door") == ([("job:1", "Bob", None)], [])
        assert self.effect(run, "subjects", "rename", "Ann", "Anna") == ([], [])
        # Change 2 enrolled Bob.
        assert self.effect(run, "gallery", "undo", "door", "2") == ([("job:1", "Bob", None)], [])

    def test_a_person_sees_how_many_which_and_what_cannot_be_told(self, run: Run) -> None:
        shown = run("gallery", "split", "door", "Ann", "-t", key("Ann", 1), "--to", "Zoe", "--preview").stdout
        assert "of 3 faces decided in the last 24 hours 0 would be answered otherwise, 1 may be" in shown
        assert [line.split() for line in shown.splitlines()[1:3]] == [
            ["decision", "picture", "now", "then"],
            ["job:0", "0.jpg", "Ann", "Ann", "or", "Zoe"],
        ]
        assert "no more can be told before it is done" in shown
        shown = run("forget", "Bob", "-g", "door", "--preview").stdout
        assert "1 would be answered otherwise, 0 may be; nothing was changed" in shown
        assert shown.splitlines()[2].split() == ["job:1", "1.jpg", "Bob", "nobody"]
        assert "of 0 faces" in run("forget", "Bob", "-g", "door", "--preview", "--hours", "0.5").stdout

    def test_a_change_that_would_be_refused_is_refused(self, run: Run) -> None:
        wrong(run("gallery", "merge", "door", "Zoe", "Ann", "--preview", ok=False), UnknownSubject)
        wrong(run("gallery", "undo", "door", "9", "--preview", ok=False), CannotUndo)


def test_the_preview_of_forgetting_somebody_who_was_merged_into_another_tells_what_that_one_loses(
    run: Run, store: MemoryGalleryStore
) -> None:
    store.merge("door", "Bob", "Ann")
    # Nobody is called Bob any more, and one of Ann's three templates is his.
    [said] = lines(run("forget", "Bob", "-g", "door", "--preview", "--json"))
    found: Any = said["preview"]
    assert (found["changed"], found["left_out"]) == ([], 1)
    assert [(each["decision_id"], each["before"]) for each in found["open"]] == [("job:0", "Ann")]
    wrong(run("forget", "Zoe", "-g", "door", "--preview", ok=False), UnknownSubject)


def test_an_older_decision_is_judged_by_its_scores_and_counted(run: Run, store: MemoryGalleryStore) -> None:
    store.enrol("door", [face("Cid", 7)])
    shown = run("gallery", "merge", "door", "Ann", "Bob", "--preview").stdout
    assert "3 were decided before change 3, the newest: their scores are of then" in shown
    store.forget("door", "Bob")
    assert "1 are left out, whose nearest subject is no longer in the gallery" in (
        run("subjects", "rename", "Ann", "Anna", "--preview").stdout
    )


def test_settings_that_are_taken_back_decide_by_the_former_ones(run: Run, store: MemoryGalleryStore) -> None:
    store.configure("door", GallerySettings(cutoff=0.75))
    [said] = lines(run("gallery", "undo", "door", "3", "--preview", "--json"))
    # Without a cutoff of its own: no pack of model m is here, so half of what equal pictures score.
    found: Any = said["preview"]
    assert [(each["before"], each["after"]) for each in found["changed"]] == [(None, "Ann")]


class TestJournal:
    def test_the_history_reads_as_sentences(self, run: Run, store: MemoryGalleryStore) -> None:
        store.rename("door", "Ann", "Anna")
        store.move("door", "Anna", [key("Ann", 2)], "Cid")
        store.merge("door", "Cid", "Bob")
        store.describe("door", "Bob", external_id="b")
        store.remove("door", "Anna", [key("Ann", 1)])
        store.undo("door", 2)
        store.forget("door", "Anna")
        shown = [line.rstrip().split("  ")[-1] for line in run("gallery", "history", "door").stdout.splitlines()[1:]]
        assert shown[1:] == [
            "Bob: 1 template removed",
            "remove (of somebody forgotten since)",
            "Bob described",
            "Cid merged into Bob with 1 template",
            "1 template of subject 1 moved to Cid, a new subject",
            "rename (of somebody forgotten since)",
            "Bob: 1 template enrolled, a new subject",
            "enrol (of somebody forgotten since)",
        ]
        assert shown[0] == "subject 1 forgotten"
        assert [each["sequence"] for each in lines(run("gallery", "history", "door", "--limit", "2", "--json"))] == [
            9,
            8,
        ]

    def test_undo_asks_and_says_what_it_does(self, run: Run, store: MemoryGalleryStore) -> None:
        store.merge("door", "Bob", "Ann")
        asked = run("gallery", "undo", "door", "3", ok=False)
        assert asked.exit_code == 2
        assert "Bob merged into Ann with 1 template" in asked.output
        assert store.info("door").sequence == 3
        done = run("gallery", "undo", "door", "3", "--yes").stdout
        assert "1 template of Ann given back to Bob (change 4)" in done
        assert {each.name for each in store.subjects("door")} == {"Ann", "Bob"}
        wrong(run("gallery", "undo", "door", "9", "--yes", ok=False), CannotUndo)

    def test_the_past_is_shown_and_compared(self, run: Run, store: MemoryGalleryStore) -> None:
        store.merge("door", "Bob", "Ann")
        store.rename("door", "Ann", "Anna")
        [state] = lines(run("gallery", "at", "door", "--seq", "2", "--json"))
        assert [(each["name"], len(each["templates"])) for each in state["subjects"]] == [("Ann", 2), ("Bob", 1)]  # type: ignore[attr-defined]
        assert run("gallery", "diff", "door", "2", "4").stdout.splitlines() == [
            "~ Ann → Anna, +1",
            "- Bob with 1 templates",
        ]
        assert run("gallery", "diff", "door", "4", "2").stdout.splitlines()[1] == "+ Bob with 1 templates"
        assert run("gallery", "diff", "door", "4", "4").stdout == "no difference\n"
        run("gallery", "set", "door", "--margin", "0.1")
        assert run("gallery", "diff", "door", "4", "5").stdout == "~ settings: margin None → 0.1\n"
        store.forget("door", "Anna")
        assert "left out" in run("gallery", "at", "door", "--seq", "2").stderr
        wrong(run("gallery", "at", "door", "--seq", "99", ok=False), OutOfReach)

    def test_across_a_change_of_model_each_side_says_which_it_was_of(self, run: Run, store: MemoryGalleryStore) -> None:
        switch(store)
        assert run("gallery", "at", "door", "--seq", "2").stdout.splitlines()[0] == (
            "gallery door after change 2: 2 subjects, model m"
        )
        assert "2 subjects, model n" in run("gallery", "at", "door", "--seq", "3").stdout
        shown = run("gallery", "diff", "door", "2", "3").stdout.splitlines()
        assert shown == [
            "~ settings: cutoff None → 0.6",
            "~ model: m → n; templates are the same where their ids are",
        ]
        [found] = lines(run("gallery", "diff", "door", "1", "3", "--json"))
        assert (found["model_id"], len(found["subjects"])) == (["m", "n"], 1)  # type: ignore[arg-type]
        assert lines(run("gallery", "diff", "door", "1", "2", "--json"))[0]["model_id"] == ["m", "m"]
        assert "model m changed for n" in run("gallery", "history", "door").stdout


class TestFiles:
    def test_a_gallery_goes_out_and_comes_back(self, run: Run, store: MemoryGalleryStore, tmp_path: Path) -> None:
        file = str(tmp_path / "door.kith")
        out = run("gallery", "export", "door", file)
        assert "2 subjects with 3 templates" in out.stdout
        assert "in the clear" in out.stderr
        assert "2 new" in run("gallery", "restore", "gate", file).stdout
        assert [each.name for each in store.subjects("gate")] == ["Ann", "Bob"]
        assert "has 2 subjects" in wrong(run("gallery", "restore", "gate", file, ok=False), Rejected)
        [again] = lines(run("gallery", "import", "gate", file, "--json"))
        assert (again["templates"], again["new_templates"]) == (3, 0)

    @pytest.mark.parametrize(
        ("name", "option"),
        [
            *(("t.csv", "--images"), ("t.csv", "--names=n.csv"), ("v.npz", "--names=n.csv"), ("a.kith", "--normalise")),
            *(("a.kith", "--again"), ("a.kith", "--model=m"), ("a.kith", "--names=n.csv")),
        ],
    )
    def test_an_option_that_means_nothing_for_the_file_is_refused(self, run: Run, name: str, option: str) -> None:
        done = run("gallery", "import", "door", name, option, ok=False)
        assert done.exit_code == 2
        assert option.partition("=")[0] in done.stderr

    def test_a_table_comes_in_and_what_is_refused_is_listed(
        self, run: Run, store: MemoryGalleryStore, tmp_path: Path
    ) -> None:
        file = tmp_path / "t.csv"
        header = ",".join(f"v{n}" for n in range(DIMENSION))
        good, bad = ",".join(map(str, unit(7).tolist())), ",".join(["2"] * DIMENSION)
        file.write_text(f"subject,{header}\nDan,{good}\nEve,{bad}\n")
        done = run("gallery", "import", "door", str(file), ok=False)
        assert done.exit_code == 1
        assert "1 templates enrolled" in done.stdout
        assert "row 2 is refused: the vector's norm" in done.stderr
        assert store.show("door", "Dan").templates

"""kith gallery: what its verbs do, ask and refuse, on a gallery in memory."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner, Result

from kith import cli
from kith.backends.gallery_memory import MemoryGalleryStore
from kith.cli import gallery, gallery_files, gallery_journal, subjects
from kith.errors import CannotUndo, KithError, OutOfReach, Rejected, UnknownSubject
from kith.gallery import Enrolment, template_id
from kith.gallery_settings import Scoring
from kith.settings import Settings
from tests.plain_gallery import DIMENSION, key, unit

Run = Callable[..., Result]


def face(subject: str, seed: int) -> Enrolment:
    image = f"ab/{seed}"
    return Enrolment(subject, template_id("door", subject, image, "m"), unit(seed), image, 0.25, "m")


@pytest.fixture
def store() -> MemoryGalleryStore:
    made = MemoryGalleryStore()
    made.create("door", model_id="m", dimension=DIMENSION)
    made.enrol("door", [face("Ann", 1), face("Ann", 2), face("Bob", 3)])
    return made


@pytest.fixture
def run(store: MemoryGalleryStore, monkeypatch: pytest.MonkeyPatch) -> Run:
    client = SimpleNamespace(galleries=store, settings=Settings(gallery={"default": "door"}), store=None)
    for module in (gallery, gallery_files, gallery_journal, subjects):
        monkeypatch.setattr(module, "client_for", lambda _: nullcontext(client))

    def invoke(*words: str, ok: bool = True) -> Result:
        result = CliRunner().invoke(cli.app, words, env={"COLUMNS": "200"})
        if ok:
            assert result.exit_code == 0, (result.output, result.exception)
        return result

    return invoke


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

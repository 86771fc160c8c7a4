"""kith keys, audit and receipts: what they do, ask, refuse and write down."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner, Result

from kith import cli, custody
from kith.audit import Action, Deed
from kith.backends.audit_memory import MemoryAudit
from kith.backends.cameras_memory import MemoryCameras
from kith.backends.keys_directory import DirectoryKeys
from kith.backends.keys_settings import SettingsKeys
from kith.cameras import Camera
from kith.cli import asking
from kith.cli import audit as audit_command
from kith.cli import keys as keys_command
from kith.cli import receipts as receipts_command
from kith.errors import Misconfigured, StateUnavailable, UnknownKey, UnknownSubject
from kith.keys import SIGNING, KeyRing
from kith.receipts import AlteredReceipt, Erased, Kind, Receipt, save, sign, signing_key
from kith.settings import Settings

ANN = "a" * 16
Run = Callable[..., Result]


class Parts:
    """What the commands find when they ask for a client."""

    def __init__(self, home: Path) -> None:
        self.keys = DirectoryKeys(home / "keys")
        self.audit = MemoryAudit()
        self.settings = Settings(home=home)
        self.galleries = SimpleNamespace(show=self._show)
        self.cameras = MemoryCameras()

    def _show(self, gallery: str, subject: str) -> SimpleNamespace:
        if subject != "Ann":
            raise UnknownSubject(f"nobody is called {subject!r} in gallery {gallery}")
        return SimpleNamespace(subject_id=ANN)

    def deeds(self) -> list[tuple[Action, str, dict[str, Any]]]:
        return [(each.deed.action, each.deed.gallery, dict(each.deed.detail)) for each in self.audit.page().entries]


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Parts:
    made = Parts(tmp_path)

    @contextmanager
    def opened(*_: object) -> Iterator[Parts]:
        yield made

    for module in (keys_command, audit_command):
        monkeypatch.setattr(module, "client_for", opened)
    for command in (keys_command, receipts_command):
        monkeypatch.setattr(command, "settings_for", lambda _: made.settings)
        monkeypatch.setattr(command, "Client", SimpleNamespace(open=opened))
    monkeypatch.setattr("getpass.getuser", lambda: "ada")
    monkeypatch.setattr("platform.node", lambda: "desk")
    return made


@pytest.fixture
def run(parts: Parts) -> Run:
    return lambda *arguments, **more: CliRunner().invoke(cli.app, list(map(str, arguments)), **more)


class TestKeys:
    def test_the_list_shows_ids_and_never_keys(self, parts: Parts, run: Run, tmp_path: Path) -> None:
        parts.keys.create("door")
        ring = parts.keys.rotate("door")
        parts.keys.create(SIGNING)

        shown = run("keys", "list", "--json").stdout
        assert json.loads(shown)["gallery"] == "door"
        assert [key["id"] for key in json.loads(shown)["keys"]] == list(ring.key_ids)
        table = run("keys", "list").stdout
        for told in (shown, table):
            for key in json.loads((tmp_path / "keys" / "door.key").read_text())["keys"]:
                assert key["secret"] not in told
        assert table.splitlines()[2].endswith("seals and opens")

    def test_one_ring_that_cannot_be_read_hides_no_other(self, parts: Parts, run: Run, tmp_path: Path) -> None:
        for name in ("door", "gate", "yard"):
            parts.keys.create(name)
        (tmp_path / "keys" / "door.key").write_text("no JSON")
        (tmp_path / "keys" / "gate.key").chmod(0o644)
        [door, gate, yard] = [json.loads(line) for line in run("keys", "list", "--json").stdout.splitlines()]
        assert (door["gallery"], door["keys"]) == ("door", [])
        assert "is damaged; bring it back from your copy" in door["error"]
        assert "chmod 600 it" in gate["error"]
        assert [key["id"] for key in yard["keys"]] == list(parts.keys.ring("yard").key_ids)
        listed = run("keys", "list", env={"COLUMNS": "300"})
        assert listed.exit_code == 0
        rows = [line.split() for line in listed.stdout.splitlines()]
        # A reason may go on in a second line.
        assert [row[:2] for row in rows if row[0] in {"door", "gate", "yard"}] == [
            ["door", "unreadable"],
            ["gate", "unreadable"],
            ["yard", parts.keys.ring("yard").key_ids[0]],
        ]

    def test_rotation_adds_a_key_and_a_line_in_the_log(self, parts: Parts, run: Run) -> None:
        before = parts.keys.create("door").newest
        done = json.loads(run("keys", "rotate", "door", "--json").stdout)

        ring = parts.keys.ring("door")
        assert ring.keys[0] == before
        assert done == {"gallery": "door", "key": ring.key_ids[1], "older": [ring.key_ids[0]]}
        assert parts.deeds() == [
            (Action.KEY_ROTATED, "door", {"stage": "begun"}),
            (Action.KEY_ROTATED, "door", {"stage": "done", "key": ring.key_ids[1]}),
        ]
        assert parts.audit.page().entries[0].deed.actor == "cli:ada@desk"

    def test_destroying_asks_for_the_name_and_goes_by_what_was_typed(
        self, parts: Parts, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        parts.keys.create("door")
        monkeypatch.setattr(asking, "sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True)))
        for typed in ("yes\n", "\n", "Door\n"):
            refused = run("keys", "destroy", "door", input=typed)
            assert refused.exit_code == 1
            assert "nothing was changed" in refused.stderr
        assert parts.keys.ring("door")
        assert parts.deeds() == []

        assert run("keys", "destroy", "door", input="door\n").exit_code == 0
        with pytest.raises(UnknownKey):
            parts.keys.ring("door")
        assert parts.deeds() == [(Action.KEY_DESTROYED, "door", {})]

    def test_nobody_to_ask_is_no_consent(self, parts: Parts, run: Run) -> None:
        key_ids = parts.keys.create("door").key_ids
        assert run("keys", "destroy", "door").exit_code == 2
        assert json.loads(run("keys", "destroy", "door", "--yes", "--json").stdout) == {
            "gallery": "door",
            "destroyed": list(key_ids),
        }

    def test_cameras_of_a_gallery_whose_keys_are_destroyed_are_paused_and_say_why(self, parts: Parts, run: Run) -> None:
        for name, gallery in (("front", "door"), ("back", "gate")):
            parts.cameras.add(Camera(name, "rtsp://cam/1", gallery))
        parts.keys.create("door")
        assert run("keys", "destroy", "door", "--yes").exit_code == 0
        assert parts.cameras.get("front").paused_why == "the keys of gallery door were destroyed"
        assert not parts.cameras.get("back").paused

    def test_keys_that_are_not_there_are_not_destroyed_and_leave_no_line(self, parts: Parts, run: Run) -> None:
        for command in ("rotate", "destroy"):
            assert isinstance(run("keys", command, "door", *["--yes"][: command == "destroy"]).exception, UnknownKey)
        assert parts.deeds() == []

    def test_keys_of_the_settings_are_left_alone(self, parts: Parts, run: Run) -> None:
        parts.keys = SettingsKeys(SecretStr("gate:" + "A" * 43 + "="), parts.keys)  # type: ignore[assignment]
        assert isinstance(run("keys", "destroy", "gate", "--yes").exception, Misconfigured)
        assert parts.deeds() == []


class TestCustody:
    def test_after_resealing_the_older_keys_are_gone(self, parts: Parts) -> None:
        parts.keys.create("door")
        parts.keys.rotate("door")
        seen: list[KeyRing] = []

        left = custody.rotate(parts.keys, parts.audit, "door", "cli:ada@desk", seen.append)

        assert [len(ring.keys) for ring in seen] == [3]
        assert left == parts.keys.ring("door")
        assert left.keys == (seen[0].newest,)
        assert [(action, detail.get("stage")) for action, _, detail in parts.deeds()] == [
            *((Action.KEY_ROTATED, stage) for stage in ("begun", "done")),
            (Action.KEY_DESTROYED, None),
        ]

    def test_no_key_is_made_without_a_line_in_the_log(self, parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
        ring = parts.keys.create("door")

        def away(_: Deed) -> None:
            raise StateUnavailable("Redis went away")

        with monkeypatch.context() as gone:
            gone.setattr(parts.audit, "record", away)
            with pytest.raises(StateUnavailable):
                custody.rotate(parts.keys, parts.audit, "door", "cli:ada@desk")
        assert parts.keys.ring("door") == ring

    def test_who_is_killed_as_the_key_is_there_has_said_that_he_makes_one(
        self, parts: Parts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        parts.keys.create("door")
        rotate = parts.keys.rotate

        def killed(gallery: str) -> KeyRing:
            rotate(gallery)
            raise KeyboardInterrupt

        with monkeypatch.context() as gone:
            gone.setattr(parts.keys, "rotate", killed)
            with pytest.raises(KeyboardInterrupt):
                custody.rotate(parts.keys, parts.audit, "door", "cli:ada@desk")
        assert parts.deeds() == [(Action.KEY_ROTATED, "door", {"stage": "begun"})]
        # The next one tells of every key that seals or may have sealed since.
        ring = custody.rotate(parts.keys, parts.audit, "door", "cli:ada@desk")
        assert parts.deeds()[-1] == (Action.KEY_ROTATED, "door", {"stage": "done", "key": ring.key_ids[-1]})

    def test_the_rotation_of_keys_that_are_not_there_is_not_recorded(self, parts: Parts) -> None:
        with pytest.raises(UnknownKey):
            custody.rotate(parts.keys, parts.audit, "gate", "cli:ada@desk")
        assert parts.deeds() == []

    def test_when_resealing_fails_no_key_is_lost(self, parts: Parts) -> None:
        old = parts.keys.create("door").newest

        def fail(_: KeyRing) -> None:
            raise StateUnavailable("Redis went away")

        with pytest.raises(StateUnavailable):
            custody.rotate(parts.keys, parts.audit, "door", "cli:ada@desk", fail)
        assert parts.keys.ring("door").keys[0] == old

    def test_the_destruction_of_keys_that_are_not_there_is_not_recorded(self, parts: Parts) -> None:
        with pytest.raises(UnknownKey):
            custody.destroy(parts.keys, parts.audit, "gate", "cli:ada@desk")
        assert parts.audit.page().entries == ()

    def test_what_cannot_be_recorded_is_not_destroyed(self, parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
        ring = parts.keys.create("door")

        def away(_: Deed) -> None:
            raise StateUnavailable("Redis went away")

        monkeypatch.setattr(parts.audit, "record", away)
        with pytest.raises(StateUnavailable):
            custody.destroy(parts.keys, parts.audit, "door", "cli:ada@desk")
        assert parts.keys.ring("door") == ring


class TestReceipts:
    @pytest.fixture
    def receipt(self, parts: Parts, tmp_path: Path) -> Path:
        erased = (Erased.of(Kind.VECTORS, ["t1", "t2"]), Erased(Kind.CACHED_CROPS, 0))
        made = Receipt("door", "e1", 42, 1_718_000_000_000, "cli:ada@desk", erased, ANN, silent=("embed-2",))
        save(sign(made, signing_key(parts.keys.create(SIGNING).newest)), tmp_path / "receipt.json")
        return tmp_path / "receipt.json"

    def test_ones_own_receipt_is_verified_and_told(self, receipt: Path, run: Run) -> None:
        shown = run("receipts", "verify", receipt)
        assert shown.exit_code == 0
        assert f"subject {ANN} of gallery door was forgotten" in shown.stdout
        assert "2 vectors erased" in shown.stdout
        assert "1 workers or jobs had not confirmed: embed-2" in shown.stdout
        found = json.loads(run("receipts", "verify", receipt, "--json").stdout)
        assert (found["valid"], found["sequence"], found["erased"][0]["identifiers"]) == (True, 42, ["t1", "t2"])

    def test_with_the_public_key_it_is_verified_anywhere(
        self, receipt: Path, run: Run, parts: Parts, tmp_path: Path
    ) -> None:
        pem = tmp_path / "kith.pem"
        pem.write_text(run("keys", "public").stdout)
        parts.keys = DirectoryKeys(tmp_path / "other")
        assert run("receipts", "verify", receipt, "--key", pem).exit_code == 0
        assert isinstance(run("receipts", "verify", receipt).exception, Misconfigured)
        pem.write_text(run("keys", "public").stdout)
        refused = run("receipts", "verify", receipt, "--key", pem)
        assert refused.exit_code == 1
        assert "signed by key" in refused.stderr

    def test_an_altered_one_spoils_no_other(self, receipt: Path, run: Run, tmp_path: Path) -> None:
        altered = tmp_path / "altered.json"
        altered.write_text(receipt.read_text().replace('"sequence": 42', '"sequence": 43'))

        shown = run("receipts", "verify", altered, receipt, "--json")

        found = [json.loads(line) for line in shown.stdout.splitlines()]
        assert [each["valid"] for each in found] == [False, True]
        assert "altered" in found[0]["reason"]
        assert shown.exit_code == 1
        assert AlteredReceipt(found[0]["reason"])

    def test_a_file_that_is_not_there_is_a_wrong_command_line(self, receipt: Path, run: Run) -> None:
        assert run("receipts", "verify", "/no/such/file").exit_code == 2


class TestAudit:
    @pytest.fixture(autouse=True)
    def log(self, parts: Parts) -> MemoryAudit:
        for number in range(1, 6):
            who = ANN if number % 2 else "b" * 16
            action = Action.ENROLLED if number < 5 else Action.FORGOT
            parts.audit.record(Deed("cli:ada@desk", action, "door" if number < 4 else "gate", who, number, {"n": 1}))
        return parts.audit

    def numbers(self, shown: Result) -> list[int]:
        assert shown.exit_code == 0, shown.output
        return [json.loads(line)["number"] for line in shown.stdout.splitlines()]

    def test_the_newest_are_shown_oldest_first(self, run: Run) -> None:
        assert self.numbers(run("audit", "--json")) == [1, 2, 3, 4, 5]
        assert self.numbers(run("audit", "--json", "--limit", 2)) == [4, 5]
        assert self.numbers(run("audit", "--json", "--after", 3)) == [4, 5]
        assert self.numbers(run("audit", "--json", "--after", 0)) == [1, 2, 3, 4, 5]

    def test_filters(self, run: Run) -> None:
        assert self.numbers(run("audit", "--json", "--gallery", "gate")) == [4, 5]
        assert self.numbers(run("audit", "--json", "--action", "forgot")) == [5]
        assert self.numbers(run("audit", "--json", "--subject", "b" * 16)) == [2, 4]
        assert self.numbers(run("audit", "--json", "--subject", "Ann", "-g", "door")) == [1, 3]
        assert isinstance(run("audit", "--subject", "Eve").exception, UnknownSubject)

    def test_a_line_holds_all_there_is(self, run: Run) -> None:
        line = run("audit", "--limit", 1).stdout.rstrip()
        assert line.endswith(f"  5  cli:ada@desk  forgot  gate  {ANN}  change 5  n=1")

    def test_a_follower_begins_where_it_is_told_and_ends_by_ctrl_c(
        self, run: Run, parts: Parts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def page(after: int, **more: Any) -> Any:
            if after == 6:
                raise KeyboardInterrupt
            parts.audit.record(Deed("cli:ada@desk", Action.LOOKED))
            return MemoryAudit.page(parts.audit, after, where=more["where"])

        monkeypatch.setattr(parts.audit, "page", page)
        assert self.numbers(run("audit", "--follow", "--json")) == [6]

    def test_the_log_is_verified_and_its_end_can_be_kept(self, run: Run, parts: Parts) -> None:
        shown = run("audit", "verify")
        assert (shown.exit_code, shown.stdout.splitlines()[0]) == (0, "all 5 entries are as they were written")
        kept = shown.stdout.splitlines()[1].removeprefix("the end: ")
        assert kept == str(parts.audit.head())
        parts.audit.record(Deed("cli:ada@desk", Action.LOOKED))
        assert json.loads(run("audit", "verify", "--against", kept, "--json").stdout)["intact"]

        parts.audit.trim(-1)
        cut = run("audit", "verify", "--against", kept)
        assert cut.exit_code == 1
        assert "entry 5, to be compared with, was cut off" in cut.output
        assert not json.loads(run("audit", "verify", "--against", kept, "--json").stdout)["intact"]

    def test_a_log_that_was_written_anew_shows(self, run: Run) -> None:
        wrong = run("audit", "verify", "--against", f"5:{'0' * 64}")
        assert wrong.exit_code == 1
        assert wrong.stdout.startswith("entry 5 is wrong: its digest is not the one that was kept")

    @pytest.mark.parametrize("text", ["5", "5:abc", ":", "x:" + "0" * 64])
    def test_an_end_that_is_none_is_a_wrong_command_line(self, text: str, run: Run) -> None:
        assert run("audit", "verify", "--against", text).exit_code == 2

"""Keys are made once, kept from others' eyes, rotated without loss, and destroyed for good."""

import base64
import fcntl
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr

from kith.backends import keys_directory
from kith.backends.connect import key_store
from kith.backends.key_service import open_wrapper
from kith.backends.keys_directory import DirectoryKeys
from kith.backends.keys_settings import SettingsKeys
from kith.errors import InvalidName, KeysUnavailable, Misconfigured, Rejected, UnknownKey
from kith.keys import SIGNING, Key, KeyRing
from kith.settings import Settings

CREATES_MANY = """
import pathlib, sys
from kith.backends.keys_directory import DirectoryKeys
keys = DirectoryKeys(pathlib.Path(sys.argv[1]))
print(*(keys.create(f"g{number}").key_ids[0] for number in range(10)))
"""


@pytest.fixture
def keys(tmp_path: Path) -> DirectoryKeys:
    return DirectoryKeys(tmp_path / "keys")


def file_of(tmp_path: Path, gallery: str = "door") -> Path:
    return tmp_path / "keys" / f"{gallery}.key"


class Xor:
    """A key service that is no protection, but reversible and not the identity."""

    def __init__(self, away: bool = False) -> None:
        self.away = away

    def wrap(self, gallery: str, secret: bytes) -> bytes:
        if self.away:
            raise ConnectionError("no route to the service")
        return b"w:" + gallery.encode() + b":" + bytes(byte ^ 0x5A for byte in secret)

    def unwrap(self, gallery: str, wrapped: bytes) -> bytes:
        if self.away:
            raise ConnectionError("no route to the service")
        assert wrapped.startswith(b"w:" + gallery.encode() + b":")
        return bytes(byte ^ 0x5A for byte in wrapped[-32:])


class TestRings:
    def test_a_key_id_follows_from_the_secret_and_tells_it_from_others(self) -> None:
        assert Key(bytes(32), 1).key_id == Key(bytes(32), 2).key_id
        assert len({Key(os.urandom(32)).key_id for _ in range(100)}) == 100

    def test_neither_keys_nor_rings_nor_stores_show_a_secret(self, keys: DirectoryKeys) -> None:
        ring = keys.create("door")
        secret = ring.newest.secret
        given = SettingsKeys(SecretStr(f"gate:{base64.b64encode(secret).decode()}"), keys)
        for shown in (repr(ring), str(ring), repr(ring.newest), repr(keys), repr(given), f"{given}"):
            assert repr(secret)[2:12] not in shown
            assert base64.b64encode(secret).decode() not in shown
            assert secret.hex() not in shown

    def test_a_ring_without_keys_or_with_one_twice_is_refused(self) -> None:
        with pytest.raises(Misconfigured, match="empty"):
            KeyRing("door", ())
        with pytest.raises(Misconfigured, match="twice"):
            KeyRing("door", (Key(bytes(32)), Key(bytes(32))))

    def test_a_secret_of_another_length_is_refused(self) -> None:
        with pytest.raises(Misconfigured, match="31 bytes"):
            Key(bytes(31))


class TestDirectory:
    def test_a_key_is_made_at_first_use_and_is_the_same_ever_after(self, keys: DirectoryKeys, tmp_path: Path) -> None:
        made = keys.create("door")

        assert keys.create("door") == made == keys.ring("door") == DirectoryKeys(tmp_path / "keys").ring("door")
        assert keys.create("gate").newest.secret != made.newest.secret
        assert keys.galleries() == ["door", "gate"]

    def test_its_file_and_directory_are_for_the_owner_alone(self, keys: DirectoryKeys, tmp_path: Path) -> None:
        keys.create("door")
        keys.rotate("door")

        assert stat.S_IMODE(file_of(tmp_path).stat().st_mode) == 0o600
        assert stat.S_IMODE(file_of(tmp_path).parent.stat().st_mode) == 0o700
        assert [file.name for file in sorted(file_of(tmp_path).parent.iterdir())] == [".lock", "door.key"]

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666])
    def test_a_file_that_others_may_read_is_not_used(self, mode: int, keys: DirectoryKeys, tmp_path: Path) -> None:
        keys.create("door")
        file_of(tmp_path).chmod(mode)

        for verb in (keys.ring, keys.create, keys.rotate):
            with pytest.raises(Misconfigured, match=rf"door\.key is open to others than its owner \(mode {mode:04o}\)"):
                verb("door")

    def test_a_directory_that_others_may_write_to_is_not_used_unless_it_is_sticky(
        self, keys: DirectoryKeys, tmp_path: Path
    ) -> None:
        keys.create("door")
        (tmp_path / "keys").chmod(0o777)
        with pytest.raises(Misconfigured, match="others may write to the key directory"):
            keys.ring("door")
        (tmp_path / "keys").chmod(0o1777)
        assert keys.ring("door")

    def test_a_key_is_never_made_where_one_is_missed(self, keys: DirectoryKeys, tmp_path: Path) -> None:
        verbs: list[Callable[[], object]] = [
            lambda: keys.ring("door"),
            lambda: keys.rotate("door"),
            lambda: keys.retire("door", ["00000000"]),
            lambda: keys.destroy("door"),
        ]
        for verb in verbs:
            with pytest.raises(UnknownKey, match="holds no key of gallery door"):
                verb()
        assert keys.galleries() == []
        assert not file_of(tmp_path).exists()

    def test_processes_that_come_at_once_get_the_same_key(self, tmp_path: Path, repository: Path) -> None:
        command = [sys.executable, "-c", CREATES_MANY, tmp_path / "keys"]
        processes = [subprocess.Popen(command, cwd=repository, stdout=subprocess.PIPE, text=True) for _ in range(3)]
        found = [process.communicate()[0] for process in processes]
        assert len(found[0].split()) == 10
        assert found == [found[0]] * 3

    def test_who_finds_the_directory_locked_does_not_wait_for_ever(
        self, keys: DirectoryKeys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        keys.create("door")
        monkeypatch.setattr(keys_directory, "_LOCK_S", 0)
        with (tmp_path / "keys" / ".lock").open() as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            with pytest.raises(KeysUnavailable, match=r"another process has had it locked for 0 s; .*keys/\.lock"):
                keys.rotate("door")
        assert len(keys.rotate("door").keys) == 2

    def test_a_name_that_is_a_path_is_no_gallery(self, keys: DirectoryKeys) -> None:
        for name in ("../door", "", "a/b", "Door", "_other"):
            with pytest.raises(InvalidName):
                keys.create(name)

    def test_the_signing_key_is_kept_like_the_others_and_is_no_gallery(self, keys: DirectoryKeys) -> None:
        assert keys.create(SIGNING) == keys.ring(SIGNING)
        assert keys.galleries() == []

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "not json hunter2",
            "[]",
            '{"kith_keys": 1, "gallery": "door", "keys": []}',
            '{"kith_keys": 1, "gallery": "door", "keys": [{"id": "x", "created_ms": 1, "secret": "hunter2"}]}',
            '{"kith_keys": 1, "gallery": "gate", "keys": [{"id": "x", "created_ms": 1, "secret": "%s"}]}',
            '{"kith_keys": 1, "gallery": "door", "keys": [{"id": "00000000", "created_ms": 1, "secret": "%s"}]}',
            '{"kith_keys": 2, "gallery": "door", "keys": []}',
        ],
    )
    def test_a_damaged_file_is_refused_without_repeating_it(
        self, text: str, keys: DirectoryKeys, tmp_path: Path
    ) -> None:
        secret = base64.b64encode(bytes(32)).decode()
        keys.create("door")
        file_of(tmp_path).write_text(text.replace("%s", secret))

        with pytest.raises(Misconfigured) as refused:
            keys.ring("door")
        assert "hunter2" not in str(refused.value)
        assert secret not in str(refused.value)
        assert "door" in str(refused.value)

    def test_a_disk_that_fails_may_come_back_and_a_refusal_will_not(
        self, keys: DirectoryKeys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(number: int) -> Callable[..., None]:
            def failing(*_: Any, **__: Any) -> None:
                raise OSError(number, os.strerror(number), "keys")

            return failing

        monkeypatch.setattr(Path, "open", fail(5))
        with pytest.raises(KeysUnavailable, match="Input/output error"):
            keys.ring("door")
        monkeypatch.setattr(Path, "open", fail(13))
        with pytest.raises(Misconfigured, match="Permission denied"):
            keys.ring("door")


class TestRotation:
    def test_the_new_key_seals_and_the_old_ones_stay(self, keys: DirectoryKeys) -> None:
        first = keys.create("door").newest
        ring = keys.rotate("door")

        assert ring.keys[0] == first
        assert ring.newest != first
        assert keys.ring("door") == ring

    def test_a_key_is_on_the_disk_before_it_has_its_name_and_before_the_old_file_is_overwritten(
        self, keys: DirectoryKeys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        keys.create("door")
        told: list[str] = []
        sync, replace, write = os.fsync, Path.replace, os.pwrite
        monkeypatch.setattr(
            os, "fsync", lambda at: (told.append("folder" if stat.S_ISDIR(os.fstat(at).st_mode) else "file"), sync(at))
        )
        monkeypatch.setattr(Path, "replace", lambda self, to: (told.append("renamed"), replace(self, to))[1])
        monkeypatch.setattr(os, "pwrite", lambda *call: (told.append("overwritten"), write(*call)))
        keys.rotate("door")
        assert told == ["file", "renamed", "folder", "overwritten", "file"]

    def test_what_is_retired_is_gone_from_the_disk_and_the_newest_cannot_be(
        self, keys: DirectoryKeys, tmp_path: Path
    ) -> None:
        old = keys.create("door").newest
        watched = file_of(tmp_path).open("rb")
        new = keys.rotate("door").newest

        with pytest.raises(Rejected, match="rotate before retiring it"):
            keys.retire("door", [old.key_id.hex(), new.key_id.hex()])
        assert keys.retire("door", ["00000000"]).keys == (old, new)
        assert keys.retire("door", [old.key_id.hex()]).keys == (new,)
        assert keys.ring("door").keys == (new,)
        # The bytes of the file that was replaced, not only its name.
        with watched:
            assert base64.b64encode(old.secret) not in watched.read()


class TestDestruction:
    def test_the_bytes_are_overwritten_before_the_name_goes(self, keys: DirectoryKeys, tmp_path: Path) -> None:
        ring = keys.create("door")
        place = file_of(tmp_path)
        size = place.stat().st_size
        # A second name shows what became of the bytes.
        (tmp_path / "second").hardlink_to(place)

        assert keys.destroy("door") == ring.key_ids
        left = (tmp_path / "second").read_bytes()
        assert len(left) == size
        assert base64.b64encode(ring.newest.secret) not in left
        assert not place.exists()
        with pytest.raises(UnknownKey):
            keys.ring("door")

    def test_what_a_killed_writer_left_goes_with_it(self, keys: DirectoryKeys, tmp_path: Path) -> None:
        secret = base64.b64encode(keys.create("door").newest.secret)
        left = tmp_path / "keys" / ".new-killed"
        left.write_bytes(file_of(tmp_path).read_bytes())
        (tmp_path / "second").hardlink_to(left)

        keys.destroy("door")
        assert [file.name for file in (tmp_path / "keys").iterdir()] == [".lock"]
        assert secret not in (tmp_path / "second").read_bytes()

    def test_what_could_not_be_written_is_overwritten_too(
        self, keys: DirectoryKeys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        secret = base64.b64encode(keys.create("door").newest.secret)

        def failing(place: Path, _: Path) -> None:
            (tmp_path / "second").hardlink_to(place)
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Path, "replace", failing)
        with pytest.raises(KeysUnavailable, match="No space left"):
            keys.rotate("door")
        assert sorted(file.name for file in (tmp_path / "keys").iterdir()) == [".lock", "door.key"]
        assert secret not in (tmp_path / "second").read_bytes()

    def test_a_key_that_cannot_be_read_can_be_destroyed(self, keys: DirectoryKeys, tmp_path: Path) -> None:
        DirectoryKeys(tmp_path / "keys", Xor()).create("door")
        keys.create("gate")
        file_of(tmp_path, "gate").write_text("damaged")

        assert DirectoryKeys(tmp_path / "keys", Xor(away=True)).destroy("door") == ()
        assert keys.destroy("gate") == ()
        assert keys.galleries() == []

    def test_a_key_made_under_the_same_name_afterwards_is_another(self, keys: DirectoryKeys) -> None:
        before = keys.create("door")
        keys.destroy("door")
        assert keys.create("door").newest.secret != before.newest.secret


class TestSettings:
    def given(self, keys: DirectoryKeys, text: str) -> SettingsKeys:
        return SettingsKeys(SecretStr(text), keys)

    def test_keys_in_the_settings_come_before_those_of_the_directory(self, keys: DirectoryKeys) -> None:
        kept = keys.create("gate")
        old, new = bytes(range(32)), bytes(32)
        text = f"door:{base64.b64encode(old).decode()},{base64.b64encode(new).decode()}\n"
        both = self.given(keys, text)

        assert [key.secret for key in both.ring("door").keys] == [old, new]
        assert both.create("door") == both.ring("door")
        assert both.ring("gate") == kept
        assert both.galleries() == ["door", "gate"]

    def test_they_are_changed_where_they_are_written(self, keys: DirectoryKeys) -> None:
        both = self.given(keys, f"door:{base64.b64encode(bytes(32)).decode()}")
        keys.create("gate")

        verbs: list[Callable[[], object]] = [
            lambda: both.rotate("door"),
            lambda: both.retire("door", []),
            lambda: both.destroy("door"),
        ]
        for verb in verbs:
            with pytest.raises(Misconfigured, match=r"come from the setting security\.keys"):
                verb()
        assert len(both.rotate("gate").keys) == 2
        assert len(both.destroy("gate")) == 2

    @pytest.mark.parametrize(
        "text", ["hunter2", "door:", "door:hunter2!", "door:hunter2é", "door:aHVudGVyMg==", "Door:x", "door"]
    )
    def test_what_cannot_be_read_is_refused_without_repeating_it(self, text: str, keys: DirectoryKeys) -> None:
        with pytest.raises(Misconfigured, match=r"security\.keys: (part 1|.*gallery door)") as refused:
            self.given(keys, text)
        assert "hunter2" not in str(refused.value)
        assert "aHVu" not in str(refused.value)

    def test_the_settings_say_where_keys_are(self, tmp_path: Path) -> None:
        one = base64.b64encode(bytes(32)).decode()
        given = {"home": tmp_path, "security": {"keys": f"door:{one}", "keys_directory": tmp_path / "elsewhere"}}
        both = key_store(Settings.model_validate(given))
        assert both.ring("door").newest.secret == bytes(32)
        both.create("gate")
        assert (tmp_path / "elsewhere" / "gate.key").is_file()
        key_store(Settings(home=tmp_path)).create("gate")
        assert (tmp_path / "keys" / "gate.key").is_file()

    def test_a_gallery_named_twice_is_refused(self, keys: DirectoryKeys) -> None:
        one = base64.b64encode(bytes(32)).decode()
        with pytest.raises(Misconfigured, match="door is named twice"):
            self.given(keys, f"door:{one} door:{one}")


class TestKeyService:
    @pytest.fixture
    def named(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[object], str]:
        def name(made: object) -> str:
            monkeypatch.setitem(__import__("sys").modules, "my_kms", SimpleNamespace(connect=made))
            return "my_kms:connect"

        return name

    def test_only_what_it_wrapped_is_written_down(self, named: Callable[[object], str], tmp_path: Path) -> None:
        wrapper = open_wrapper(named(Xor))
        ring = DirectoryKeys(tmp_path / "keys", wrapper).create("door")
        written = file_of(tmp_path).read_bytes()

        assert base64.b64encode(ring.newest.secret) not in written
        assert json.loads(written)["keys"][0]["id"] == ring.key_ids[0]
        assert DirectoryKeys(tmp_path / "keys", wrapper).ring("door") == ring
        with pytest.raises(Misconfigured, match=r"security\.kms"):
            DirectoryKeys(tmp_path / "keys").ring("door")

    def test_keys_from_before_it_was_named_still_open_and_are_wrapped_at_the_next_rotation(
        self, keys: DirectoryKeys, tmp_path: Path
    ) -> None:
        plain = keys.create("door")
        wrapped = DirectoryKeys(tmp_path / "keys", Xor())

        assert wrapped.ring("door") == plain
        assert wrapped.rotate("door").keys[0] == plain.newest
        assert base64.b64encode(plain.newest.secret) not in file_of(tmp_path).read_bytes()

    def test_one_that_is_away_may_come_back(self, named: Callable[[object], str], tmp_path: Path) -> None:
        service = Xor()
        kept = DirectoryKeys(tmp_path / "keys", open_wrapper(named(lambda: service)))
        kept.create("door")
        service.away = True

        with pytest.raises(KeysUnavailable, match="unwrapping a key of door: ConnectionError"):
            kept.ring("door")
        with pytest.raises(KeysUnavailable):
            kept.create("gate")
        assert kept.galleries() == ["door"]

    @pytest.mark.parametrize(
        ("made", "fault"),
        [
            (object, "has no wrap and no unwrap"),
            (7, "is no callable"),
        ],
    )
    def test_one_that_is_none_is_refused(self, made: object, fault: str, named: Callable[[object], str]) -> None:
        with pytest.raises(Misconfigured, match=fault):
            open_wrapper(named(made))

    def test_it_is_opened_when_it_is_needed_and_once(self, named: Callable[[object], str], tmp_path: Path) -> None:
        opened: list[Xor] = []

        def connect() -> Xor:
            opened.append(Xor())
            return opened[-1]

        keys = key_store(Settings.model_validate({"home": tmp_path, "security": {"kms": named(connect)}}))
        assert keys.galleries() == []
        assert opened == []
        assert keys.create("door") == keys.ring("door")
        keys.rotate("door")
        assert len(opened) == 1

    @pytest.mark.parametrize(
        "source", ["no_such_module:x", "kith.keys:no_such_thing", "kith.keys:", ":x", ".keys:x", "raising_kms:x"]
    )
    def test_one_that_is_not_there_is_refused(
        self, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "raising_kms.py").write_text("raise RuntimeError('no credentials')")
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(Misconfigured, match=r"security\.kms"):
            open_wrapper(source)

    def test_one_that_does_not_encrypt_or_does_not_give_back_is_refused_before_anything_is_sealed(
        self, named: Callable[[object], str], tmp_path: Path
    ) -> None:
        class Open(Xor):
            def wrap(self, gallery: str, secret: bytes) -> bytes:
                return secret

        class Forgetful(Xor):
            def unwrap(self, gallery: str, wrapped: bytes) -> bytes:
                return bytes(32)

        for service, fault in ((Open, "did not encrypt"), (Forgetful, "does not give back")):
            with pytest.raises(Misconfigured, match=fault):
                DirectoryKeys(tmp_path / "keys", open_wrapper(named(service))).create("door")
        assert not file_of(tmp_path).exists()

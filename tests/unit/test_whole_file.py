"""A file is there whole, for its owner alone, or as it was before."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from kith.whole_file import whole_file


def test_it_appears_when_it_is_whole_for_its_owner_alone(tmp_path: Path) -> None:
    place = tmp_path / "a.json"
    with whole_file(place) as opened:
        opened.write(b"one")
        assert not place.exists()
        [beside] = tmp_path.iterdir()
        assert stat.S_IMODE(beside.stat().st_mode) == 0o600
    assert place.read_bytes() == b"one"
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [place]


def test_what_fails_leaves_the_old_one_and_nothing_beside_it(tmp_path: Path) -> None:
    place = tmp_path / "a.json"
    place.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        _interrupted(place)
    assert place.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [place]
    with pytest.raises(FileNotFoundError):
        _interrupted(tmp_path / "no" / "a.json")


def test_what_somebody_left_who_was_killed_goes_the_next_time(tmp_path: Path) -> None:
    place, other = tmp_path / "a[1].json", tmp_path / "b.json"
    for each in (place, other):
        script = (
            f"from kith.whole_file import *\nimport os\nwith whole_file(Path({str(each)!r})): os.kill(os.getpid(), 9)"
        )
        assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 2
    with whole_file(place) as opened:
        opened.write(b"one")
        # Another writer leaves alone what this one has in hand.
        with whole_file(place) as faster:
            faster.write(b"two")
        assert place.read_bytes() == b"two"
    assert place.read_bytes() == b"one"
    [left] = set(tmp_path.iterdir()) - {place}
    assert left.name.startswith(".new-b.json-")


def test_its_bytes_are_on_the_disk_before_its_name_and_the_name_before_it_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    sync, replace = os.fsync, Path.replace

    def synced(handle: int) -> None:
        told.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else f"{os.fstat(handle).st_size} bytes")
        sync(handle)

    def renamed(self: Path, target: Path) -> Path:
        told.append("renamed")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    with whole_file(tmp_path / "a") as opened:
        opened.write(b"12345")
    assert told == ["5 bytes", "renamed", "folder"]


def _interrupted(place: Path) -> None:
    with whole_file(place) as opened:
        opened.write(b"new")
        raise KeyboardInterrupt

"""The hot folder as a process: what appears in it is decided, once, also across a restart."""

import shutil
import signal
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kith.client import Client
from kith.settings import load
from kith.stack import local_settings
from tests.e2e.conftest import Kith, Running, picture, published, wait_for


@pytest.fixture
def client(kith: Kith) -> Iterator[Client]:
    with Client.open(local_settings(load(), kith.home)) as client:
        yield client


@contextmanager
def watching(kith: Kith, folder: Path, *options: str) -> Iterator[Running]:
    """The producer on `folder`, ended by SIGTERM in good order."""
    command = (sys.executable, "-m", "producers.folder", folder, "--aligned", "--every", "0.1", *options)
    with kith.start(*command) as running:
        running.until("watching")
        yield running
        assert running.end(signal.SIGTERM) == 0, running.lines


def test_files_are_enrolled_as_they_arrive_once_each_and_a_restart_repeats_none(
    kith: Kith, client: Client, tmp_path: Path
) -> None:
    gallery, folder = f"g{uuid.uuid4().hex[:10]}", tmp_path / "hot"
    picture(folder / "Ada/before.png", 1)
    options = ("--enrol", "--gallery", gallery)
    with watching(kith, folder, *options) as running:
        wait_for(lambda: published(client, gallery)["Ada/before.png"], "what lay there")
        picture(folder / "Ada/arrives.png", 1, 2)
        (folder / "Ada/empty.png").touch()
        picture(folder / "stray.png", 3)
        wait_for(lambda: published(client, gallery)["Ada/arrives.png"], "what arrived")
        running.until("Ada/empty.png is refused: empty_image")
        running.until("stray.png is refused")
        time.sleep(0.5)
        assert sum("refused" in line for line in running.lines) == 2, "each is told once, not at every look"
    picture(folder / "Grace/while-down.png", 2)
    with watching(kith, folder, *options):
        wait_for(lambda: published(client, gallery)["Grace/while-down.png"], "what arrived while nobody looked")
    assert published(client, gallery) == {"Ada/before.png": 1, "Ada/arrives.png": 1, "Grace/while-down.png": 1}
    assert [subject.name for subject in client.galleries.subjects(gallery)] == ["Ada", "Grace"]


def test_a_file_that_is_still_being_written_is_let_finish(kith: Kith, client: Client, tmp_path: Path) -> None:
    gallery, folder = f"g{uuid.uuid4().hex[:10]}", tmp_path / "hot"
    whole = picture(tmp_path / "whole.png", 1).read_bytes()
    (folder / "Ada").mkdir(parents=True)
    options = ("--enrol", "--gallery", gallery, "--every", "0.5")
    with watching(kith, folder, *options), (folder / "Ada/slow.png").open("wb") as file:
        # Far longer between looks than between writes: at no two looks in a row is the file the same.
        for start in range(0, len(whole), 1 + len(whole) // 20):
            file.write(whole[start : start + 1 + len(whole) // 20])
            file.flush()
            assert not published(client, gallery)
            time.sleep(0.04)
        file.close()
        wait_for(lambda: published(client, gallery), "the whole file")
    assert published(client, gallery) == {"Ada/slow.png": 1}
    assert [subject.name for subject in client.galleries.subjects(gallery)] == ["Ada"], "a torn file would be rejected"


def test_without_a_system_it_says_so_and_ends(kith: Kith, tmp_path: Path) -> None:
    command = (sys.executable, "-m", "producers.folder", tmp_path, "--home", tmp_path / "none")
    with kith.start(*command) as running:
        assert running.process.wait(30) == 69
        running.until("start it with `kith up`")
    with kith.start(sys.executable, "-m", "producers.folder", tmp_path / "missing") as running:
        assert running.process.wait(30) == 2
    shutil.rmtree(tmp_path / "none", ignore_errors=True)

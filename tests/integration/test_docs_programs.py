"""The programs of docs/python.md and docs/results.md do what they are there for, as they stand there."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kith.api_keys import Scope, issue
from kith.jobs import Content, Kind
from tests.http_door import House, crop, house
from tests.integration.test_docs import python_blocks
from tests.servers.fixtures import missing
from tests.shared_data import shared_data


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


@contextmanager
def running(command: list[str], folder: Path, **environment: str) -> Iterator[Iterator[str]]:
    """The lines of a program that does not end by itself."""
    process = subprocess.Popen(
        command, cwd=folder, env=os.environ | environment, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )
    assert process.stdout is not None
    try:
        yield iter(process.stdout.readline, "")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Three people were enrolled; one of them was forgotten since, and the entry is still in the stream."""
    with house(tmp_path_factory.mktemp("results")) as house_:
        client = house_.client
        for person, name in ((1, "Ada"), (3, "Eve"), (2, "Bob")):
            image = client.put(crop(person), subject=name)
            client.ask(client.intake.job(Kind.ENROL, [image], content=Content.ALIGNED), 30)
        client.forget("Eve")
        yield house_


def read(decided: House, folder: Path, command: list[str]) -> None:
    """Runs a reader: what is kept comes first, then what is decided meanwhile."""
    url = decided.doors.settings.redis.url.get_secret_value()
    socket = url.removeprefix("unix://").partition("?")[0]
    environment = {"REDIS_URL": url, "REDIS_SOCKET": socket, "REDIS": f"-s {socket}"}
    with running(command, folder, **environment) as lines:
        first, second = next(lines), next(lines)
        assert ("enrolled" in first, "Ada" in first) == (True, True)
        assert ("enrolled" in second, "Bob" in second) == (True, True)
        client = decided.client
        client.ask(client.intake.job(Kind.IDENTIFY, [client.put(crop(1, 1))], content=Content.ALIGNED), 30)
        third = next(lines)
        assert ("match" in third, "Ada" in third) == (True, True)


def test_python_with_redis_alone(decided: House, repository: Path, tmp_path: Path) -> None:
    program, _ = python_blocks(repository / "docs/results.md")
    read(decided, tmp_path, [sys.executable, "-c", program])


def test_python_with_kith(decided: House, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, program = python_blocks(repository / "docs/results.md")
    monkeypatch.setenv("KITH_REDIS__URL", decided.doors.settings.redis.url.get_secret_value())
    read(decided, tmp_path, [sys.executable, "-c", program])


@pytest.mark.needs("redis-cli")
def test_a_shell(decided: House, repository: Path, tmp_path: Path) -> None:
    if shutil.which("redis-cli") is None:
        missing("redis-cli", "it is not installed (Debian: redis-tools)")
    [program] = blocks(repository / "docs/results.md", "bash")
    read(decided, tmp_path, ["bash", "-c", program])


@pytest.mark.needs("node")
def test_node(decided: House, repository: Path, tmp_path: Path) -> None:
    if shutil.which("node") is None:
        missing("node", "it is not installed")
    [program] = blocks(repository / "docs/results.md", "js")
    read(decided, tmp_path, ["node", "-e", program])


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("python"), shared_data() / "weights") as house_:
        yield house_


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made, faces = tmp_path_factory.mktemp("pictures"), shared_data() / "camera/real/enrol/obama"
    for name, source in (("ada1.jpg", "obama.jpg"), ("somebody.jpg", "obama2.jpg")):
        shutil.copy(faces / source, made / name)
    return made


@pytest.mark.needs("shared data")
def test_every_program_does_what_it_says(door: House, folder: Path, repository: Path) -> None:
    recognise, lists, follow, many = python_blocks(repository / "docs/python.md")
    key, token = issue("docs", (Scope.ADMIN,))
    door.client.api_keys.add(key)
    environment = {"KITH_URL": door.url, "KITH_KEY": token}

    def said(program: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=folder, env=os.environ | environment, timeout=60, check=False,
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    assert said(recognise) == ["match Ada Lovelace"]
    people, match = said(lists)
    assert people == "Ada Lovelace 1"
    assert match.endswith(" Ada Lovelace")
    assert said(many) == ["ada1.jpg match Ada Lovelace", "somebody.jpg match Ada Lovelace"]
    with running([sys.executable, "-c", follow], folder, **environment) as lines:
        assert [next(lines).split()[1] for _ in range(4)] == ["enrolled", "match", "match", "match"]


@pytest.mark.parametrize("page", ["python.md", "results.md"])
def test_programs_are_short(repository: Path, page: str) -> None:
    for language in ("python", "bash", "js"):
        for program in blocks(repository / "docs" / page, language):
            lines = [line for line in program.splitlines() if line and not line.startswith(("import ", "from "))]
            assert len(lines) <= 10, program

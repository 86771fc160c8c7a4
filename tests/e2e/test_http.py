"""The HTTP door of `kith up`, with keys as the command line makes them."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.e2e.conftest import Kith, Running, picture, wait_for


@pytest.fixture(scope="module")
def up(pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Kith, Running]]:
    """A stack of its own: the first one in its home."""
    own = Kith(tmp_path_factory.mktemp("door"))
    with own.start("up", "--pack", pack) as running:
        running.until("Ctrl-C ends it")
        yield own, running
        assert running.end() == 0, running.lines


def told(running: Running, word: str) -> str:
    [line] = [line.split() for line in running.lines if line.split()[:1] == [word]]
    return line[1]


def url_of(running: Running) -> str:
    return told(running, "api").removesuffix("/v1,")


def test_the_first_key_is_shown_once_and_opens_everything(up: tuple[Kith, Running], tmp_path: Path) -> None:
    kith, running = up
    headers = {"x-api-key": told(running, "key")}
    ada = picture(tmp_path / "ada.png", 1)
    form = {"kind": "enrol", "subject": "Ada", "content": "aligned"}

    answer = httpx.post(
        f"{url_of(running)}/v1/jobs?wait=30", data=form, files={"images": ada.read_bytes()}, headers=headers
    )

    assert answer.status_code == 200, answer.text
    assert answer.json()["decisions"][0]["outcome"] == "enrolled"
    browser = httpx.Client(base_url=told(running, "pages"), headers={"origin": url_of(running)}, follow_redirects=True)
    with browser:
        page = browser.post("/sign-in", data={"key": headers["x-api-key"], "next": "/gallery/default"})
    assert "Ada" in page.text
    [key] = kith("apikeys", "list", "--json").lines
    assert (key["name"], key["scopes"]) == ("first", ["admin"])
    assert headers["x-api-key"] not in kith("apikeys", "list", "--json").out


def test_a_key_is_made_rotated_and_revoked(up: tuple[Kith, Running]) -> None:
    kith, running = up
    made = kith("apikeys", "create", "door-3", "-s", "submit", "-g", "staff", "--expires", "90d", "--json").json

    def status(token: str) -> int:
        headers = {"authorization": f"Bearer {token}"}
        return httpx.get(f"{url_of(running)}/v1/jobs/{'0' * 32}", headers=headers).status_code

    assert status(made["token"]) == 404
    rotated = kith("apikeys", "rotate", made["key_id"], "--grace", "0s", "--json").json
    assert status(rotated["token"]) == 404
    wait_for(lambda: status(made["token"]) == 401, "the former secret ends", 20)
    assert kith("apikeys", "revoke", made["key_id"]).out == f"key {made['key_id']} (door-3) is revoked\n"
    wait_for(lambda: status(rotated["token"]) == 401, "the key ends", 20)
    actions = [entry["action"] for entry in kith("audit", "--json").lines]
    assert actions[-3:] == ["api_key_created", "api_key_rotated", "api_key_revoked"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["create", "x", "-s", "fly"], "fly"),
        (["create", "x", "-s", "read", "-g", "No Such"], "a-z"),
        (["create", "x", "-s", "read", "--expires", "soon"], "90d"),
        (["rotate", "000000000000"], "no API key 000000000000"),
        (["revoke", "000000000000"], "kith apikeys list"),
    ],
)
def test_what_is_wrong_about_a_key_is_said(up: tuple[Kith, Running], arguments: list[str], said: str) -> None:
    kith, _ = up
    status = 1 if "00000" in arguments[-1] or "No Such" in arguments else 2

    assert said in kith("apikeys", *arguments, status=status).err


def test_a_door_that_is_killed_is_opened_again_and_refuses_nobody_meanwhile(up: tuple[Kith, Running]) -> None:
    kith, running = up
    [door] = [each for each in psutil.process_iter() if _is_door(each, kith)]
    os.kill(door.pid, signal.SIGKILL)

    # The socket is the stack's: whoever calls now waits.
    assert httpx.get(f"{url_of(running)}/healthz", timeout=60).json() == {"status": "ok"}
    running.until("api-1 ended")


def test_a_port_that_is_taken_is_told_and_the_rest_is_up(up: tuple[Kith, Running], pack: Path, tmp_path: Path) -> None:
    _, running = up
    port = url_of(running).rpartition(":")[2]
    other = Kith(tmp_path / "other")
    with other.start("up", "--pack", pack, KITH_API__PORT=port) as second:
        second.until("Ctrl-C ends it")
        assert any("the HTTP door stays shut" in line and port in line for line in second.lines)
        assert second.end() == 0
    said = other("api", "--port", port, status=69).err
    assert "kith up" in said


def _is_door(process: psutil.Process, kith: Kith) -> bool:
    try:
        return "producers.api" in process.cmdline() and process.environ().get("KITH_HOME") == str(kith.home)
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return False


def test_several_processes_share_a_port_and_a_key(up: tuple[Kith, Running]) -> None:
    kith, running = up
    key = kith("apikeys", "create", "many", "-s", "read", "--json").json["token"]
    with kith.start("api", "--port", "0", KITH_API__PROCESSES="2") as many:
        many.until("serving on")
        [line] = [line for line in many.lines if "serving on" in line]
        port = line.partition("('127.0.0.1', ")[2].partition(")")[0]
        wait_for(lambda: len(psutil.Process(many.process.pid).children(recursive=True)) >= 2, "two processes")
        for _ in range(10):
            answer = httpx.get(f"http://127.0.0.1:{port}/v1/galleries", headers={"x-api-key": key}, timeout=30)
            assert answer.status_code == 200
        assert many.end() == 0
    assert url_of(running) not in line

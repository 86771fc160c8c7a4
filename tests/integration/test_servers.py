"""The servers other tests rely on: durable where they should be, on loopback only, and gone with the test run."""

import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

import kombu
import psutil
import pytest

from tests.servers.processes import MissingComponent, need
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.radosgw import Radosgw

# A pytest, as it were, that is killed while its servers run.
DOOMED = """
import os, sys
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.radosgw import Radosgw
Radosgw().start_all()
RabbitMQ().start()
print("up", flush=True)
sys.stdin.read()
"""


def family(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def living(processes: list[psutil.Process]) -> list[str]:
    """Names of those that run; a zombie has ended and waits for a parent that may be slow to look."""
    alive = []
    for process in processes:
        try:
            if process.status() != psutil.STATUS_ZOMBIE:
                alive.append(process.name())
        except psutil.NoSuchProcess:
            continue
    return alive


def test_a_killed_test_run_leaves_no_server_behind(radosgw: Radosgw, rabbitmq: RabbitMQ, repository: Path) -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", DOOMED], cwd=repository, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert run.stdin is not None
    assert run.stdout is not None
    with run.stdin, run.stdout:
        assert run.stdout.readline() == "up\n"
        servers = family(run.pid)
        assert {"ceph-mon", "ceph-osd", "radosgw", "epmd", "beam.smp"} <= {process.name() for process in servers}
        run.kill()
        run.wait()
    deadline = time.monotonic() + 5
    while (left := living(servers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == []


def test_servers_listen_on_loopback_only(radosgw: Radosgw, rabbitmq: RabbitMQ) -> None:
    listening = {
        (process.name(), connection.laddr.ip)
        for process in family(os.getpid())
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert {"ceph-mon", "ceph-osd", "radosgw", "beam.smp", "epmd"} <= {name for name, _ in listening}
    assert {address for _, address in listening} <= {"127.0.0.1", "::1"}


@pytest.mark.parametrize("kill", [False, True])
def test_a_confirmed_message_survives_the_broker(rabbitmq: RabbitMQ, kill: bool) -> None:
    name, body = f"q{uuid.uuid4().hex}", uuid.uuid4().hex
    options = {"confirm_publish": True}
    with kombu.Connection(rabbitmq.url, transport_options=options) as before, before.SimpleQueue(name) as queue:
        queue.put(body)
    rabbitmq.restart(kill=kill)
    with kombu.Connection(rabbitmq.url) as after:
        with after.SimpleQueue(name) as queue:
            message = queue.get(timeout=10)
            assert message.payload == body
            message.ack()
        after.default_channel.queue_delete(name)


def test_a_missing_program_is_named_with_what_installs_it() -> None:
    with pytest.raises(MissingComponent, match=r"no-such-server not found; run tests/servers/install.*rabbitmq-server"):
        need("sh", "no-such-server", package="rabbitmq-server")


def test_the_installer_is_silent_when_nothing_is_to_do(radosgw: Radosgw, rabbitmq: RabbitMQ, repository: Path) -> None:
    done = subprocess.run(
        [repository / "tests/servers/install"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_installer_names_what_it_may_not_install_and_succeeds(repository: Path, tmp_path: Path) -> None:
    # No package is installed and there is no apt-get, as on a machine that is not Debian.
    for tool in ("bash", "env"):
        (tmp_path / tool).symlink_to(f"/usr/bin/{tool}")
    done = subprocess.run(
        ["/usr/bin/env", f"PATH={tmp_path}", "bash", str(repository / "tests/servers/install")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    assert "there is no apt-get here; missing: ceph-mon ceph-osd radosgw ceph-common rabbitmq-server" in done.stderr

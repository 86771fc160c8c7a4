"""A real RabbitMQ of one's own: node, port mapper, files and cookie apart from any other on the machine."""

import os
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Self

import amqp

from tests.servers.processes import free_port, listens, need, spawn, stop, wait_until

#: Debian's programs on PATH change to the user rabbitmq and write to /var; these do neither.
_BIN = Path("/usr/lib/rabbitmq/bin")


class RabbitMQ:
    """Starts on `with` or `start`, in about 5 s. `stop` keeps the files: durable queues are there after `start`."""

    def __init__(self) -> None:
        self.port, self._dist_port, self._epmd_port = free_port(), free_port(), free_port()
        self._password = secrets.token_hex(8)
        self._home: Path | None = None
        self._epmd: subprocess.Popen[bytes] | None = None
        self._node: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """`amqp://` URL with its password, for Celery and kombu."""
        return f"amqp://kith:{self._password}@127.0.0.1:{self.port}//"

    def start(self) -> None:
        """Start the node and wait until it takes logins. Raises MissingComponent or ServerFailed."""
        need(str(_BIN / "rabbitmq-server"), package="rabbitmq-server")
        need("epmd", "erl", package="erlang-base")
        need("setpriv", package="util-linux")
        if self._home is None:
            self._home = Path(tempfile.mkdtemp(prefix="kith-amqp-"))
            (self._home / "rabbitmq.conf").write_text(
                f"listeners.tcp.1 = 127.0.0.1:{self.port}\ndefault_user = kith\ndefault_pass = {self._password}\n"
                # The suite shares its machine's disk; a nearly full one must not silently stop publishers.
                "disk_free_limit.absolute = 1MB\n"
            )
            for name in ("plugins", "env"):
                (self._home / name).write_text("[].\n" if name == "plugins" else "")
        if self._epmd is None:
            # Ours, in the foreground: the one a node starts for itself would outlive it, and the whole run.
            epmd = ["epmd", "-address", "127.0.0.1", "-port", str(self._epmd_port)]
            self._epmd = spawn(epmd, self._log, self._environment())
            wait_until(lambda: listens(self._epmd_port), "epmd", [self._epmd], self._log)
        self._node = spawn([str(_BIN / "rabbitmq-server")], self._log, self._environment())
        wait_until(self._takes_logins, "RabbitMQ", [self._node], self._log)

    def stop(self, *, kill: bool = False) -> None:
        """End the node in order, or like a power cut; the files stay."""
        stop(self._node, grace_s=0 if kill else 20)

    def restart(self, *, kill: bool = False) -> None:
        """Away and back again, on the same port and files."""
        self.stop(kill=kill)
        self.start()

    def close(self) -> None:
        """End everything and remove the files."""
        stop(self._node, grace_s=0)
        stop(self._epmd, grace_s=0)
        self._node = self._epmd = None
        if self._home is not None:
            shutil.rmtree(self._home, ignore_errors=True)
            self._home = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _log(self) -> Path:
        assert self._home is not None, "not started"
        return self._home / "console.log"

    def _environment(self) -> dict[str, str]:
        home = self._log.parent
        return {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": str(home),
            "LANG": "C.UTF-8",
            # With it the start script becomes the node (as under systemd) instead of its parent, and a kill meant for
            # the one reaches the other. Nobody needs to listen there.
            "NOTIFY_SOCKET": str(home / "nobody"),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "RABBITMQ_NODENAME": f"kith-{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            # Schedulers that do not spin leave the machine to the tests; nodes, too, are spoken to on loopback only.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none -kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_CONF_ENV_FILE": str(home / "env"),
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
            "RABBITMQ_LOG_BASE": str(home / "logs"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(home / "pid"),
        }

    def _takes_logins(self) -> bool:
        if not listens(self.port):
            return False
        try:
            with amqp.Connection(f"127.0.0.1:{self.port}", userid="kith", password=self._password, connect_timeout=5):
                return True
        except (OSError, amqp.exceptions.AMQPError):
            return False

"""What docker-compose.yml starts, started here: its commands, variables, secrets as files and health checks, each in a
Python that sees the packages of its image alone. Only host names, ports and folders are others."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.integration.compose_manifest import ROOT, installed_by, services, variables
from tests.integration.only_installed import hiding_all_but
from tests.servers import processes

#: One of each: a second embed worker needs a host name of its own, which a container has and this machine has not.
ROLES = ("embed", "publish", "upkeep", "watch", "outward", "camera", "api")


@dataclass
class Deployment:
    """The services of the manifest that run our code, as processes.

    home: folders and logs of all. moved: variables that are others here than in the containers.
    """

    home: Path
    moved: dict[str, str]
    services: dict[str, Any] = field(default_factory=services)
    ports: dict[str, int] = field(default_factory=dict)
    running: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    def start(self) -> None:
        for role in ROLES:
            self.ports[role] = processes.free_port()
        self.ports["door"] = processes.free_port()
        for role in ROLES:
            command = self._here(self.services[role]["command"])
            self.running[role] = processes.spawn(command, self.log(role), self.environment(role))
        for role in ROLES:
            ready = lambda role=role: self.healthy(role)  # noqa: E731
            processes.wait_until(ready, role, [self.running[role]], self.log(role), 90)

    def stop(self) -> dict[str, int]:
        """SIGTERM to all; the exit status of each, within its own grace."""
        for process in self.running.values():
            process.send_signal(signal.SIGTERM)
        grace_s = {role: int(self.services[role]["stop_grace_period"].removesuffix("s")) for role in ROLES}
        return {role: process.wait(grace_s[role]) for role, process in self.running.items()}

    def healthy(self, role: str) -> bool:
        kind, *command = self.services[role]["healthcheck"]["test"]
        assert kind == "CMD"
        return self._run(role, self._here(command)).returncode == 0

    def kith(self, *arguments: str) -> str:
        """What `docker compose run --rm kith ARGUMENTS…` prints."""
        assert self.services["kith"]["entrypoint"] == ["kith"]
        program = "import sys, kith.cli; sys.argv[0] = 'kith'; kith.cli.main()"
        done = self._run("kith", [sys.executable, "-c", program, *arguments])
        assert done.returncode == 0, done.stderr
        return done.stdout

    def environment(self, role: str) -> dict[str, str]:
        """Of the process of this service. Nothing of this machine's own settings is left in it."""
        service = self.services[role]
        inherited = {name: text for name, text in os.environ.items() if not name.startswith("KITH_")}
        target = service["build"]["target"]
        return (
            inherited
            | variables(service)
            | {name: text for name, text in self.moved.items() if name in variables(service)}
            | {"KITH_METRICS__LISTEN": f"127.0.0.1:{self.ports.get(role, 0)}"}
            | hiding_all_but(installed_by(f"build-{target}"), self.home / "hides")
        )

    def shell(self, role: str, port: int, own_port: int) -> list[str]:
        """Its command that is a line for a shell, with this Python, its secrets here, `own_port` in place of `port`."""
        shell, flag, line = self.services[role]["command"]
        for there, here in (
            ("$$", "$"),
            ("/run/secrets", self.moved["KITH_SECRETS_DIR"]),
            (f"={port}", f"={own_port}"),
            ("exec celery", f"exec {sys.executable} -m celery"),
        ):
            assert there in line
            line = line.replace(there, here)
        return [shell, flag, line]

    def log(self, role: str) -> Path:
        return self.home / f"{role}.log"

    def _run(self, role: str, command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command, cwd=ROOT, env=self.environment(role), capture_output=True, text=True, check=False
        )

    def _here(self, command: Sequence[str]) -> list[str]:
        """The command with this Python and, for the door, a port that is free here."""
        assert command[0] == "python"
        return [sys.executable, *(re.sub(r"\b8600\b", str(self.ports["door"]), word) for word in command[1:])]

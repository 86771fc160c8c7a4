"""The embedded server is reached by a Unix socket however deep its home lies."""

import tempfile
from pathlib import Path

import pytest
import redis

from kith.backends.valkey_embedded import EmbeddedValkey

DEEP = "a" * 60


@pytest.mark.parametrize("temporary", ["short", "deep"])
def test_a_home_too_deep_for_a_socket_has_it_among_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, temporary: str
) -> None:
    home, short = tmp_path / DEEP / DEEP / "home", tempfile.mkdtemp(prefix="kith-test-", dir="/tmp")
    (tmp_path / DEEP).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", short if temporary == "short" else str(tmp_path / DEEP))
    with EmbeddedValkey(home) as server, redis.Redis.from_url(server.url) as client:
        socket = Path(client.get_connection_kwargs()["path"])
        assert client.ping()
        assert len(str(socket)) < 108
        assert str(socket).startswith(f"{short}/" if temporary == "short" else "/tmp/kith-")
        assert socket.parent.stat().st_mode & 0o777 == 0o700
        # A second starter finds the same one.
        with EmbeddedValkey(home) as joined:
            assert joined.url == server.url
            assert not joined.owned
    assert not socket.parent.exists()
    Path(short).rmdir()

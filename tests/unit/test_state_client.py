"""How the state is connected to."""

import pytest
from pydantic import SecretStr

from kith.backends.connect import redis_client
from kith.settings import Redis, Settings


@pytest.mark.parametrize(("protocol", "parser"), [(2, "_RESP2Parser"), (3, "_RESP3Parser")])
def test_replies_are_read_by_redis_py_itself_whatever_else_is_installed(protocol: int, parser: str) -> None:
    """hiredis keeps what it has read, vectors too, where no forget reaches it."""
    url = SecretStr(f"redis://127.0.0.1:1/0?protocol={protocol}")
    client = redis_client(Settings(redis=Redis(url=url)))
    # Asked for by name: without hiredis it would be the default all the same.
    assert client.get_connection_kwargs()["parser_class"].__name__ == "_RESP2Parser"
    assert type(client.connection_pool.make_connection()._parser).__name__ == parser

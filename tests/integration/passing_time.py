"""Time passes for the ledger without anybody waiting: everything it knows becomes older."""

import redis


def let_pass(client: redis.Redis, prefix: str, seconds: float) -> None:
    """Make all that the ledger under `prefix` holds `seconds` older; heartbeats that would have expired are gone."""
    by_ms = round(seconds * 1000)
    for key in list(client.scan_iter(f"{prefix}:*")):
        kind = client.type(key)
        name = key.decode().removeprefix(f"{prefix}:")
        if kind == b"zset" and (name == "due" or name.startswith("waiting:")):
            for member in client.zrange(key, 0, -1):
                client.zincrby(key, -by_ms, member)
        elif kind == b"hash" and name.startswith("job:"):
            for field in ("sent", "started"):
                if client.hexists(key, field):
                    client.hincrby(key, field, -by_ms)
        elif name.startswith("started:"):
            client.decrby(key, by_ms)
        elif name.startswith("worker:"):
            left_ms = client.pttl(key) - by_ms
            client.pexpire(key, left_ms) if left_ms > 0 else client.delete(key)

"""Every exception of redis-py becomes one of Kith's where it enters, so that nobody above a backend knows redis-py."""

from collections.abc import Iterator
from contextlib import contextmanager

from redis import exceptions as redis_py

from kith.errors import StateFull, StateUnavailable

#: The roots of redis-py's tree; it has several, and newer versions have more of them than older ones.
_ROOTS = (
    redis_py.RedisError,
    redis_py.RedisClusterException,
    redis_py.ChildDeadlockedError,
    getattr(redis_py, "IncorrectPolicyType", redis_py.RedisError),
)

#: How a server begins the reply with which it refuses a write: no memory; no room to save what it was given.
_FULL = ("OOM", "MISCONF")


@contextmanager
def mapped_redis_errors(where: str) -> Iterator[None]:
    """Around calls of redis-py; also a decorator. where: what was being done, it begins the message.

    Raises StateFull when the server refuses writes, StateUnavailable for everything else. That includes wrong
    credentials and replies that should not be: both are the installation's fault or ours, and the job in hand, which is
    fine, must survive until they are mended.
    """
    try:
        yield
    except _ROOTS as fault:
        text = " ".join(str(fault).split()) or type(fault).__name__
        if refuses_writes(fault):
            raise StateFull(
                f"{where}: Redis refuses writes ({text}); free memory or disk, or raise maxmemory"
            ) from fault
        raise StateUnavailable(f"{where}: {text}") from fault


def refuses_writes(fault: Exception) -> bool:
    """Whether this is how a server says that it has no room."""
    # redis-py cuts the first word off some replies it knows, and in a pipeline puts its own words before others.
    return isinstance(fault, redis_py.OutOfMemoryError) or any(word in str(fault).split() for word in _FULL)

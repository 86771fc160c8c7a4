"""Which installation a command or producer talks to when nobody says: the one `kith up` runs on this machine.

A Redis named explicitly (KITH_REDIS__URL, or `redis.url` in the configuration file) is that installation. Without one,
it is the local stack in `home`, and the whole rest (its socket, its directory of images) follows from there.
"""

import os
import socket
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

from kith.errors import StateUnavailable
from kith.settings import Redis, Settings, load
from kith.stack import local_settings

#: Longest wait for a local server to accept a connection: it either listens or it does not.
_KNOCK_S = 1.0


def settings_of(config: Path | None = None, home: Path | None = None) -> Settings:
    """The settings of the installation meant.

    home: a local stack's, named on the command line; it beats a Redis named in the environment, because it was typed
    for this one command. Raises Misconfigured.
    """
    settings = load(config)
    if home is None and names_redis(settings, config):
        return settings
    return local_settings(settings, home)


def names_redis(settings: Settings, config: Path | None = None) -> bool:
    """Whether somebody named a Redis, even if only to repeat the default."""
    if settings.redis.url != Redis().url:
        return True
    # The values cannot tell, and pydantic counts a section's defaults as set once one of its knobs is.
    if any(name.upper() == "KITH_REDIS__URL" for name in os.environ):
        return True
    named = config or (Path(os.environ["KITH_CONFIG"]) if os.environ.get("KITH_CONFIG") else None)
    return named is not None and "url" in tomllib.loads(named.read_text()).get("redis", {})


def check_running(settings: Settings) -> None:
    """Raises StateUnavailable when `settings` mean a server on this machine that is not up.

    At once and with the remedy, where a client would spend its retries first and then name a socket nobody has heard
    of.
    """
    url = urlsplit(settings.redis.url.get_secret_value())
    if url.scheme != "unix":
        return
    with socket.socket(socket.AF_UNIX) as knock:
        knock.settimeout(_KNOCK_S)
        try:
            knock.connect(url.path)
        except OSError:
            raise StateUnavailable(f"nothing runs in {settings.home}; start it with `kith up`") from None

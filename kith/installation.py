"""Which installation a command or producer talks to when nobody says: the one `kith up` runs on this machine.

A Redis named explicitly (KITH_REDIS__URL, or `redis.url` in the configuration file) is that installation. Without one,
it is the local stack in `home`, and the whole rest (its socket, its directory of images) follows from there.
"""

import socket
from pathlib import Path
from urllib.parse import urlsplit

from kith.errors import StateUnavailable
from kith.settings import Settings, load
from kith.settings_sources import gather
from kith.stack import local_settings

#: Longest wait for a local server to accept a connection: it either listens or it does not.
_KNOCK_S = 1.0


def settings_of(config: Path | None = None, home: Path | None = None) -> Settings:
    """The settings of the installation meant.

    home: a local stack's, named on the command line; it beats a Redis named in the environment, because it was typed
    for this one command. Raises Misconfigured.
    """
    settings = load(config)
    if home is None and names_redis(config):
        return settings
    return local_settings(settings, home)


def names_redis(config: Path | None = None) -> bool:
    """Whether somebody named a Redis, in any place settings come from, even if only to repeat the default."""
    # The values cannot tell, and pydantic counts a section's defaults as set once one of its knobs is.
    named = gather(config, frozenset(Settings.model_fields)).values.get("redis")
    return isinstance(named, dict) and "url" in named


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

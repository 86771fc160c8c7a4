"""Kith from Python over HTTP: an installation elsewhere, known by an address and an API key.

    from kith.remote.client import Client                 with Client("https://kith.example", KEY) as kith: …
    from kith.remote.async_client import AsyncClient      async with AsyncClient("https://kith.example", KEY) as kith: …

Both have the verbs of kith.client and its dataclasses; neither needs Redis, a broker or an image store to be reachable.
"""

from importlib.util import find_spec

if find_spec("httpx") is None:
    raise ModuleNotFoundError("kith.remote needs httpx: pip install 'kith[http]'", name="httpx")

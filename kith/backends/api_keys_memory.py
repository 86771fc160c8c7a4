"""API keys within one process: for tests, and for what runs without Redis."""

import threading
from collections.abc import Callable

from kith.api_keys import ApiKey
from kith.errors import UnknownApiKey


class MemoryApiKeys:
    """Implements kith.api_keys.ApiKeys."""

    def __init__(self) -> None:
        self._keys: dict[str, ApiKey] = {}
        self._lock = threading.Lock()

    def add(self, key: ApiKey) -> None:
        with self._lock:
            self._keys[key.key_id] = key

    def get(self, key_id: str) -> ApiKey:
        try:
            return self._keys[key_id]
        except KeyError:
            raise UnknownApiKey(f"there is no API key {key_id} (kith apikeys list)") from None

    def all(self) -> list[ApiKey]:
        return sorted(self._keys.values(), key=lambda key: (key.created_ms, key.key_id))

    def change(self, key_id: str, change: Callable[[ApiKey], ApiKey]) -> ApiKey:
        with self._lock:
            self._keys[key_id] = change(self.get(key_id))
            return self._keys[key_id]

"""The key service behind the setting `security.kms`: somebody's code, held to the contract of kith.keys.KeyWrapper."""

import functools
import importlib
from collections.abc import Callable
from typing import Any

from kith.errors import KeysUnavailable, KithError, Misconfigured
from kith.keys import SECRET_BYTES, KeyWrapper


def open_wrapper(source: str) -> "GuardedWrapper":
    """The wrapper that `package.module:callable` returns. Runs that code. Raises Misconfigured, KeysUnavailable."""
    module_name, _, attribute = source.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as fault:
        # Whatever that code raises: it is somebody's own, and runs here for the first time.
        raise Misconfigured(f"security.kms: {source} cannot be loaded: {type(fault).__name__}: {fault}") from fault
    if not callable(found):
        raise Misconfigured(f"security.kms: {source} is no callable that returns a key service")
    made = _asked("opening the key service", found)
    lacking = [verb for verb in ("wrap", "unwrap") if not callable(getattr(made, verb, None))]
    if lacking:
        raise Misconfigured(
            f"security.kms: what {source} returns has no {' and no '.join(lacking)} (kith.keys.KeyWrapper)"
        )
    return GuardedWrapper(made)


class GuardedWrapper:
    """Implements kith.keys.KeyWrapper around one: its errors become Kith's, and what it answers is checked."""

    def __init__(self, wrapper: KeyWrapper) -> None:
        self._wrapper = wrapper

    def wrap(self, gallery: str, secret: bytes) -> bytes:
        """Wrapped, and proven to come back: a key that only seems to be kept would lose the gallery."""
        wrapped = _asked(f"wrapping a key of {gallery}", lambda: self._wrapper.wrap(gallery, secret))
        if not isinstance(wrapped, bytes) or secret in wrapped:
            raise Misconfigured(f"the key service did not encrypt a key of {gallery}; security.kms names the wrong one")
        if self.unwrap(gallery, wrapped) != secret:
            raise Misconfigured(f"the key service does not give back the key of {gallery} that it wrapped")
        return wrapped

    def unwrap(self, gallery: str, wrapped: bytes) -> bytes:
        secret = _asked(f"unwrapping a key of {gallery}", lambda: self._wrapper.unwrap(gallery, wrapped))
        if not isinstance(secret, bytes) or len(secret) != SECRET_BYTES:
            raise Misconfigured(f"the key service did not give back a key of {gallery}: not {SECRET_BYTES} bytes")
        return secret


class NamedWrapper:
    """Implements kith.keys.KeyWrapper by the one that `package.module:callable` returns, opened at first use: most
    commands have nothing to ask it."""

    def __init__(self, source: str) -> None:
        self._source = source

    @functools.cached_property
    def _opened(self) -> GuardedWrapper:
        return open_wrapper(self._source)

    def wrap(self, gallery: str, secret: bytes) -> bytes:
        return self._opened.wrap(gallery, secret)

    def unwrap(self, gallery: str, wrapped: bytes) -> bytes:
        return self._opened.unwrap(gallery, wrapped)


def _asked(doing: str, ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except KithError:
        raise
    except Exception as fault:
        # Its kind alone: nobody knows what the words of somebody else's exception hold.
        raise KeysUnavailable(f"{doing}: {type(fault).__name__} (kith --debug … shows where)") from fault

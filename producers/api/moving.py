"""Moves of galleries to other models that this process works on. What was done stands with the gallery, so a process
that ends loses nothing: whoever asks for the move again goes on with what is missing."""

import logging
import threading

from kith.client import Client
from kith.errors import KithError
from kith.migrating import Migrator

_log = logging.getLogger("kith.api")

#: Seconds without any progress after which a move is given up, until somebody asks for it again.
_PATIENCE_S = 120.0


class Moving:
    """At most one thread for each gallery."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._working: set[str] = set()
        self._faults: dict[str, str] = {}

    def begin(self, client: Client, gallery: str, model_id: str) -> bool:
        """Embed what is missing, in a thread; False where one is at it already."""
        with self._lock:
            if gallery in self._working:
                return False
            self._working.add(gallery)
            self._faults.pop(gallery, None)
        threading.Thread(target=self._work, args=(client, gallery, model_id), name="move", daemon=True).start()
        return True

    def works_on(self, gallery: str) -> bool:
        """Whether this process embeds for it now."""
        return gallery in self._working

    def fault(self, gallery: str) -> str | None:
        """Why the last attempt here ended before its time."""
        return self._faults.get(gallery)

    def _work(self, client: Client, gallery: str, model_id: str) -> None:
        try:
            migrator_of(client, gallery).embed(model_id)
        except KithError as stopped:
            _log.warning("the move of gallery %s stopped: %s", gallery, stopped.reason)
            self._faults[gallery] = stopped.reason
        finally:
            with self._lock:
                self._working.discard(gallery)


def migrator_of(client: Client, gallery: str) -> Migrator:
    """For one gallery, with the client's parts."""
    return Migrator(client.galleries, client.migrations, client.intake, client.ledger, gallery, patience_s=_PATIENCE_S)

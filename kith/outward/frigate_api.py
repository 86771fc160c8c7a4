"""Frigate's HTTP API as far as it is used: a snapshot of an event, and its sub label.

Source: Frigate's documentation, docs/integrations/api: GET /api/events/ID/snapshot.jpg, POST /api/events/ID/sub_label,
POST /api/login. Port 5000 asks nobody who one is; port 8971 wants the cookie that a login gives.
"""

import json
import threading
from base64 import b64encode
from typing import Any
from urllib.parse import unquote, urlsplit

from kith.errors import ImageTooLarge, Misconfigured
from kith.outward.errors import DeliveryRefused, ReceiverAway
from kith.outward.exchange import Answer, exchange
from kith.outward.knobs import Frigate

#: Of a sub label; before 0.14 it was the shorter.
_MOST_LETTERS, _FEW_LETTERS = 100, 20


class FrigateApi:
    """image_bytes: no snapshot has more. Safe to use from many threads. Raises Misconfigured for an address that is
    none."""

    def __init__(self, knobs: Frigate, image_bytes: int) -> None:
        assert knobs.url is not None
        self._knobs, self._image_bytes = knobs, image_bytes
        self._parts = urlsplit(knobs.url.get_secret_value())
        try:
            usable = self._parts.hostname is not None and self._parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise Misconfigured("frigate.url is not http:// or https:// with a host")
        self._lock = threading.Lock()
        self._cookie = ""
        # Of a proxy in front of it.
        user, password = unquote(self._parts.username or ""), unquote(self._parts.password or "")
        self._basic = b64encode(f"{user}:{password}".encode()).decode() if user else ""

    def snapshot(self, event_id: str) -> bytes | None:
        """The best picture of the person so far, cut out of the frame; None when there is none. Raises ReceiverAway,
        ImageTooLarge."""
        path = f"/api/events/{event_id}/snapshot.jpg?crop=1&quality=95&bbox=0&timestamp=0"
        answer = self._ask("GET", path, most_bytes=self._image_bytes)
        if not answer.whole:
            raise ImageTooLarge(f"the snapshot of {event_id} has more than {self._image_bytes} bytes")
        if answer.status == 200:
            return answer.data or None
        if answer.status == 404:
            return None
        raise ReceiverAway(f"Frigate answered {answer.status} for a snapshot", status=answer.status)

    def set_sub_label(self, event_id: str, name: str, score: float) -> None:
        """Say who it is. score: above 0, at most 1. Raises ReceiverAway, DeliveryRefused."""
        for letters in (_MOST_LETTERS, _FEW_LETTERS):
            body = {"subLabel": name[:letters], "subLabelScore": min(1.0, max(0.01, round(score, 2)))}
            answer = self._ask("POST", f"/api/events/{event_id}/sub_label", body)
            if 200 <= answer.status < 300:
                return
            if answer.status not in (400, 422) or len(name) <= letters:
                break
        fault = f"Frigate answered {answer.status} for a sub label"
        if answer.status in (401, 403):
            raise ReceiverAway(f"{fault}: frigate.username is to be an admin there", status=answer.status)
        if 400 <= answer.status < 500 and answer.status not in (408, 429):
            raise DeliveryRefused(fault, status=answer.status)
        raise ReceiverAway(fault, status=answer.status)

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None, most_bytes: int = 4096) -> Answer:
        answer = self._exchange(method, path, body, most_bytes)
        if answer.status == 401 and self._knobs.username:
            self._login()
            answer = self._exchange(method, path, body, most_bytes)
        return answer

    def _login(self) -> None:
        with self._lock:
            given = {"user": self._knobs.username, "password": self._knobs.password.get_secret_value()}
            answer = self._exchange("POST", "/api/login", given, 4096)
            cookie = {name.lower(): value for name, value in answer.headers.items()}.get("set-cookie", "")
            if answer.status != 200 or not cookie:
                raise ReceiverAway(f"Frigate answered {answer.status} for a login; see frigate.username")
            self._cookie = cookie.partition(";")[0]

    def _exchange(self, method: str, path: str, body: dict[str, Any] | None, most_bytes: int) -> Answer:
        headers = {"Cookie": self._cookie} if self._cookie else {}
        if self._basic:
            headers["Authorization"] = f"Basic {self._basic}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            return exchange(
                self._parts,
                method,
                self._parts.path.rstrip("/") + path,
                timeout_s=self._knobs.timeout_s,
                body=b"" if body is None else json.dumps(body).encode(),
                headers=headers,
                most_bytes=most_bytes,
            )
        except ReceiverAway as away:
            raise ReceiverAway(f"Frigate: {away}") from None

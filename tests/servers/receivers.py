"""Receivers of webhooks, and Frigate's API, as small real HTTP servers on loopback."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Got:
    """One request."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """What is answered; after_s: when. headers: beside those of the body."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    after_s: float = 0.0


class Server:
    """Answers as it is told. got: all requests, in the order in which they came."""

    def __init__(self, answer: Callable[[Got], Reply] = lambda _: Reply()) -> None:
        self.answer = answer
        self.got: list[Got] = []
        outer, lock = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                request = Got(self.command, self.path, dict(self.headers.items()), body)
                with lock:
                    outer.got.append(request)
                reply = outer.answer(request)
                time.sleep(reply.after_s)
                self.send_response(reply.status)
                for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply.body)

            do_GET = do_POST = _serve  # noqa: N815 (the names http.server looks for)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def served(answer: Callable[[Got], Reply] = lambda _: Reply()) -> Iterator[Server]:
    """A server for as long as it is needed."""
    server = Server(answer)
    try:
        yield server
    finally:
        server.close()


class Frigate:
    """Its API as documented (docs/integrations/api), of events that are said to be there. Where users are given, who
    does not log in is answered 401, and who is no admin 403."""

    def __init__(self, users: Mapping[str, tuple[str, str]] | None = None) -> None:
        #: Snapshots by event.
        self.snapshots: dict[str, bytes] = {}
        #: Sub labels by event, with their scores.
        self.labels: dict[str, tuple[str, float]] = {}
        self.longest = 100
        #: User → password, role.
        self._users = users or {}

    def answer(self, got: Got) -> Reply:
        """What it answers."""
        path = got.path.partition("?")[0].split("/")
        if path[1:] == ["api", "login"]:
            return self._login(got.json)
        role = self._role(got.headers)
        if role is None:
            return Reply(401)
        match got.method, path[1:]:
            case "GET", ["api", "events", event_id, "snapshot.jpg"]:
                found = self.snapshots.get(event_id)
                return Reply(404) if found is None else Reply(200, found, {"Content-Type": "image/jpeg"})
            case "POST", ["api", "events", event_id, "sub_label"]:
                return self._sub_label(event_id, got.json) if role == "admin" else Reply(403)
        return Reply(404)

    def _login(self, given: Any) -> Reply:
        known = self._users.get(given.get("user"))
        if known is None or known[0] != given.get("password"):
            return Reply(401)
        return Reply(200, b"", {"Set-Cookie": f"frigate_token={given['user']}; HttpOnly; Path=/; SameSite=Lax"})

    def _role(self, headers: Mapping[str, str]) -> str | None:
        if not self._users:
            return "admin"
        name, _, user = headers.get("Cookie", "").partition("=")
        return self._users[user][1] if name == "frigate_token" and user in self._users else None

    def _sub_label(self, event_id: str, given: Any) -> Reply:
        label, score = given.get("subLabel"), given.get("subLabelScore")
        if not isinstance(label, str) or len(label) > self.longest or not (score is None or 0 < score <= 1):
            return Reply(422, b'{"detail":[]}')
        if event_id not in self.snapshots:
            return Reply(404, json.dumps({"success": False, "message": f"Event {event_id} not found"}).encode())
        self.labels[event_id] = label, score
        said = {"success": True, "message": f"Event {event_id} sub label set to {label}"}
        return Reply(200, json.dumps(said).encode(), {"Content-Type": "application/json"})

"""The small server that Prometheus and supervisors ask: GET /metrics, /healthz, /readyz. No key, nothing to write.

In a thread of its own beside whatever the process does, so that a process that is busy, or still loads its model,
answers all the same.
"""

import errno
import json
import logging
import socket
import socketserver
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from kith.errors import Misconfigured
from kith.metrics.knobs import Address
from kith.metrics.readiness import Readiness

_log = logging.getLogger(__name__)

#: Longest wait for a caller to say what it wants, and to take the answer.
_PATIENCE_S = 10.0
#: Answered at once; further callers are turned away, so that nobody takes the process's threads.
_AT_ONCE = 8


class Answering:
    """Listens from when it is made until `close`. within: how many ports, from that of `address` on, are tried: of a
    door that consists of several processes each takes the first one that is free.

    Raises Misconfigured where none is free, or the host is not this machine.
    """

    def __init__(self, address: Address, registry: CollectorRegistry, readiness: Readiness, within: int = 1) -> None:
        self._server = _listening(address, within)
        self._server.registry, self._server.readiness = registry, readiness
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.25,), name="metrics", daemon=True)
        self._thread.start()
        _log.warning("telling Prometheus at %s", self.url)

    @property
    def url(self) -> str:
        """Of the metrics."""
        host, port = self._server.server_address[:2]
        return f"http://{Address(str(host), int(port))}/metrics"

    def close(self) -> None:
        """Answer nobody any more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def check_room(address: Address | None, ports: int) -> None:
    """Raises Misconfigured unless so many ports, from that of `address` on, are free just now."""
    if address is None or address.port == 0:
        return
    for port in range(address.port, address.port + ports):
        _listening(Address(address.host, port), 1).server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Else two processes could share a port, and Prometheus would hear of the one or the other.
    allow_reuse_port = False
    registry: CollectorRegistry
    readiness: Readiness

    def __init__(self, address: Address, family: socket.AddressFamily) -> None:
        self.address_family = family
        self._room = threading.BoundedSemaphore(_AT_ONCE)
        super().__init__((address.host, address.port), _Handler)

    def server_bind(self) -> None:
        # HTTPServer's asks the name service what this machine is called, and waits for the answer.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = map(str, self.server_address[:2])  # type: ignore[assignment]

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._room.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, *_: Any) -> None:
        # A caller that hung up, or something nobody foresaw: to the log, not to stderr, and never to the caller.
        _log.info("a caller of the metrics was not answered", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "kith", ""
    timeout = _PATIENCE_S

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/metrics":
            self._metrics()
        elif path == "/healthz":
            self._state("ok", self.server.readiness.ailments())
        elif path == "/readyz":
            self._state("ready", self.server.readiness.obstacles())
        else:
            self._answer(HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", b"/metrics, /healthz, /readyz\n")

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *_: Any) -> None:
        """Every few seconds somebody asks; that is no news."""

    def _metrics(self) -> None:
        encode, media_type = choose_encoder(self.headers.get("Accept", ""))
        self._answer(HTTPStatus.OK, media_type, encode(self.server.registry))

    def _state(self, well: str, why: dict[str, str]) -> None:
        told = {"status": f"not {well}", "why": why} if why else {"status": well}
        status = HTTPStatus.SERVICE_UNAVAILABLE if why else HTTPStatus.OK
        self._answer(status, "application/json", json.dumps(told, ensure_ascii=False).encode() + b"\n")

    def _answer(self, status: HTTPStatus, media_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _listening(address: Address, within: int) -> _Server:
    ports = [address.port] if address.port == 0 else range(address.port, min(address.port + within, 65_536))
    try:
        family = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0][0]
        for port in ports[:-1]:
            try:
                return _Server(Address(address.host, port), family)
            except OSError as taken:
                if taken.errno != errno.EADDRINUSE:
                    raise
        return _Server(Address(address.host, ports[-1]), family)
    except OSError as refused:
        raise Misconfigured(
            f"nobody can listen on {address} for Prometheus: {refused.strerror or refused}; give each process on a "
            "machine another port (metrics.listen, KITH_METRICS__LISTEN), 0 for any that is free, or leave it out"
        ) from None

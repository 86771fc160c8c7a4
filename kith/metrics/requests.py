"""Requests to the HTTP door, by the pattern of their address: in addresses stand names of people, so that no address
itself is ever a label."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)
#: Methods that a route can have. Whatever else callers make up is one.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "WEBSOCKET"})
_NO_METHOD = "(other)"


class Requests:
    """Of a process that serves HTTP."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._answered = Counter(
            "kith_http_requests",
            "Requests answered. status: 101 for a WebSocket, 0 where the caller left before the answer.",
            ["method", "route", "status"],
            registry=registry,
        )
        self._latency = Histogram(
            "kith_http_request_latency_seconds",
            "From a request's arrival until its answer began: of one that asks to wait for a decision that wait, of a "
            "stream until it begins, however long it goes on.",
            ["method", "route"],
            buckets=_BUCKETS_S,
            registry=registry,
        )
        self._open = Gauge(
            "kith_http_requests_open",
            "Requests that are being served, streams and sockets included.",
            registry=registry,
        )

    def arrived(self) -> None:
        """A request has come."""
        self._open.inc()

    def answered(self, method: str, route: str, status: int, took_s: float | None) -> None:
        """The same has gone. took_s: until its answer began, None where none did."""
        method = method if method in _METHODS else _NO_METHOD
        self._open.dec()
        self._answered.labels(method, route, status).inc()
        if took_s is not None:
            self._latency.labels(method, route).observe(took_s)

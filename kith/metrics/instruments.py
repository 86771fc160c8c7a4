"""What one process shows of itself: its measurements, whether it is live and ready, and the server that tells so."""

from importlib.metadata import version
from typing import Self

from prometheus_client import CollectorRegistry, GCCollector, Info, PlatformCollector, ProcessCollector
from prometheus_client import disable_created_metrics as leave_out_creation_times

from kith.metrics.answering import Answering
from kith.metrics.knobs import Address
from kith.metrics.readiness import Readiness


class Instruments:
    """registry: where every measurement of the process is entered. readiness: where every check is. Use as a context
    manager.

    One registry for one process suffices: workers are one process with threads (Celery's thread pool), and of several
    processes each has an address of its own. prometheus_client's mode for several processes behind one address, with
    its files that grow with every process that ever was, is not needed.
    """

    def __init__(self, role: str, name: str) -> None:
        # A second sample for each counter and histogram, which says when it was made: the process's start.
        leave_out_creation_times()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry(auto_describe=True)
        self.readiness = Readiness()
        self._answering: Answering | None = None
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        about = Info("kith_process", "What this process is.", registry=self.registry)
        about.info({"role": role, "name": name, "version": version("kith")})

    def listen(self, address: Address | None, within: int = 1) -> Self:
        """Tell whoever asks at `address`; None: nobody. Raises Misconfigured (kith.metrics.answering.Answering)."""
        if address is not None:
            self._answering = Answering(address, self.registry, self.readiness, within)
        return self

    @property
    def url(self) -> str | None:
        """Of the metrics, where somebody is told."""
        return self._answering.url if self._answering else None

    def close(self) -> None:
        """Tell nobody any more."""
        if self._answering is not None:
            self._answering.close()
            self._answering = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

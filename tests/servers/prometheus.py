"""A real Prometheus: Debian's, on loopback, scraping what it is told to every second."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import httpx

from tests.servers.processes import free_port, need, spawn, stop, wait_until


class Prometheus:
    """targets: service → HOST:PORT, all of the job `kith`. Starts on `with`. Raises MissingComponent, ServerFailed."""

    def __init__(self, targets: Mapping[str, str], rules: Sequence[Path] = ()) -> None:
        self.port = free_port()
        self._targets, self._rules = targets, rules
        self._home = Path(tempfile.mkdtemp(prefix="kith-prometheus-"))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        need("prometheus", "promtool", package="prometheus")
        need("setpriv", package="util-linux")
        jobs = [{"targets": [address], "labels": {"service": name}} for name, address in self._targets.items()]
        # JSON is YAML.
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(each) for each in self._rules],
            "scrape_configs": [{"job_name": "kith", "static_configs": jobs}],
        }
        (self._home / "prometheus.yml").write_text(json.dumps(config))
        log = self._home / "log"
        self._process = spawn(
            [
                *("prometheus", f"--config.file={self._home / 'prometheus.yml'}"),
                *(f"--storage.tsdb.path={self._home / 'data'}", f"--web.listen-address=127.0.0.1:{self.port}"),
            ],
            log,
        )
        wait_until(self._ready, "prometheus", [self._process], log)

    def query(self, text: str) -> list[dict[str, Any]]:
        """What it answers. Raises AssertionError where it cannot."""
        answer = httpx.get(f"http://127.0.0.1:{self.port}/api/v1/query", params={"query": text}, timeout=30).json()
        assert answer["status"] == "success", (text, answer)
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def get(self, path: str) -> Any:
        """Data of another part of its API."""
        return httpx.get(f"http://127.0.0.1:{self.port}/api/v1/{path}", timeout=30).json()["data"]

    def close(self) -> None:
        """End it and remove its files."""
        stop(self._process, grace_s=0)
        shutil.rmtree(self._home, ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ready(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/-/ready", timeout=1).status_code == 200
        except httpx.HTTPError:
            return False

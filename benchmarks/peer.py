"""The plain loop as a process of its own, kept warm between its turns."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

_ROOT = Path(__file__).resolve().parent.parent


class PlainPeer:
    """Speaks with `python -m benchmarks.plain_loop`. Use as a context manager."""

    def __init__(self, store: Path, pack: Path, threads: int | None = None) -> None:
        # As many as a worker has by default.
        self._threads = threads or os.cpu_count() or 1
        self._command = [sys.executable, "-m", "benchmarks.plain_loop", str(store), str(pack), str(self._threads)]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            cwd=_ROOT,
            # As workers/__init__.py has it for our own: without, its threads would stand in each other's way.
            env={"OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"} | os.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)

    def ask(self, method: str, *arguments: object) -> Any:
        """Call a method of PlainLoop. Raises RuntimeError when the process ended; its traceback is on stderr."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([method, *arguments]) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the plain loop ended with status {self._process.wait()} at {method}")
        return json.loads(answer)

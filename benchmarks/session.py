"""What every benchmark is handed, and what it hands back."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from benchmarks import report


class Unavailable(Exception):
    """This benchmark needs something that is not here."""


@dataclass(frozen=True, slots=True)
class Session:
    """quick: a smoke run, small and judged by nobody. data: folder with faces and weights. out: folder for what a
    benchmark writes beside its figures."""

    quick: bool
    data: Path
    console: Console
    out: Path = report.OUT

    def scaled(self, full: int, smoke: int) -> int:
        """`full`, or `smoke` in a smoke run."""
        return smoke if self.quick else full

    @property
    def rounds(self) -> int:
        """Turns each contender gets."""
        return self.scaled(5, 1)

    @contextmanager
    def progress(self, name: str) -> Iterator[Callable[[str], None]]:
        """A line that says what is being measured right now; on a terminal it moves, in a log there is one per step."""
        with self.console.status(f"{name}: starting") as status:

            def tell(step: str) -> None:
                status.update(f"{name}: {step}")
                if not self.console.is_terminal:
                    self.console.print(f"{name}: {step}", highlight=False)

            yield tell


@contextmanager
def scratch() -> Iterator[Path]:
    """An empty folder for one run."""
    with tempfile.TemporaryDirectory(prefix="kith-bench-") as folder:
        yield Path(folder)

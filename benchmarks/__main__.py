"""python -m benchmarks [NAME ...] [--quick] [--data DIR]: run the benchmarks, all of them by default.

Exit status: 0 when every target was met (or nothing was judged), 1 when one was missed, 2 for a wrong call, 3 when a
benchmark that was asked for by name cannot run here.
"""

import argparse
import os
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from benchmarks import (
    api,
    cameras,
    ceiling,
    inputs,
    journal,
    latency,
    metrics_cost,
    pack,
    pipeline,
    replica,
    report,
    runtimes,
    scaling,
    scoring,
    sealing,
    search,
    search_gpu,
    soak,
    triplets,
)
from benchmarks.session import Session, Unavailable

BENCHMARKS: dict[str, Callable[[Session], list[report.Figure]]] = {
    "pipeline": pipeline.run,
    "ceiling": ceiling.run,
    "latency": latency.run,
    "scaling": scaling.run,
    "soak": soak.run,
    "triplets": triplets.run,
    "pack": pack.run,
    "runtimes": runtimes.run,
    "sealing": sealing.run,
    "journal": journal.run,
    "search": search.run,
    "search-gpu": search_gpu.run,
    "scoring": scoring.run,
    "replica": replica.run,
    "cameras": cameras.run,
    "api": api.run,
    "metrics": metrics_cost.run,
}

MISSED, CANNOT_RUN = 1, 3


def main(argv: Sequence[str] | None = None) -> int:
    """Run what was asked for; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure Kith.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(BENCHMARKS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="a smoke run: everything runs, nothing is judged")
    parser.add_argument("--data", type=Path, default=inputs.DATA, help="folder with faces and weights")
    parser.add_argument("--out", type=Path, default=report.OUT, help="folder for the JSON (default: %(default)s)")
    arguments = parser.parse_args(argv)
    if unknown := [name for name in arguments.names if name not in BENCHMARKS]:
        parser.error(f"there is no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    console = Console()
    session = Session(quick=arguments.quick, data=arguments.data, console=console, out=arguments.out)
    load = os.getloadavg()[0]
    console.print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {load:.1f} before")
    if session.quick:
        console.print("a smoke run: small, not comparable with anything, judged by nobody")
    status = 0
    for name in arguments.names or BENCHMARKS:
        try:
            figures = BENCHMARKS[name](session)
        except Unavailable as missing:
            console.print(f"{name}: skipped, {missing}", highlight=False)
            # What an earlier run left would pass for this one's.
            (arguments.out / f"{name}.json").unlink(missing_ok=True)
            status = max(status, CANNOT_RUN if arguments.names else 0)
            continue
        if session.quick:
            figures = report.not_comparable(figures)
        report.write(name, figures, arguments.out)
        console.print(report.table(name, figures))
        status = max(status, MISSED if any(each.met is False for each in figures) else 0)
    return status


if __name__ == "__main__":
    sys.exit(main())

"""Buffers of matrix products hold nothing of what was multiplied once they are wiped, in whichever thread that was."""

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import kith.blas_buffers
from kith.blas_buffers import wipe_blas_buffers
from tests.plain_gallery import unit
from tests.process_memory import forms, vectors_in

D, ROWS = 512, 1024

PROGRAM = f"""
from workers.memory import restart_with_one_heap
restart_with_one_heap()
import sys, threading
import numpy as np
from kith.blas_buffers import wipe_blas_buffers
from kith.free_memory import wipe_free_memory
from kith.stack_memory import wipe_stack
from kith.wiping import wiped_when_dropped
from tests.plain_gallery import unit

def multiply(start):
    rows = wiped_when_dropped(np.stack([unit(seed, {D}) for seed in range(100, {ROWS} + 100)]))
    probes = wiped_when_dropped(np.stack([unit(seed, {D}) for seed in range(64)]))
    start.wait()
    for batch in (64, 4, 2):
        for _ in range(10):
            probes[:batch] @ rows.T
    wipe_stack()

# Beside one another, so that each has a buffer of its own.
start = threading.Barrier(3)
threads = [threading.Thread(target=multiply, args=[start]) for _ in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
wipe_free_memory()
print("multiplied", flush=True)
sys.stdin.readline()
wipe_blas_buffers()
print("wiped", flush=True)
sys.stdin.readline()
"""


@pytest.fixture(autouse=True)
def _openblas() -> None:
    if kith.blas_buffers._openblas() is None:
        pytest.skip("numpy does not multiply with an OpenBLAS that lends its buffers")


def test_nothing_of_what_was_multiplied_is_left_in_any_buffer(repository: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], cwd=repository, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "multiplied\n"
        known = {str(seed): forms(unit(seed, D), {}) for seed in (*range(0, 64, 9), *range(100, ROWS + 100, 50))}
        assert vectors_in(process.pid, known), "the look into the memory is blind"
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "wiped\n"
        assert vectors_in(process.pid, known) == {}
        process.kill()


def test_products_beside_it_are_right_and_buffers_do_not_grow_in_number() -> None:
    rows = np.stack([unit(seed, D) for seed in range(ROWS)])
    expected, wrong, stop = rows[:8] @ rows.T, [], threading.Event()

    def multiply() -> None:
        while not stop.is_set():
            wrong.append(not np.array_equal(rows[:8] @ rows.T, expected))

    threads = [threading.Thread(target=multiply) for _ in range(3)]
    for thread in threads:
        thread.start()
    counts = [wipe_blas_buffers() for _ in range(6)]
    stop.set()
    for thread in threads:
        thread.join()
    assert len(wrong) > 3
    assert not any(wrong)
    # Half of OpenBLAS's: three at work always find one.
    assert max(counts) <= 64


def test_where_numpy_multiplies_by_something_else_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kith.blas_buffers._openblas", lambda: None)
    assert wipe_blas_buffers() == 0

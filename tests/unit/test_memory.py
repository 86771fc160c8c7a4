"""Memory that a thread frees and takes again does not travel through the kernel each time."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import resource, sys, threading
import numpy as np
from workers.memory import keep_memory

kept = sys.argv[1] == "keep" and keep_memory()

def work():
    for _ in range(50):
        held = [np.ones(3_000_000, np.uint8) for _ in range(4)]
        del held

work_thread = threading.Thread(target=work)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work_thread.start()
work_thread.join()
print(int(kept), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(repository: Path, how: str) -> tuple[bool, int]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], cwd=repository, capture_output=True, text=True, check=True, timeout=60
    )
    kept, faults = map(int, done.stdout.split())
    return bool(kept), faults


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator is Linux's")
def test_pages_freed_by_a_thread_are_used_again_without_asking_the_kernel(repository: Path) -> None:
    _, plain = page_faults(repository, "plain")
    kept, faults = page_faults(repository, "keep")
    assert kept
    assert faults < plain / 4


LOADED = """
import gc, weakref
from workers.memory import spare_what_is_loaded

loaded = [[] for _ in range(100_000)]
spare_what_is_loaded()
print(len(gc.get_objects()) < 10_000)

class Node: pass
node = Node()
node.itself = node
gone = weakref.ref(node)
del node
gc.collect()
print(gone() is None)
"""


def test_what_is_loaded_is_no_longer_looked_through_and_new_garbage_still_is(repository: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED], cwd=repository, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["True", "True"]

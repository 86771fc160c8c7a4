"""Memory that a thread frees and takes again does not travel through the kernel each time."""

import os
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


RESTARTED = """
import os, sys
from workers.memory import restart_with_one_heap

print(os.getpid(), os.environ.get("GLIBC_TUNABLES"), sys.argv[1:], flush=True)
restart_with_one_heap()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator is Linux's")
def test_a_program_starts_anew_once_as_the_same_process_with_its_arguments_and_one_heap(repository: Path) -> None:
    ours = "glibc.malloc.arena_max=1:glibc.malloc.tcache_count=0"
    for given, kept in ((None, ours), ("glibc.malloc.check=0", f"glibc.malloc.check=0:{ours}")):
        environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
        if given is not None:
            environment["GLIBC_TUNABLES"] = given
        command = [sys.executable, "-c", RESTARTED, "--name", "a b"]
        done = subprocess.run(
            command, cwd=repository, env=environment, capture_output=True, text=True, check=True, timeout=60
        )
        first, second = done.stdout.splitlines()
        pid, _, arguments = first.partition(f" {given} ")
        assert arguments == "['--name', 'a b']"
        assert second == f"{pid} {kept} {arguments}"


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

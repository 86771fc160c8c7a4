"""Freed memory is zeroed, whatever size it had and whoever freed it; memory in use is not touched."""

import subprocess
import sys
import traceback
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import kith.free_memory
from kith.free_memory import overwriting_freed, wipe_free_memory
from tests.process_memory import RUN_BYTES, count

MARK, KEPT = 0x5AFE_C0DE_1234_5678, 0x0DD5_0DD5_8765_4321
#: Small enough for numpy's own store, and what comes from the C library, of many of the sizes that it tells apart.
SMALL, LARGE = range(32, 1024, 24), (*range(1024, 1400, 24), 2000, 2081, 4096, 10_000, 70_000, 300_000, 2_000_000)

#: Marks memory of each size in several threads, half of it to be kept; frees the other half; then does as it is told.
PROGRAM = """
from workers.memory import keep_memory, restart_with_one_heap
restart_with_one_heap()
keep_memory()
import sys, threading, time
import numpy as np
from kith.free_memory import overwriting_freed, wipe_free_memory

mark, kept_mark, *sizes = map(int, sys.argv[1:])
kept, filled, freed, ends = [], threading.Barrier(4), bytearray(4), [threading.Lock() for _ in range(4)]

def fill(number):
    marked = []
    for size in sizes:
        for _ in range(3):
            marked.append(np.full(size // 8, mark, np.uint64))
            # As bytes too: those above 512 come from the C library and not from numpy's store.
            if size > 512:
                marked.append(marked[-1].tobytes())
            # Numpy's store has a place for every number of bytes, also for those that are no multiple of four.
            if size < 1024:
                marked.append(np.full(size // 8, mark, np.uint64).view(np.uint8)[:-3].copy())
            kept.append(np.full(size // 8, kept_mark, np.uint64))
    # What one frees before another is done may be handed out again, for the list above to grow into: a gap in use.
    filled.wait()
    del marked
    freed[number] = True
    # A thread that waits, as those of a pool do: nobody can make it give back what it keeps for itself. By a lock, for
    # which nothing is allocated any more.
    ends[number].acquire()

def fill_in_threads():
    freed[:] = bytes(4)
    for number, end in enumerate(ends):
        end.acquire(blocking=False)
        threading.Thread(target=fill, args=(number,), daemon=True).start()
    while not all(freed):
        time.sleep(0.001)

for line in sys.stdin:
    if line == "fill\\n":
        fill_in_threads()
    elif line == "fill overwriting\\n":
        with overwriting_freed():
            fill_in_threads()
    elif line == "wipe\\n":
        wipe_free_memory()
    print(all((each == kept_mark).all() for each in kept), flush=True)
"""


class Marked:
    """The program. `tell` says whether all that it keeps is as it was."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def tell(self, what: str) -> bool:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline() == "True\n"

    def marks(self) -> int:
        # Fewer bytes in a row are the end of a piece that somebody has in use and did not need whole.
        marks = RUN_BYTES // 8 * MARK.to_bytes(8, "little")
        return count(self._process.pid, marks)[marks]


@contextmanager
def marked(repository: Path, sizes: Iterable[int]) -> Iterator[Marked]:
    command = [sys.executable, "-c", PROGRAM, *map(str, (MARK, KEPT, *sizes))]
    with subprocess.Popen(command, cwd=repository, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Marked(process)
        finally:
            process.kill()


@pytest.fixture(autouse=True)
def _glibc() -> None:
    if kith.free_memory._glibc() is None:
        pytest.skip("not glibc's allocator")


def test_nothing_that_any_thread_freed_is_left_and_what_is_in_use_is_as_it_was(repository: Path) -> None:
    with marked(repository, (*SMALL, *LARGE)) as process:
        assert process.tell("fill")
        assert process.marks() > 1000, "the look into the memory is blind"
        assert process.tell("wipe")
        assert process.marks() == 0


def test_what_is_freed_while_freed_memory_is_overwritten_is_gone_without_wiping(repository: Path) -> None:
    with marked(repository, LARGE) as process:
        assert process.tell("fill overwriting")
        assert process.marks() == 0
        assert process.tell("fill")
        assert process.marks() > 1000, "the look into the memory is blind"


def test_wiping_ends_soon_gives_memory_back_and_touches_nothing_in_use() -> None:
    held = [np.full(size, 3, np.uint8) for size in (100, 1000, 10_000, 100_000) for _ in range(50)]
    freed = [bytes([5]) * 3000 for _ in range(500)]
    del freed[::2]
    before = resident_bytes()
    for _ in range(5):
        wipe_free_memory()
    # It takes from the end of the heap only until it knows that it is there.
    assert resident_bytes() < before + (16 << 20)
    assert all((each == 3).all() for each in held)
    assert all(each == bytes([5]) * 3000 for each in freed)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


class Switch:
    """The C library, as far as it is told what to do with what is freed."""

    def __init__(self) -> None:
        self.told: list[tuple[int, int]] = []

    def mallopt(self, what: int, value: int) -> int:
        self.told.append((what, value))
        return 1


def test_freed_memory_is_overwritten_until_the_last_who_wanted_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    switch = Switch()
    monkeypatch.setattr("kith.free_memory._glibc", lambda: switch)
    with overwriting_freed():
        with pytest.raises(ValueError, match="in between"), overwriting_freed():
            raise ValueError("in between")
        assert switch.told == [(-6, 0x55)]
    assert switch.told == [(-6, 0x55), (-6, 0)]


def read_and_fail(seen: "list[weakref.ref[NDArray[np.uint8]]]") -> None:
    read = np.zeros(10, np.uint8)
    seen.append(weakref.ref(read))
    try:
        raise OSError("the connection went")
    except OSError as gone:
        deeper = np.zeros(10, np.uint8)
        seen.append(weakref.ref(deeper))
        raise ValueError("not all of it came") from gone


def test_what_was_read_before_a_failure_is_freed_while_that_is_overwritten() -> None:
    seen: list[weakref.ref[NDArray[np.uint8]]] = []
    with pytest.raises(ValueError, match="not all of it") as failed, overwriting_freed():
        read_and_fail(seen)
    # Not by the end of the exception: it is still here, with where it came from.
    assert [each() for each in seen] == [None, None]
    assert traceback.extract_tb(failed.value.__traceback__)[-1].name == "read_and_fail"


def test_what_somebody_else_failed_of_before_keeps_its_variables() -> None:
    seen: list[weakref.ref[NDArray[np.uint8]]] = []
    try:
        read_and_fail(seen)
    except ValueError:
        with pytest.raises(KeyError), overwriting_freed():
            raise KeyError from None
        assert all(each() is not None for each in seen)


def test_without_glibc_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kith.free_memory._glibc", lambda: None)
    with overwriting_freed():
        assert wipe_free_memory() == 0

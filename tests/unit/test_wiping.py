"""Memory that held templates is zeroed when the last view of it goes, and not before."""

import gc
import subprocess
import sys
from pathlib import Path

import numpy as np

from kith.wiping import wipe_leftovers, wiped_when_dropped


def test_the_memory_is_zeroed_when_the_last_window_goes_and_not_before() -> None:
    # A buffer of ours below, so that it can be looked at afterwards.
    buffer = bytearray(b"\x01" * 4096)
    array = wiped_when_dropped(np.frombuffer(buffer, np.float32).reshape(8, -1))
    window = wiped_when_dropped(array[:3])
    assert window.base is array
    del array
    assert set(buffer) == {1}
    assert window[2].any()
    del window
    assert set(buffer) == {0}


def test_memory_of_the_array_itself_is_wiped_while_it_is_still_there() -> None:
    # Wiped after it was freed, this ends in a fault or a broken heap; and a read-only array stays one.
    for rows in (10, 1000, 200_000):
        made = np.ones((rows, 4), np.float32)
        made.flags.writeable = False
        made = wiped_when_dropped(made)
        windows = [made[start : start + 3] for start in range(0, 9, 3)]
        assert not windows[0].flags.writeable
        del made, windows
        assert np.ones((rows, 4), np.float32).all()


def test_an_empty_array_is_left_alone() -> None:
    empty = np.empty((0, 8), np.float32)
    assert wiped_when_dropped(empty) is empty


def test_what_only_a_cycle_holds_is_wiped_with_the_leftovers() -> None:
    buffer = bytearray(b"\x01" * 4096)
    # Garbage, but nobody has looked for it yet.
    cycle: list[object] = [wiped_when_dropped(np.frombuffer(buffer, np.float32))]
    cycle.append(cycle)
    gc.disable()
    try:
        del cycle
        assert set(buffer) == {1}
        wipe_leftovers()
        assert set(buffer) == {0}
    finally:
        gc.enable()


def test_an_array_that_outlives_everything_is_wiped_in_silence_when_the_interpreter_ends(repository: Path) -> None:
    program = "import numpy as np; from kith.wiping import wiped_when_dropped; kept = wiped_when_dropped(np.ones(9))"
    done = subprocess.run([sys.executable, "-c", program], cwd=repository, capture_output=True, text=True, check=True)
    assert done.stderr == ""

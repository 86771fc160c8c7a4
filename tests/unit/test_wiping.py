"""Memory that held templates is zeroed when the last view of it goes, and not before."""

import numpy as np

from kith.wiping import wipe_free_memory, wiped_when_dropped


def test_the_memory_is_zeroed_when_the_last_window_goes_and_not_before() -> None:
    # A buffer of ours below, so that it can be looked at afterwards.
    buffer = bytearray(b"\x01" * 4096)
    array = np.frombuffer(buffer, np.float32).reshape(8, -1)
    window = wiped_when_dropped(array)[:3]
    wiped_when_dropped(window)
    del array
    assert set(buffer) == {1}
    assert window[2].any()
    del window
    assert set(buffer) == {0}


def test_an_empty_array_is_left_alone() -> None:
    empty = np.empty((0, 8), np.float32)
    assert wiped_when_dropped(empty) is empty


def test_going_over_free_memory_ends_soon_and_touches_nothing_in_use() -> None:
    held = [np.full(size, 3, np.uint8) for size in (100, 1000, 10_000, 100_000) for _ in range(50)]
    freed = [bytes([5]) * 3000 for _ in range(500)]
    del freed[::2]
    assert wipe_free_memory() <= 1 << 30
    assert all((each == 3).all() for each in held)
    assert all(each == bytes([5]) * 3000 for each in freed)

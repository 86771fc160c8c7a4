"""What Python's small objects held is overwritten once they are dropped, whatever their size; those in use stay."""

import subprocess
import sys
from pathlib import Path

import pytest

from kith.python_blocks import wipe_python_blocks
from tests.process_memory import count

#: Names many people, in objects of most sizes that Python tells apart, and drops three of four of some, so that of most
#: pools somebody is left, and of a crowd all but one in two thousand: whole pools are free then, and their arenas stay.
#: The names come spelt backwards, so that only what is made of them is found.
PROGRAM = """
import sys
from kith.python_blocks import wipe_python_blocks

mark, kept_mark = (each[::-1].encode() for each in sys.argv[1:])
sizes = range(len(mark) + 1, 460, 13)

def named(each, size):
    name = (mark if each % 4 else kept_mark).ljust(size, b"~")
    return name if each % 3 else name.decode()

def fill():
    everybody = [[named(each, size) for each in range(2000)] for size in sizes]
    crowd = [named(each % 2000 and 1, len(mark) + 1) for each in range(40000)]
    return [few[::4] for few in everybody] + [crowd[::2000]]

for line in sys.stdin:
    if line == "fill\\n":
        kept = fill()
    elif line == "wipe\\n":
        wipe_python_blocks()
    else:
        # By itself: what is made for it takes the place of what is looked for.
        there = [[named(each, size) for each in range(0, 2000, 4)] for size in sizes] + [[named(0, len(mark) + 1)] * 20]
        assert kept == there
    print("done", flush=True)
"""
MARK, KEPT = b"Xanthippe Quux", b"Melpomene Quux"


def test_nothing_that_small_objects_held_is_left_and_what_is_in_use_is_as_it_was(repository: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, MARK[::-1].decode(), KEPT[::-1].decode()]
    with subprocess.Popen(command, cwd=repository, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None
        assert stdout is not None
        found = []
        for what in ("fill\n", "wipe\n", "check\n"):
            stdin.write(what)
            stdin.flush()
            assert stdout.readline() == "done\n"
            found.append(count(process.pid, MARK)[MARK])
        assert found[0] > 1000, "the look into the memory is blind"
        # The one that the program goes on with.
        assert found[1] == 1
        process.kill()


def test_wiping_ends_where_nobody_ever_was_however_often_it_is_done(caplog: pytest.LogCaptureFixture) -> None:
    kept = [b"x" * size for size in range(1, 470) for _ in range(100)]
    dropped = sum(each.__sizeof__() for each in kept[::2])
    del kept[::2]
    wiped = [wipe_python_blocks() for _ in range(5)]
    assert dropped // 2 < min(wiped)
    assert max(wiped) < min(wiped) + (32 << 20), "what it takes to find the end is left for the next time"
    assert not caplog.records, "it has not found the end"
    assert all(each == b"x" * len(each) for each in kept)


def test_where_there_is_too_much_of_it_the_log_says_that_more_may_be_left(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("kith.python_blocks._MOST", 1 << 20)
    assert wipe_python_blocks() <= 2 << 20
    assert "there may be more" in caplog.text


@pytest.mark.parametrize("value", ["malloc", "pymalloc_debug"])
def test_where_python_has_no_such_pools_or_overwrites_them_itself_nothing_is_done(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("PYTHONMALLOC", value)
    assert wipe_python_blocks() == 0

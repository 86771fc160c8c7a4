"""What a living process has in its memory: the private, writable mappings, as a core dump would hold them."""

import re
from collections.abc import Iterator
from pathlib import Path

_CHUNK = 16 << 20


def images(pid: int) -> Iterator[bytes]:
    """The memory of process `pid` piece by piece; pieces overlap by 4 kB, so nothing is cut in two."""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            found = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw.p", line)
            if found is None or "[vvar" in line:
                continue
            start, end = (int(each, 16) for each in found.groups())
            for at in range(start, end, _CHUNK):
                try:
                    memory.seek(at)
                    yield memory.read(min(_CHUNK + 4096, end - at))
                except OSError:
                    continue


def count(pid: int, *needles: bytes) -> dict[bytes, int]:
    """How many pieces of the memory hold each of `needles`."""
    found = dict.fromkeys(needles, 0)
    for piece in images(pid):
        for needle in needles:
            found[needle] += piece.count(needle)
    return found

"""The look into a process's memory finds a vector in every form it may have there, and none where there is none."""

import struct
import subprocess
import sys
from pathlib import Path

from tests.plain_gallery import unit
from tests.process_memory import RUN_BYTES, count, forms, vectors_in

D = 512
SCALE = 0.002
#: What the process holds, by the seed of the vector.
PROGRAM = """
import sys
import numpy as np
from tests.plain_gallery import unit

D, SCALE, RUN = 512, 0.002, int(sys.argv[1])
others = np.stack([unit(seed, D) for seed in range(100, 1600)])
whole, double, odd, codes, woven, short, enough = (unit(seed, D) for seed in range(1, 8))
held = [
    whole.copy(),
    double.astype(np.float64),
    b"x" + odd.tobytes(),
    np.rint(codes.astype(np.float64) / SCALE).astype(np.int8),
    np.full((D, 64), 0.5, np.float32),
    np.full(RUN // 4, 0.5, np.float32),
    np.full(RUN // 4, 0.5, np.float32),
    b"xuuQ eppihtnaX"[::-1],
]
held[4][:, 3] = woven
held[5][1:] = short[40 : 40 + RUN // 4 - 1]
held[6][:] = enough[40 : 40 + RUN // 4]
del whole, double, odd, codes, woven, short, enough
# What was made on the way is gone over, so that only what is held is there.
from kith.wiping import wipe_leftovers
for _ in range(2):
    wipe_leftovers()
print("ready", flush=True)
sys.stdin.read()
"""


def test_every_form_is_found_and_a_few_numbers_are_not(repository: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(RUN_BYTES)]
    with subprocess.Popen(command, cwd=repository, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        known = {str(seed): forms(unit(seed, D), {"by": SCALE}) for seed in (*range(1, 8), 100, *range(9000, 9020))}
        found = vectors_in(process.pid, known)
        assert set(found) == {"1", "2", "3", "4", "5", "7", "100"}
        for seed, form in (("1", "float32"), ("2", "float64"), ("3", "float32"), ("4", "int8 by"), ("5", "float32")):
            assert any(each.startswith(form) for each in found[seed]), found[seed]
        assert any("within" in each for each in found["5"])
        assert found["7"][0].endswith(f"{RUN_BYTES // 4} of {D} in a row")
        assert [bool(each) for each in count(process.pid, b"Xanthippe Quux", b"Nobody Whatever").values()] == [
            True,
            False,
        ]
        process.kill()


def test_a_vector_is_told_by_its_bytes_in_each_form() -> None:
    vector = unit(1, 8)
    known = forms(vector, {"by": 0.01})
    assert known["float32"].tobytes() == b"".join(struct.pack("<f", each) for each in vector)
    assert known["float64"].tobytes() == b"".join(struct.pack("<d", each)[4:] for each in vector)
    assert known["int8 by"].tobytes() == b"".join(struct.pack("b", round(float(each) / 0.01)) for each in vector)

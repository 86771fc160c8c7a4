"""What encryption at rest costs: templates sealed and opened by `kith.sealing`, beside the cipher and a plain loop.

The rows of a gallery's blocks are opened into one matrix, as at the cold start of a worker. Peers: the same number of
calls of AES-GCM on the same bytes with nothing around them, and the loop one would write first.
"""

import os
import time
from collections.abc import Callable

import numpy as np
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from benchmarks.report import Figure
from benchmarks.rounds import interleave, median_ratio
from benchmarks.session import Session
from kith.keys import KEY_ID_BYTES, Key, KeyRing
from kith.sealing import NONCE_BYTES, Sealer

_ROWS = 1024
_DIMENSIONS = (512, 128)
_BODY = KEY_ID_BYTES + NONCE_BYTES


def run(session: Session) -> list[Figure]:
    """Microseconds a template to open and to seal, one thread; the same of the cipher alone and of the plain loop."""
    figures = []
    with session.progress("sealing") as tell:
        for dimension in _DIMENSIONS:
            tell(f"{dimension} numbers a template")
            figures += _of(dimension, session.scaled(32, 2), session.scaled(9, 1))
    return figures


def _of(dimension: int, blocks: int, rounds: int) -> list[Figure]:
    key, epoch = Key(os.urandom(32)), os.urandom(16).hex()
    sealer = Sealer(KeyRing("bench", (key,)), epoch, dimension)
    vectors = np.random.default_rng(0).standard_normal((_ROWS, dimension)).astype(np.float32)
    sealed = [sealer.seal_many(vectors) for _ in range(blocks)]
    matrix = np.zeros((blocks, _ROWS, dimension), np.float32)
    cipher, context = AESGCM(key.secret), b"kith template 1\0" + epoch.encode()

    def opening() -> None:
        for rows, out in zip(sealed, matrix, strict=True):
            sealer.open_many(rows, out=out).whole("the benchmark")

    def sealing() -> None:
        for _ in sealed:
            sealer.seal_many(vectors)

    def cipher_alone() -> None:
        row = sealed[0][: sealer.width]
        nonce, body = row[KEY_ID_BYTES:_BODY], row[_BODY:]
        for _ in range(blocks * _ROWS):
            cipher.decrypt(nonce, body, context)

    def plain_loop() -> None:
        for rows, out in zip(sealed, matrix, strict=True):
            for row in range(_ROWS):
                one = rows[row * sealer.width : (row + 1) * sealer.width]
                plain = cipher.decrypt(one[KEY_ID_BYTES:_BODY], one[_BODY:], context)
                out[row] = np.frombuffer(plain, "<f4")

    contenders = {"open": opening, "seal": sealing, "cipher": cipher_alone, "loop": plain_loop}
    took = interleave({name: lambda each=each: _timed(each) for name, each in contenders.items()}, rounds)  # type: ignore[misc]
    each_us = {name: float(np.median(values)) / (blocks * _ROWS) * 1e6 for name, values in took.items()}
    label = f"d = {dimension}"
    return [
        Figure(f"{label}: open a template", each_us["open"], "µs", each_us["loop"]),
        Figure(f"{label}: seal a template", each_us["seal"], "µs"),
        Figure(f"{label}: opening, of the cipher alone", median_ratio(took["open"], took["cipher"]), "×", 1.0),
        Figure(f"{label}: opening, of the plain loop", median_ratio(took["open"], took["loop"]), "×", 1.0),
        Figure(f"{label}: a sealed row, of its vector", sealer.width / (4 * dimension), "×", 1.0),
    ]


def _timed(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began

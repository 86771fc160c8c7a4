"""Aligned crops in, unit vectors out, whatever runs the network.

Three steps, so that the one model thread does nothing but the network: `pack` (crops to a batch) and `unpack` (output
to vectors) may run in any thread, `forward` in one. Runtimes live in kith.runtimes and are imported when a pack asks
for them: a process that serves ONNX or a simulated device never loads torch.
"""

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kith.checkpoints import Pack
from kith.errors import InvalidPack, Misconfigured

Crop = NDArray[np.uint8]
Vectors = NDArray[np.float32]

#: Shorter rows have no direction: dividing by their length would make a confident vector out of rounding errors.
_MIN_LENGTH = 1e-6

#: What may run a network: see `model.runtime` in config/default.toml.
RUNTIMES = ("auto", "float32", "fused", "bfloat16", "float16", "onnxruntime", "compiled")

#: A larger batch must win by more than this: it makes the first face of it wait longer.
_WORTH_A_LARGER_BATCH = 1.03
_LARGEST_BATCH = 256


class Embedder(Protocol):
    """A network with its preprocessing. `pack` and `unpack` are thread-safe, `forward` is for one thread at a time."""

    @property
    def dimension(self) -> int:
        """Length of the vectors."""
        ...

    @property
    def model_id(self) -> str:
        """The pack's model_id: vectors of different ids must never be compared."""
        ...

    @property
    def runtime(self) -> str:
        """What runs the network, for people: `torch cpu bfloat16`, `onnxruntime cpu`, `simulated`."""
        ...

    def pack(self, crops: Sequence[Crop]) -> Any:
        """Aligned crops, each (112, 112, 3) uint8 RGB, at least one, as the runtime's batch.

        Raises ValueError for any other shape or type.
        """
        ...

    def forward(self, batch: Any) -> Any:
        """Run the network on what `pack` made."""
        ...

    def unpack(self, out: Any, n: int) -> Vectors:
        """The first `n` vectors of what `forward` returned: (n, dimension) float32, rows of length 1.

        Raises InvalidPack when the output has another shape, is not finite or has no direction.
        """
        ...


def open_embedder(pack: Pack, device: str = "auto", threads: int = 0, runtime: str = "auto") -> Embedder:
    """The embedder of `pack`, tried once on a grey crop.

    device: `auto` (CUDA when it is there), `cpu` or `cuda`. threads: CPU threads of one forward call, 0 for half the
    cores. runtime: one of RUNTIMES; `auto` takes the fastest that agrees with float32. Raises InvalidPack when the
    weights cannot be used, Misconfigured when the device or the runtime is missing or does not fit the pack.
    """
    embedder = _open(pack, device, threads, runtime)
    grey = np.full((pack.input_size, pack.input_size, 3), 128, np.uint8)
    embed(embedder, [grey])
    return embedder


def embed(embedder: Embedder, crops: Sequence[Crop]) -> Vectors:
    """Pack, forward and unpack in one call: (n, dimension) float32 unit rows for n crops, (0, dimension) for none."""
    if not crops:
        return np.empty((0, embedder.dimension), np.float32)
    return embedder.unpack(embedder.forward(embedder.pack(crops)), len(crops))


def best_batch_size(embedder: Embedder, candidates: Sequence[int] = (4, 8, 16, 32), seconds: float = 1.5) -> int:
    """The smallest of `candidates` whose images per second are within 3 % of the best, measured in about `seconds`.

    On a CPU more is not better: past some size a batch no longer fits the cache. Where the largest candidate is the
    best, as on a GPU, its double is tried too, up to 256. A simulated device knows its own.
    """
    fixed = getattr(embedder, "batch", None)
    if isinstance(fixed, int):
        return fixed
    fastest = _seconds_per_image(embedder, sorted(candidates), seconds)
    while max(fastest) < _LARGEST_BATCH:
        best = _smallest_among_the_best(fastest)
        if best != max(fastest):
            return best
        fastest |= _seconds_per_image(embedder, [best, 2 * best], seconds / 2)
    return _smallest_among_the_best(fastest)


def _smallest_among_the_best(fastest: Mapping[int, float]) -> int:
    limit = min(fastest.values()) * _WORTH_A_LARGER_BATCH
    return min(size for size, took in fastest.items() if took <= limit)


def _seconds_per_image(embedder: Embedder, sizes: Sequence[int], seconds: float) -> dict[int, float]:
    most = max(sizes)
    noise = np.random.RandomState(0).randint(0, 256, (most, 112, 112, 3)).astype(np.uint8)
    batches = {size: embedder.pack(list(noise[:size])) for size in sizes}
    for size, batch in batches.items():
        embedder.unpack(embedder.forward(batch), size)  # the first call of a shape also chooses kernels
    fastest = dict.fromkeys(sizes, float("inf"))
    deadline = time.perf_counter() + seconds
    # Turn by turn and the best of each, so that a neighbour's burst of load does not fall on one candidate alone. In
    # each turn as many images for all: a short call is disturbed as easily as a long one, and so needs more tries.
    while True:
        for size, batch in batches.items():
            for _ in range(most // size):
                started = time.perf_counter()
                embedder.unpack(embedder.forward(batch), size)
                fastest[size] = min(fastest[size], (time.perf_counter() - started) / size)
        if time.perf_counter() >= deadline:
            return fastest


def cpu_threads(wanted: int) -> int:
    """`wanted`, or half the cores this process may use when it is 0.

    Not all of them: fetching, decoding and detecting run beside the network, and a forward call whose threads wait for
    one that was scheduled away is many times slower than one with fewer threads.
    """
    return wanted or max(1, len(os.sched_getaffinity(0)) // 2)


def stack(crops: Sequence[Crop], size: int) -> NDArray[np.uint8]:
    """`crops` as one (n, size, size, 3) uint8 array; raises ValueError for crops of another shape or type."""
    for crop in crops:
        if crop.shape != (size, size, 3) or crop.dtype != np.uint8:
            raise ValueError(f"a crop is ({size}, {size}, 3) uint8, this one {crop.shape} {crop.dtype}")
    return np.stack(crops)


def unit_rows(out: NDArray[Any], n: int, dimension: int) -> Vectors:
    """The first `n` rows of a network's output as unit vectors, (n, dimension) float32.

    Raises InvalidPack for another shape, values that are not finite and rows without direction: a wrong vector passed
    on would be compared with everybody.
    """
    if out.ndim != 2 or out.shape[1] != dimension or out.shape[0] < n:
        raise InvalidPack(f"the network returned shape {out.shape}, the manifest promises ({n}, {dimension})")
    rows = out[:n].astype(np.float32)
    # A row's length is not finite when any of its values is not; float64 because squares of float32 may overflow.
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    if not np.isfinite(lengths).all():
        raise InvalidPack("the network returned values that are not finite")
    if (lengths < _MIN_LENGTH).any():
        raise InvalidPack("the network returned a vector of length zero")
    rows /= lengths[:, None].astype(np.float32)
    return rows


def _open(pack: Pack, device: str, threads: int, runtime: str) -> Embedder:
    if runtime not in RUNTIMES:
        raise Misconfigured(f"no runtime is called {runtime!r}; known: {', '.join(RUNTIMES)}")
    # Imported here, not above: each runtime is a large library, and a worker has use for one.
    if pack.manifest.embedder.format == "simulated":
        from kith.runtimes.simulated import SimulatedEmbedder  # noqa: PLC0415

        return SimulatedEmbedder(pack)
    if pack.manifest.embedder.format == "onnx":
        from kith.runtimes.onnx import OnnxEmbedder  # noqa: PLC0415

        if runtime not in ("auto", "onnxruntime"):
            raise Misconfigured(f"{pack.path} is an ONNX model: onnxruntime runs it, not {runtime} (model.runtime)")
        return OnnxEmbedder(pack, device, threads)
    if runtime == "onnxruntime":
        from kith.runtimes.exported import open_exported  # noqa: PLC0415

        return open_exported(pack, device, threads)
    from kith.runtimes.pytorch import TorchEmbedder  # noqa: PLC0415

    return TorchEmbedder(pack, device, threads, runtime)

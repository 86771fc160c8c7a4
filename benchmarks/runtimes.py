"""What runs the network fastest, and whether it still says the same: every runtime of `model.runtime`, turn by turn."""

import time

import numpy as np
from numpy.typing import NDArray

from benchmarks import inputs
from benchmarks.report import Figure, at_least
from benchmarks.rounds import interleave, median_ratio
from benchmarks.session import Session, Unavailable
from kith.checkpoints import load_pack
from kith.embedder import RUNTIMES, Embedder, best_batch_size, embed, open_embedder
from kith.errors import KithError
from kith.images import decode
from kith.packs.shipped import default_pack
from kith.settings import Limits

#: What is chosen must agree with plain float32 on real faces to this cosine, on average.
_AGREEMENT = 0.999

#: The plain way, which the others are compared with.
_PLAIN = "float32"

_BATCH = 32


def run(session: Session) -> list[Figure]:
    """images/s of each runtime as a multiple of plain float32, one thread; cosine to it over real faces."""
    folder = default_pack() or inputs.weights(session.data)
    if folder is None:
        raise Unavailable("there is no default pack and no weights; name --data")
    files = inputs.aligned_crops(session.data, session.scaled(640, 64))
    if not files:
        raise Unavailable(f"runtimes are judged on faces, and {session.data} holds none; name --data")
    crops = [decode(file.read_bytes(), Limits()) for file in files]
    pack = load_pack(folder)
    with session.progress("runtimes") as tell:
        opened: dict[str, Embedder] = {}
        for name in RUNTIMES:
            tell(f"starting {name}")
            try:
                opened[name] = open_embedder(pack, "cpu", threads=1, runtime=name)
            except KithError as cannot:
                tell(f"{name} is left out: {cannot}")
        vectors = {name: _vectors(each, crops) for name, each in opened.items()}
        rates = interleave(
            {name: lambda each=each: _rate(each, crops) for name, each in opened.items()},  # type: ignore[misc]
            session.scaled(7, 1),
            tell,
        )
        sizes = {name: best_batch_size(each) for name, each in opened.items()}
    figures = []
    for name, each in opened.items():
        cosine = float((vectors[name] * vectors[_PLAIN]).sum(axis=1).mean())
        ratio = median_ratio(rates[name], rates[_PLAIN])
        label = f"{name} ({each.runtime})"
        figures += [
            Figure(f"{label}: of plain float32's rate", ratio, "×", 1.0),
            Figure(f"{label}: rate, batches of {_BATCH}, one thread", float(np.median(rates[name])), "images/s"),
            Figure(f"{label}: best batch", sizes[name], "images"),
            at_least(f"{label}: cosine to float32, mean over faces", cosine, _AGREEMENT),
        ]
    return figures


def _vectors(embedder: Embedder, crops: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    return np.concatenate([embed(embedder, crops[start : start + _BATCH]) for start in range(0, len(crops), _BATCH)])


def _rate(embedder: Embedder, crops: list[NDArray[np.uint8]]) -> float:
    some = crops[: 8 * _BATCH]
    batches = [embedder.pack(some[start : start + _BATCH]) for start in range(0, len(some), _BATCH)]
    began = time.perf_counter()
    for batch in batches:
        embedder.unpack(embedder.forward(batch), len(batch))
    return len(some) / (time.perf_counter() - began)

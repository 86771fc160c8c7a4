"""Embedding networks of torch as ONNX files, and the proof that they say the same."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from kith.embedder import unit_rows
from kith.errors import InvalidPack, Rejected
from kith.networks.resized import CROP_PX, Resized
from kith.runtimes.session import open_session

#: Largest difference in any value of the unit vectors between torch and the exported file.
PARITY = 1e-4


def export_onnx(network: nn.Module, input_size: int = CROP_PX, batch: int | None = None) -> bytes:
    """`network` (in eval mode, (n, 3, s, s) float32 to (n, dimension)) as an ONNX file with the input `pixels`
    (n, 3, 112, 112) and the output `embedding` (n, dimension), not normalised.

    input_size: s; where it is not 112 the file enlarges or reduces the crop itself, bilinearly. batch: the only n that
    the network takes; None for any. The same network and the same torch give the same bytes. Raises Rejected when the
    network cannot be exported.
    """
    resized = Resized(network, input_size).eval()
    pixels = torch.zeros(batch or 2, 3, CROP_PX, CROP_PX)
    shapes = None if batch else ({0: torch.export.Dim.DYNAMIC},)
    try:
        with _quiet():
            program = torch.onnx.export(
                resized,
                (pixels,),
                dynamo=True,
                dynamic_shapes=shapes,
                input_names=["pixels"],
                output_names=["embedding"],
                verbose=False,
            )
    except Exception as failed:  # the exporter raises types of its own, and those of the network
        raise Rejected(f"the network cannot be exported to ONNX: {_reason(failed)}") from failed
    assert program is not None
    model = program.model_proto
    _strip(model.graph)
    del model.metadata_props[:]
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def parity(network: nn.Module, onnx: bytes, input_size: int = CROP_PX, batch: int | None = None) -> float:
    """The largest difference between the unit vectors of `network` and of its export on a batch of noise.

    Raises InvalidPack above PARITY.
    """
    pixels = torch.randn(batch or 3, 3, CROP_PX, CROP_PX, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = _unit(Resized(network, input_size).eval()(pixels).numpy())
    session = open_session(onnx, device="cpu", threads=1, where="the exported network")
    found = _unit(session.run(None, {"pixels": pixels.numpy()})[0])
    difference = float(np.abs(expected - found).max())
    if not difference <= PARITY:
        raise InvalidPack(f"the exported network differs from torch by {difference:.2g}, more than {PARITY:g}")
    return difference


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter talks of libraries it does not find and of what it will be called in later versions."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def _strip(graph: Any) -> None:
    """Take out what is said about the code the graph came from: paths of this machine have no place in a pack, and
    bytes that do not change the network must not change the hash."""
    free = {value.type.tensor_type.shape.dim[0].dim_param for value in [*graph.input, *graph.output]} - {""}
    del graph.metadata_props[:]
    del graph.value_info[:]
    graph.doc_string = ""
    for node in graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for part in [*graph.input, *graph.output, *graph.initializer]:
        del part.metadata_props[:]
        part.doc_string = ""
    for value in [*graph.input, *graph.output]:
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param in free:
                dimension.dim_param = "n"


def _reason(failed: BaseException) -> str:
    """The first line of what began it; the exporter wraps errors in pages of advice."""
    while failed.__cause__ is not None:
        failed = failed.__cause__
    return next((line.strip() for line in str(failed).splitlines() if line.strip()), type(failed).__name__)


def _unit(out: Any) -> NDArray[np.float32]:
    return unit_rows(out, len(out), out.shape[1] if out.ndim == 2 else 0)

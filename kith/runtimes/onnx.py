"""Networks as ONNX files, run by onnxruntime; a process that serves one never imports torch."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kith.checkpoints import Pack
from kith.embedder import cpu_threads, stack, unit_rows
from kith.errors import InvalidPack
from kith.runtimes.session import open_session

Floats = NDArray[np.float32]


class OnnxEmbedder:
    """One input (n, 3, 112, 112) float32, n free or fixed, one output (n, dimension) float32; see kith.embedder.

    model: the network in ONNX, where that is not the pack's own file.
    """

    def __init__(self, pack: Pack, device: str = "auto", threads: int = 0, model: bytes | None = None) -> None:
        spec = pack.manifest.embedder
        self.dimension = pack.dimension
        self.model_id = pack.model_id
        self._size = pack.input_size
        where = f"{pack.path}: {spec.file}"
        self._session = open_session(model or pack.read(spec), device=device, threads=cpu_threads(threads), where=where)
        self.runtime = f"onnxruntime {self._session.get_providers()[0]}"
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(inputs[0].shape) != 4:
            raise InvalidPack(f"{where} does not take one float image batch of four dimensions")
        self._input, self._output = inputs[0].name, outputs[0].name
        fixed = inputs[0].shape[0]
        # Exporters write a free batch size as a word or nothing, a fixed one as a number.
        self._fixed = fixed if isinstance(fixed, int) else None
        std = np.asarray(spec.std, np.float32)
        self._factor = np.float32(spec.scale) / std
        self._offset = -np.asarray(spec.mean, np.float32) / std
        self._order = slice(None) if spec.channels == "RGB" else slice(None, None, -1)

    def pack(self, crops: Sequence[NDArray[np.uint8]]) -> Floats:
        """(112, 112, 3) uint8 RGB crops to (n, 3, 112, 112) float32, normalised."""
        pixels = stack(crops, self._size)[..., self._order].astype(np.float32)
        pixels *= self._factor
        pixels += self._offset
        return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))

    def forward(self, batch: Floats) -> Floats:
        """(n, 3, 112, 112) to (n, dimension), not normalised; a network of fixed batch size runs in slices of it."""
        if self._fixed is None:
            return self._run(batch)
        rows = len(batch)
        padding = -rows % self._fixed
        if padding:
            batch = np.concatenate([batch, np.zeros((padding, *batch.shape[1:]), np.float32)])
        parts = [self._run(batch[start : start + self._fixed]) for start in range(0, len(batch), self._fixed)]
        return np.concatenate(parts)[:rows]

    def unpack(self, out: Floats, n: int) -> Floats:
        """(n, dimension) float32 unit rows."""
        return unit_rows(out, n, self.dimension)

    def _run(self, batch: Floats) -> Floats:
        out: Floats = self._session.run([self._output], {self._input: batch})[0]
        return out

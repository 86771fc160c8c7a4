"""The detector that is learned from: what it says of an image, and what it sees on the way there.

A teacher is a YuNet as ONNX. Its outputs are all that is needed to learn from; where its graph has the shape of the
student's, the result of every ReLU in it can be learned from too, which takes minutes where outputs take hours.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor

from kith.errors import InvalidPack
from kith.networks.face_detector import OUTPUTS, FaceDetector
from kith.runtimes.session import open_session

#: Side of the picture on which shapes are compared, pixels.
_PROBE_PX = 64


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """What the teacher makes of a batch of n images: outputs as in kith.networks.face_detector, class and objectness as
    probabilities; maps: empty where its shape is another."""

    outputs: tuple[Tensor, ...]
    maps: tuple[Tensor, ...]


class DetectorTeacher:
    """The YuNet in `model` (ONNX). alike: whether its maps can be learned from. Raises InvalidPack for another
    network."""

    def __init__(self, model: bytes, where: str, threads: int = 1) -> None:
        graph = _parse(model, where)
        missing = set(OUTPUTS) - {output.name for output in graph.graph.output}
        if missing:
            raise InvalidPack(f"{where} is not a YuNet: it has no output {', '.join(sorted(missing))}")
        self._maps = [node.output[0] for node in graph.graph.node if node.op_type == "Relu"]
        graph.graph.output.extend(
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in self._maps
        )
        self._session = open_session(graph.SerializeToString(), device="cpu", threads=threads, where=where)
        self._input = self._session.get_inputs()[0].name
        self.alike = self._is_alike()
        if not self.alike:
            self._maps = []

    def teach(self, canvas: NDArray[np.float32]) -> Lesson:
        """canvas: (n, 3, height, width) float32, BGR, 0..255, sides multiples of 32."""
        answers = [
            torch.from_numpy(found) for found in self._session.run([*OUTPUTS, *self._maps], {self._input: canvas})
        ]
        return Lesson(tuple(answers[: len(OUTPUTS)]), tuple(answers[len(OUTPUTS) :]))

    def _is_alike(self) -> bool:
        probe = np.zeros((1, 3, _PROBE_PX, _PROBE_PX), np.float32)
        with torch.no_grad():
            mine = FaceDetector().eval().look(torch.from_numpy(probe)).maps
        return _shapes(self.teach(probe).maps) == _shapes(mine)


def canvas_of(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(n, height, width, 3) uint8 RGB as the detector takes it: (n, 3, height, width) float32, BGR, 0..255."""
    return np.ascontiguousarray(images[..., ::-1].transpose(0, 3, 1, 2), np.float32)


def _parse(model: bytes, where: str) -> onnx.ModelProto:
    try:
        return onnx.load_from_string(model)
    except Exception as broken:  # noqa: BLE001 - protobuf's own types
        raise InvalidPack(f"{where} is not an ONNX model: {broken}") from None


def _shapes(maps: Sequence[Tensor]) -> list[torch.Size]:
    return [each.shape for each in maps]

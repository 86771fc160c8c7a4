"""How long an ONNX network's vectors are: what its file says is often wrong or nothing, so it is run once."""

import numpy as np

from kith.errors import InvalidPack
from kith.runtimes.session import open_session

#: The side of an aligned crop, pixels.
_SIDE_PX = 112


def onnx_dimension(model: bytes, where: str) -> int:
    """The length of the vectors that `model` makes of (n, 3, 112, 112) float32.

    Raises InvalidPack, naming `where`, when it takes or returns anything else.
    """
    session = open_session(model, device="cpu", threads=1, where=where)
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(inputs[0].shape) != 4:
        raise InvalidPack(f"{where} does not take one float image batch of four dimensions")
    count, *shape = inputs[0].shape
    fixed = [side if isinstance(side, int) and side > 0 else None for side in shape]
    wanted = [3, _SIDE_PX, _SIDE_PX]
    if any(side not in (None, want) for side, want in zip(fixed, wanted, strict=True)):
        raise InvalidPack(
            f"{where} takes inputs of {inputs[0].shape}; Kith serves networks of (n, 3, {_SIDE_PX}, {_SIDE_PX}): "
            "aligned crops, channels first"
        )
    rows = count if isinstance(count, int) and count > 0 else 1
    grey = np.full((rows, *wanted), 0.5, np.float32)
    try:
        out = session.run([session.get_outputs()[0].name], {inputs[0].name: grey})[0]
    except Exception as failed:  # noqa: BLE001 - onnxruntime raises its own types, none of them public
        raise InvalidPack(f"{where} cannot be run on {grey.shape}: {failed}") from None
    if out.ndim != 2 or out.shape[0] != rows:
        raise InvalidPack(f"{where} returns {out.shape} for {rows} crops, not one vector for each")
    return int(out.shape[1])

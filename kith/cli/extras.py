"""Commands that work with networks: what they need is loaded when they run, and named when it is not installed."""

from collections.abc import Iterator
from contextlib import contextmanager

from kith.errors import Misconfigured

#: What the extras bring. A module of ours that is missing is a bug, and stays one.
_BROUGHT = frozenset({"torch", "safetensors", "onnxruntime", "cv2", "onnx", "onnxscript", "matplotlib", "sklearn",
                      "pytorch_metric_learning"})  # fmt: skip


@contextmanager
def needs_training() -> Iterator[None]:
    """Around imports of what only the extras `worker` and `train` install. Raises Misconfigured when one is missing."""
    try:
        yield
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] not in _BROUGHT:
            raise
        raise Misconfigured(f"this command needs {missing.name}: pip install 'kith[worker,train]'") from None

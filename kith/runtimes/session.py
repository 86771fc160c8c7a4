"""Opening ONNX models: the one place that imports onnxruntime."""

import os
import sys
from contextlib import redirect_stdout
from typing import Any

from kith.errors import InvalidPack, Misconfigured


def open_session(model: bytes, *, device: str, threads: int, where: str) -> Any:
    """An `onnxruntime.InferenceSession` of `model`.

    device: `auto`, `cpu` or `cuda`. threads: of one call. Raises InvalidPack, naming `where`, when the bytes are not a
    model, Misconfigured when the device is missing or cannot be used.
    """
    # Read when the library is imported: from release 1.32 on it reports what models it runs unless told not to, and
    # whose faces are compared by what is nobody's business.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime as ort  # noqa: PLC0415

    gpu = "CUDAExecutionProvider" in ort.get_available_providers()
    if device == "cuda" and not gpu:
        raise Misconfigured("model.device is cuda, but this onnxruntime has no CUDA; install onnxruntime-gpu instead")
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    # Errors only: a network exported at one size warns of every output at every other, in each call.
    options.log_severity_level = 3
    providers = ["CUDAExecutionProvider"] if gpu and device != "cpu" else []
    if providers:
        # CUDA's libraries come as wheels too, in folders where no loader looks. It prints what it does not find.
        with redirect_stdout(sys.stderr):
            ort.preload_dlls()
    try:
        session = ort.InferenceSession(model, options, providers=[*providers, "CPUExecutionProvider"])
    except Exception as broken:  # noqa: BLE001 - onnxruntime raises its own types, none of them public
        raise InvalidPack(f"{where} is not an ONNX model: {broken}") from None
    # Without a driver, a GPU or CUDA's libraries it says so on stderr and takes the CPU, and the GPU idles unnoticed.
    if device == "cuda" and "CUDAExecutionProvider" not in session.get_providers():
        raise Misconfigured(
            "model.device is cuda, but onnxruntime cannot use it (the lines above say why); "
            "give this process a GPU, its driver and onnxruntime-gpu[cuda,cudnn], or set model.device to auto or cpu"
        )
    return session

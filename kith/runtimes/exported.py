"""A torch network run by onnxruntime: exported when the worker starts, in memory."""

from kith.checkpoints import Pack
from kith.errors import Misconfigured
from kith.runtimes.onnx import OnnxEmbedder
from kith.runtimes.pytorch import load_network


def open_exported(pack: Pack, device: str, threads: int) -> OnnxEmbedder:
    """The embedder of a torch or safetensors pack, in onnxruntime. Raises Misconfigured without the exporter."""
    try:
        from kith.runtimes.export import export_onnx  # noqa: PLC0415

        model = export_onnx(load_network(pack))
    except ModuleNotFoundError as missing:
        raise Misconfigured(
            f"model.runtime is onnxruntime, and exporting the network takes {missing.name}: "
            "pip install 'kith[worker,train]', or make an ONNX pack with kith pack"
        ) from None
    return OnnxEmbedder(pack, device, threads, model=model)

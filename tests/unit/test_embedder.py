"""Embedders of all three runtimes against preprocessing and networks written out, and what no runtime may pass on."""

import io
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import nn

from kith.checkpoints import Pack, simulated_pack, write_pack
from kith.embedder import best_batch_size, cpu_threads, embed, open_embedder, unit_rows
from kith.errors import InvalidPack, Misconfigured
from kith.manifest import EmbedderSpec, Manifest
from kith.networks import build
from kith.runtimes.fusion import fold_batch_norms, fuse_activations
from kith.runtimes.pytorch import TorchEmbedder

Crops = list[NDArray[np.uint8]]
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def pictures(count: int, seed: int = 0) -> Crops:
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 14, 14, 3)).astype(np.uint8)
    return list(coarse.repeat(8, axis=1).repeat(8, axis=2))


def state_dict() -> dict[str, torch.Tensor]:
    """MobileFaceNet's weights, with batch norms that are not the identity."""
    return {name: value.clone() for name, value in _weights().items()}


@cache
def _weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    network = build("mobilefacenet", 8)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            assert module.running_mean is not None
            module.running_mean.normal_(0, 0.1)
            nn.init.uniform_(module.weight, 0.8, 1.6)
            nn.init.normal_(module.bias, 0, 0.2)
    return network.state_dict()


def torch_pack(path: Path, state: object, format_: str = "torch", channels: str = "RGB") -> Pack:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    data = safetensors.torch.save(state) if format_ == "safetensors" else buffer.getvalue()  # type: ignore[arg-type]
    spec = EmbedderSpec(
        format=format_,  # type: ignore[arg-type]
        network="mobilefacenet",
        file="net",
        dimension=8,
        channels=channels,  # type: ignore[arg-type]
        mean=MEAN,
        std=STD,
    )
    return write_pack(path, Manifest("t", "-", "-", spec, 0.3, "-"), {"net": data})


def onnx_pack(path: Path, batch: int | None, channels: str = "RGB", dimension: int = 3) -> Pack:
    spec = EmbedderSpec(
        format="onnx",
        file="net",
        dimension=dimension,
        channels=channels,  # type: ignore[arg-type]
        mean=MEAN,
        std=STD,
    )
    return write_pack(path, Manifest("t", "-", "-", spec, 0.3, "-"), {"net": channel_means(batch)})


def channel_means(batch: int | None) -> bytes:
    """An ONNX network (n, 3, 112, 112) → (n, 3), the mean of each channel, in protobuf by hand; n free for None."""

    def field(number: int, value: bytes | int | str) -> bytes:
        if isinstance(value, int):
            return bytes([number << 3, value])
        data = value.encode() if isinstance(value, str) else value
        size = bytes([len(data)]) if len(data) < 128 else bytes([len(data) & 127 | 128, len(data) >> 7])
        return bytes([number << 3 | 2]) + size + data

    def tensor(name: str, shape: Sequence[int | str]) -> bytes:
        dims = b"".join(field(1, field(2, d) if isinstance(d, str) else field(1, d)) for d in shape)
        return field(1, name) + field(2, field(1, field(1, 1) + field(2, dims)))

    rows = "n" if batch is None else batch
    pool = field(1, "x") + field(2, "pooled") + field(4, "GlobalAveragePool")
    flat = field(1, "pooled") + field(2, "y") + field(4, "Flatten")
    nodes = field(1, pool) + field(1, flat) + field(2, "means")
    graph = nodes + field(11, tensor("x", [rows, 3, 112, 112])) + field(12, tensor("y", [rows, 3]))
    return field(1, 8) + field(8, field(1, "") + field(2, 13)) + field(7, graph)


def naive_pixels(crop: NDArray[np.uint8], channels: str) -> NDArray[np.float64]:
    """(3, 112, 112): (pixel / 255 − mean) / std for the channels in the network's order."""
    out = np.empty((3, 112, 112))
    for position in range(3):
        plane = crop[:, :, position if channels == "RGB" else 2 - position]
        out[position] = (plane.astype(np.float64) / 255 - MEAN[position]) / STD[position]
    return out


@pytest.mark.parametrize("channels", ["RGB", "BGR"])
@pytest.mark.parametrize("batch", [None, 1, 4])
def test_onnx_gets_the_pixels_its_manifest_describes(tmp_path: Path, channels: str, batch: int | None) -> None:
    crops = pictures(5)
    vectors = embed(open_embedder(onnx_pack(tmp_path, batch, channels), "cpu", 1), crops)
    for vector, crop in zip(vectors, crops, strict=True):
        means = naive_pixels(crop, channels).mean(axis=(1, 2))
        assert vector == pytest.approx(means / np.sqrt((means**2).sum()), abs=1e-5)


@pytest.mark.parametrize("channels", ["RGB", "BGR"])
@pytest.mark.parametrize("format_", ["torch", "safetensors"])
def test_torch_gets_the_pixels_its_manifest_describes(tmp_path: Path, format_: str, channels: str) -> None:
    crops = pictures(3)
    vectors = embed(TorchEmbedder(torch_pack(tmp_path, state_dict(), format_, channels), "cpu", 1, "float32"), crops)
    network = build("mobilefacenet", 8)
    network.load_state_dict(state_dict())
    pixels = np.stack([naive_pixels(crop, channels) for crop in crops]).astype(np.float32)
    with torch.inference_mode():
        raw = network(torch.from_numpy(pixels)).numpy()
    assert vectors == pytest.approx(raw / np.sqrt((raw**2).sum(axis=1, keepdims=True)), abs=1e-5)


def test_the_serving_form_agrees_with_plain_float32(tmp_path: Path) -> None:
    pack = torch_pack(tmp_path, state_dict())
    plain, serving = TorchEmbedder(pack, "cpu", 1, "float32"), open_embedder(pack, "cpu", 1)
    crops = pictures(12, seed=5)
    assert (embed(plain, crops) * embed(serving, crops)).sum(axis=1).min() > 0.995


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device here")
def test_on_a_gpu_float16_serves_and_agrees_with_plain_float32_there_and_on_the_cpu(tmp_path: Path) -> None:
    pack = torch_pack(tmp_path, state_dict())
    serving = open_embedder(pack, "cuda")
    assert serving.runtime == "torch cuda float16"
    crops = pictures(64, seed=5)
    vectors = embed(serving, crops)
    assert vectors.dtype == np.float32
    for device in ("cuda", "cpu"):
        plain = TorchEmbedder(pack, device, 1, "float32")
        assert plain.runtime == f"torch {device} float32"
        assert (embed(plain, crops) * vectors).sum(axis=1).min() > 0.995
    assert (embed(serving, crops[:1]) * vectors[:1]).sum() > 0.999, "whatever else is in the batch"


def test_folding_and_fusing_change_nothing_but_rounding() -> None:
    network = build("mobilefacenet", 8)
    network.load_state_dict(state_dict())
    pixels = torch.randn(4, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    pixels = pixels.to(memory_format=torch.channels_last)
    with torch.inference_mode():
        expected = network(pixels)
        folded = fold_batch_norms(network)
        assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
        assert torch.allclose(folded(pixels), expected, atol=1e-4)
        fused = fuse_activations(folded, pixels)
        assert not any(isinstance(module, nn.ReLU | nn.ReLU6) for module in fused.modules())
        assert torch.allclose(fused(pixels), expected, atol=1e-4)
        assert torch.allclose(fused(pixels[:1]), expected[:1], atol=1e-4)
        assert torch.equal(network(pixels), expected)


def test_a_convolution_read_twice_keeps_its_own_output() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm, self.relu = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.ReLU()

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            maps = self.conv(pixels)
            out: torch.Tensor = self.norm(maps) + self.relu(maps) - maps
            return out

    network = Twice().eval()
    nn.init.constant_(network.norm.weight, 2.0)
    pixels = torch.randn(2, 3, 8, 8)
    with torch.inference_mode():
        fused = fuse_activations(fold_batch_norms(network), pixels)
        assert torch.allclose(fused(pixels), network(pixels), atol=1e-5)


def test_a_truncated_state_dict_is_refused(tmp_path: Path) -> None:
    state = state_dict()
    del state["conv2.0.weight"]
    with pytest.raises(InvalidPack, match=r"(?s)does not fit.*conv2\.0\.weight"):
        open_embedder(torch_pack(tmp_path, state), "cpu", 1)


class _Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("executed",))


def test_weights_that_hold_code_are_refused_and_the_code_does_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InvalidPack, match="hold code are refused"):
        open_embedder(torch_pack(tmp_path, {"conv1.0.weight": _Payload()}), "cpu", 1)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("state", [[1, 2], {"conv1.0.weight": 3}])
def test_a_file_that_is_no_state_dict_is_refused(tmp_path: Path, state: object) -> None:
    with pytest.raises(InvalidPack, match="not a plain state dict"):
        open_embedder(torch_pack(tmp_path, state), "cpu", 1)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    state = state_dict()
    state["conv1.0.weight"][0, 0, 0, 0] = float("nan")
    with pytest.raises(InvalidPack, match=r"conv1\.0\.weight holds values that are not finite"):
        open_embedder(torch_pack(tmp_path, state), "cpu", 1)


def test_rubbish_is_no_network_in_any_format(tmp_path: Path) -> None:
    for format_ in ("torch", "safetensors", "onnx"):
        spec = EmbedderSpec(format=format_, network="mobilefacenet", file="net", dimension=8)
        pack = write_pack(tmp_path / format_, Manifest("t", "-", "-", spec, 0.3, "-"), {"net": b"rubbish"})
        with pytest.raises(InvalidPack):
            open_embedder(pack, "cpu", 1)


def test_a_network_of_another_dimension_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    with pytest.raises(InvalidPack, match=r"shape \(1, 3\), the manifest promises \(1, 4\)"):
        open_embedder(onnx_pack(tmp_path, None, dimension=4), "cpu", 1)


def test_unit_rows_are_rows_divided_by_their_length() -> None:
    raw = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32) * 50
    for row, unit in zip(raw, unit_rows(raw, 3, 6), strict=False):
        length = sum(float(value) ** 2 for value in row) ** 0.5
        assert unit == pytest.approx([float(value) / length for value in row], abs=1e-6)
    assert unit_rows(raw, 3, 6).shape == (3, 6)
    large = unit_rows(np.full((1, 2), 1e30, np.float32), 1, 2)
    assert large == pytest.approx(np.full((1, 2), 0.5**0.5))


@pytest.mark.parametrize(
    ("row", "message"),
    [([np.nan, 1], "not finite"), ([np.inf, 1], "not finite"), ([0, 0], "length zero"), ([1, 2, 3], "promises")],
)
def test_what_is_no_direction_is_never_passed_on(row: list[float], message: str) -> None:
    good = [1.0] * len(row)
    with pytest.raises(InvalidPack, match=message):
        unit_rows(np.array([good, row], np.float32), 2, 2)


@pytest.mark.parametrize(
    "bad", [np.zeros((112, 112), np.uint8), np.zeros((112, 112, 3)), np.zeros((96, 112, 3), np.uint8)]
)
def test_a_crop_of_another_shape_or_type_is_refused(tmp_path: Path, bad: Any) -> None:
    simulated = open_embedder(simulated_pack(tmp_path / "s"))
    onnx = open_embedder(onnx_pack(tmp_path / "o", None), "cpu", 1)
    for embedder in (simulated, onnx):
        with pytest.raises(ValueError, match=r"a crop is \(112, 112, 3\) uint8"):
            embedder.pack([pictures(1)[0], bad])


def test_no_crops_are_no_vectors(tmp_path: Path) -> None:
    assert embed(open_embedder(simulated_pack(tmp_path, 16)), []).shape == (0, 16)


def test_simulated_vectors_depend_on_the_picture_alone(tmp_path: Path) -> None:
    first = open_embedder(simulated_pack(tmp_path / "a"))
    second = open_embedder(simulated_pack(tmp_path / "b", seconds_per_batch=0.001))
    crops = [*pictures(6), np.zeros((112, 112, 3), np.uint8)]
    vectors = embed(first, crops)
    assert vectors == pytest.approx(embed(second, crops[::-1])[::-1], abs=1e-6)
    assert np.array_equal(vectors, embed(second, crops))
    assert np.abs(vectors @ vectors.T - np.eye(7)).max() < 0.5


@pytest.mark.parametrize("runtime", ["float32", "fused"])
def test_every_runtime_by_name_gives_the_vectors_of_float32(tmp_path: Path, runtime: str) -> None:
    pack = torch_pack(tmp_path, state_dict())
    plain = embed(open_embedder(pack, "cpu", runtime="float32"), pictures(3))
    opened = open_embedder(pack, "cpu", runtime=runtime)
    assert runtime in opened.runtime
    assert np.abs(embed(opened, pictures(3)) - plain).max() < 1e-4


def test_a_runtime_that_does_not_fit_is_refused_in_words(tmp_path: Path) -> None:
    pack = torch_pack(tmp_path / "torch", state_dict())
    with pytest.raises(Misconfigured, match="no runtime is called 'tensorflow'; known: auto"):
        open_embedder(pack, "cpu", runtime="tensorflow")
    with pytest.raises(Misconfigured, match="float16, which cannot serve this network: this cpu has no such form"):
        open_embedder(pack, "cpu", runtime="float16")
    with pytest.raises(Misconfigured, match="is an ONNX model: onnxruntime runs it, not fused"):
        open_embedder(onnx_pack(tmp_path / "onnx", None), "cpu", runtime="fused")


def test_a_simulated_batch_takes_as_long_as_told(tmp_path: Path) -> None:
    embedder = open_embedder(simulated_pack(tmp_path, seconds_per_batch=0.05))
    batch = embedder.pack(pictures(200))
    started = time.perf_counter()
    embedder.forward(batch)
    assert 0.05 <= time.perf_counter() - started < 200 * 0.05


def test_simulated_and_onnx_workers_never_load_torch(tmp_path: Path) -> None:
    simulated_pack(tmp_path / "s")
    onnx_pack(tmp_path / "o", None)
    code = (
        "import pathlib, sys; from kith.checkpoints import load_pack; from kith.embedder import open_embedder\n"
        f"for name in 'so': open_embedder(load_pack(pathlib.Path({str(tmp_path)!r}) / name), 'cpu', 1)\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class _Device:
    """An embedder that takes as long as a table says, by a clock of its own."""

    dimension, model_id, runtime = 2, "x", "none"

    def __init__(self, milliseconds: dict[int, float], monkeypatch: pytest.MonkeyPatch) -> None:
        self._milliseconds, self._now_s = milliseconds, 0.0
        monkeypatch.setattr("kith.embedder.time", SimpleNamespace(perf_counter=lambda: self._now_s))

    def pack(self, crops: Sequence[NDArray[np.uint8]]) -> int:
        return len(crops)

    def forward(self, batch: int) -> int:
        self._now_s += self._milliseconds[batch] / 1000
        return batch

    def unpack(self, out: int, n: int) -> NDArray[np.float32]:
        return np.ones((n, 2), np.float32)


def test_the_smallest_batch_that_is_about_as_fast_as_the_best_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    # Per image: 2, 1, 0.5, 0.495 and 1 ms; 32 is best, 16 is within 3 % of it.
    device = _Device({4: 8, 8: 8, 16: 8, 32: 15.8, 64: 64}, monkeypatch)
    assert best_batch_size(device, seconds=0.5) == 16
    clear = _Device({4: 8, 8: 30, 16: 60}, monkeypatch)
    assert best_batch_size(clear, (4, 8, 16), seconds=0.2) == 4


def test_where_the_largest_batch_is_the_best_larger_ones_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    device = _Device({4: 8, 8: 8, 16: 8, 32: 8, 64: 8, 128: 30}, monkeypatch)
    assert best_batch_size(device, seconds=0.2) == 64
    steady = _Device({2**power: 8 for power in range(2, 9)}, monkeypatch)
    assert best_batch_size(steady, seconds=0.2) == 256, "there is an end to it"


def test_a_simulated_device_knows_its_batch(tmp_path: Path) -> None:
    started = time.perf_counter()
    assert best_batch_size(open_embedder(simulated_pack(tmp_path, seconds_per_batch=0.2, batch=7)), seconds=60) == 7
    assert time.perf_counter() - started < 30


def test_half_the_cores_are_left_to_preparation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(6)), raising=False)
    assert (cpu_threads(0), cpu_threads(5)) == (3, 5)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0}, raising=False)
    assert cpu_threads(0) == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_missing_gpu_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="no CUDA"):
        open_embedder(torch_pack(tmp_path / "t", state_dict()), "cuda")
    with pytest.raises(Misconfigured, match="onnxruntime-gpu"):
        open_embedder(onnx_pack(tmp_path / "o", None), "cuda")


def test_onnxruntime_that_falls_back_to_the_cpu_is_found_out_where_cuda_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cpu_only = onnxruntime.InferenceSession
    asked: list[list[str]] = []

    def without_driver(model: bytes, options: object, providers: list[str]) -> object:
        # As onnxruntime-gpu does it: CUDA is among its providers, cannot be loaded, and is left out.
        asked.append(providers)
        return cpu_only(model, options, providers=providers[-1:])

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: print("Failed to load libcublas.so"))
    monkeypatch.setattr(onnxruntime, "InferenceSession", without_driver)
    pack = onnx_pack(tmp_path, None)
    with pytest.raises(Misconfigured, match="onnxruntime cannot use it"):
        open_embedder(pack, "cuda", 1)
    assert open_embedder(pack, "auto", 1).runtime == "onnxruntime CPUExecutionProvider"
    assert open_embedder(pack, "cpu", 1).runtime == "onnxruntime CPUExecutionProvider"
    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    assert asked == [both, both, both[1:]]
    shown = capsys.readouterr()
    assert (shown.out, shown.err.count("libcublas")) == ("", 2), "standard output is for answers"

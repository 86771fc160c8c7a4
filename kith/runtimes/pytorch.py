"""Networks of kith.networks run by torch, on the GPU in float16, on the CPU in the fastest way that keeps accuracy."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.fx.proxy import TraceError

from kith.checkpoints import Pack
from kith.embedder import Vectors, cpu_threads, stack, unit_rows
from kith.errors import InvalidPack, Misconfigured
from kith.networks import build
from kith.networks.weights import load_into, read_state
from kith.runtimes.fusion import fold_batch_norms, fuse_activations

#: A faster form of the network must agree with plain float32 to this cosine on every test picture, or a slower one
#: serves. It catches a broken kernel and a network that cannot bear the type; coloured squares are harder than faces.
MIN_AGREEMENT = 0.99

#: bfloat16 has 8 bits of mantissa. What the first layers round away no later one brings back: with all of MobileFaceNet
#: in bfloat16 the worst of 640 faces had cosine 0.9968 to float32, with its maps above 28×28 in float32 0.9992.
EXACT_ABOVE_PX = 28


class TorchEmbedder:
    """(112, 112, 3) uint8 crops → batch (n, 112, 112, 3) uint8 tensor → (n, dimension) unit rows; see kith.embedder.

    runtime: `auto`, the fastest form that agrees with float32; `float32`, the reference itself; or a form by name.
    """

    def __init__(self, pack: Pack, device: str = "auto", threads: int = 0, runtime: str = "auto") -> None:
        spec = pack.manifest.embedder
        self.dimension = pack.dimension
        self.model_id = pack.model_id
        self._size = pack.input_size
        self._device = _device(device)
        torch.set_num_threads(cpu_threads(threads))
        std = torch.tensor(spec.std)
        self._factor = (spec.scale / std).to(self._device)
        self._offset = (-torch.tensor(spec.mean) / std).to(self._device)
        self._order = slice(None) if spec.channels == "RGB" else slice(None, None, -1)
        self._dtype = torch.float32
        self._network: nn.Module = load_network(pack).to(self._device)
        self.runtime = f"torch {self._device.type} float32"
        if runtime != "float32":
            self._speed_up(runtime)

    def pack(self, crops: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Crops to (n, 112, 112, 3) uint8, in page-locked memory when they go to a GPU."""
        batch = torch.from_numpy(np.ascontiguousarray(stack(crops, self._size)[..., self._order]))
        return batch.pin_memory() if self._device.type == "cuda" else batch

    @torch.inference_mode()
    def forward(self, batch: Tensor) -> Tensor:
        """(n, 112, 112, 3) uint8 to (n, dimension), not normalised, on the device."""
        out: Tensor = self._network(self._normalise(batch))
        return out

    @torch.inference_mode()
    def unpack(self, out: Tensor, n: int) -> Vectors:
        """(n, dimension) float32 unit rows; waits for the GPU."""
        return unit_rows(out.float().cpu().numpy(), n, self.dimension)

    def _normalise(self, batch: Tensor) -> Tensor:
        """Bytes cross to the device, floats are made there. Crops lie in memory channels last, so the permuted view is
        already what convolutions like best and nothing is moved."""
        pixels = batch.to(self._device, non_blocking=True).to(torch.float32)
        return torch.addcmul(self._offset, pixels, self._factor).permute(0, 3, 1, 2).to(self._dtype)

    @torch.inference_mode()
    def _speed_up(self, runtime: str) -> None:
        """Replace the network by the fastest form of itself that agrees with it, or by the one called `runtime`."""
        forms = _forms(self._device)
        wanted = forms if runtime == "auto" else tuple(form for form in (*forms, _COMPILED) if form.name == runtime)
        why = f"this {self._device.type} has no such form"
        reference, test = self._network, torch.from_numpy(_test_pictures(self._size))
        expected = self.unpack(self.forward(test), len(test))
        for form in wanted:
            try:
                self._network, self._dtype = self._in_form(form, reference, test), form.input
                agreement = (self.unpack(self.forward(test), len(test)) * expected).sum(axis=1).min()
            # RuntimeError: an operator this machine does not have. The reference has run, so it is the form.
            except (TraceError, RuntimeError, InvalidPack) as cannot:
                why = str(cannot).splitlines()[0] if str(cannot) else type(cannot).__name__
                continue
            if agreement >= MIN_AGREEMENT:
                self.runtime = f"torch {self._device.type} {form.name}"
                return
            why = f"its vectors have cosine {agreement:.3f} to float32 at worst"
        if runtime != "auto":
            raise Misconfigured(f"model.runtime is {runtime}, which cannot serve this network: {why}; set it to auto")
        self._network, self._dtype = reference, torch.float32

    def _in_form(self, form: "_Form", reference: nn.Module, test: Tensor) -> nn.Module:
        folded = fold_batch_norms(reference)
        folded.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if form.compiled:
            # One graph for batches of any size: without it every new size compiles for seconds in mid-service.
            return torch.compile(folded.to(form.convolutions), dynamic=True)  # type: ignore[return-value]
        if self._device.type == "cpu":
            self._dtype = torch.float32
            return fuse_activations(folded, self._normalise(test), form.convolutions, form.exact_above_px)
        return folded.to(form.convolutions)


@dataclass(frozen=True, slots=True)
class _Form:
    """A way to compute the network. input: type of the pixels; compiled: by torch's compiler, which takes a minute and
    a C++ compiler; see `fuse_activations` for the rest."""

    name: str
    convolutions: torch.dtype
    input: torch.dtype = torch.float32
    exact_above_px: int = 0
    compiled: bool = False


#: Never chosen by itself: a worker that starts after a minute is a worker that is missing for a minute.
_COMPILED = _Form("compiled", torch.bfloat16, torch.bfloat16, compiled=True)


def _forms(device: torch.device) -> tuple[_Form, ...]:
    """Fastest first."""
    exact = _Form("fused", torch.float32)
    if device.type == "cuda":
        # float16, not bfloat16: three bits more, and an overflow would not pass the agreement or `unit_rows`.
        return (_Form("float16", torch.float16, torch.float16), exact)
    if not has_bfloat16():
        return (exact,)
    return (_Form("bfloat16", torch.bfloat16, exact_above_px=EXACT_ABOVE_PX), exact)


def has_bfloat16() -> bool:
    """Whether this CPU has the instructions; without them bfloat16 is emulated, correct and slower than float32."""
    can = torch.cpu.get_capabilities()
    return any(can.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def load_network(pack: Pack) -> nn.Module:
    """The float32 network of a torch or safetensors pack, on the CPU in eval mode.

    Nothing in the file is executed. Raises InvalidPack when it holds anything but tensors, tensors that are not finite,
    or other names and shapes than the network has.
    """
    spec = pack.manifest.embedder
    where = f"{pack.path}: {spec.file}"
    state = read_state(pack.read(spec), where, spec.format)
    return load_into(build(spec.network or "", spec.dimension), state, where, str(spec.network))


def _device(wanted: str) -> torch.device:
    cuda = torch.cuda.is_available()
    if wanted == "cuda" and not cuda:
        raise Misconfigured("model.device is cuda, but torch finds no CUDA device; set it to auto or cpu")
    return torch.device("cuda" if cuda and wanted != "cpu" else "cpu")


def _test_pictures(size: int) -> NDArray[np.uint8]:
    """(8, size, size, 3): coloured squares, whose mix of flat areas and edges spans the values a face has."""
    squares = np.random.RandomState(0).randint(0, 256, (8, -(-size // 8), -(-size // 8), 3))
    return squares.repeat(8, axis=1).repeat(8, axis=2)[:, :size, :size].astype(np.uint8)

"""The network a run begins with: a new one, a pack's, or a trained classifier with its head cut off.

With it come how pixels are fed to it and the form in which it goes into the new pack.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from kith.checkpoints import load_pack
from kith.errors import Misconfigured
from kith.manifest import EmbedderSpec
from kith.networks import build
from kith.networks.classifiers import OURS, load_classifier
from kith.networks.heads import project
from kith.networks.resized import CROP_PX, Resized
from kith.networks.weights import save_state
from kith.packs.conventions import Conventions, check_named
from kith.runtimes.export import export_onnx, parity
from kith.runtimes.pytorch import load_network
from kith.training.config import Network, TrainConfig

#: Numbers in an embedding of a new network, where nobody says otherwise.
_DIMENSION = 128


@dataclass(frozen=True, slots=True, eq=False)
class Beginning:
    """network: (n, 3, 112, 112) float32 to (n, spec.dimension), to be trained in place. spec: how it is fed, and what
    kind of file it becomes. notes: what the user should know of it."""

    network: nn.Module
    spec: EmbedderSpec
    notes: tuple[str, ...] = ()

    def file(self, trained: nn.Module) -> bytes:
        """`trained`, a network like this one, as the pack's file. Raises Rejected when it cannot be exported."""
        if self.spec.format == "safetensors":
            return save_state(trained)
        plain = trained.to("cpu", memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
        data = export_onnx(plain)
        parity(plain, data)
        return data


def begin(config: TrainConfig) -> Beginning:
    """As `config.network` says. Raises Misconfigured, Rejected, InvalidPack."""
    wanted = config.network
    if wanted.classifier is not None:
        if wanted.start is not None:
            raise Misconfigured("a run begins with a classifier (--from) or with a pack (--start), not with both")
        return _cut(wanted, wanted.classifier, config.licence)
    if wanted.start is not None:
        return _continued(wanted, wanted.start)
    dimension = wanted.dimension or _DIMENSION
    spec = EmbedderSpec("safetensors", dimension, "embedder.safetensors", network=wanted.name)
    if config.teacher is not None:
        spec = _fed_like(spec, load_pack(config.teacher).manifest.embedder)
    return Beginning(build(wanted.name, dimension), spec)


def _continued(wanted: Network, start: Path) -> Beginning:
    pack = load_pack(start)
    spec = pack.manifest.embedder
    dimension = wanted.dimension or spec.dimension
    if spec.network != wanted.name or spec.dimension != dimension:
        raise Misconfigured(
            f"{start} holds {spec.network or spec.format} of dimension {spec.dimension}, the configuration wants "
            f"{wanted.name} of dimension {dimension}"
        )
    plain = EmbedderSpec("safetensors", dimension, "embedder.safetensors", network=wanted.name)
    return Beginning(load_network(pack), _fed_like(plain, spec))


def _cut(wanted: Network, source: str, licence: str) -> Beginning:
    said = Conventions(channels=wanted.channels, scale=wanted.scale, mean=wanted.mean, std=wanted.std, licence=licence)
    if not source.startswith(OURS):
        check_named(said, source)
    loaded = load_classifier(source, wanted.weights)
    cut = loaded.cut(wanted.layer, wanted.input_size)
    projected = wanted.dimension is not None and wanted.dimension != cut.dimension
    if projected and wanted.dimension is not None:
        cut = project(cut, wanted.dimension)
    size = wanted.input_size or loaded.input_size
    if loaded.builder is not None and wanted.layer is None and not projected and size == CROP_PX:
        spec = EmbedderSpec("safetensors", cut.dimension, "embedder.safetensors", network=loaded.builder)
        network = cut.network
    else:
        spec = EmbedderSpec("onnx", cut.dimension, "embedder.onnx")
        network = Resized(cut.network, size)
    _check_trainable(network, source)
    what = f"the output of {cut.layer}" if wanted.layer else f"what went into {cut.layer or 'its end'}"
    note = f"begins with {source}: the embedding is {what}, {cut.dimension} numbers"
    return Beginning(network, said.apply(spec), (f"{note} of a fresh projection" if projected else note,))


def _fed_like(spec: EmbedderSpec, parent: EmbedderSpec) -> EmbedderSpec:
    return replace(
        spec,
        channels=parent.channels,
        scale=parent.scale,
        mean=parent.mean,
        std=parent.std,
        template=parent.template,
    )


def _check_trainable(network: nn.Module, source: str) -> None:
    """Raises Misconfigured where nothing of `network` can learn, or where it takes batches of one size only."""
    if not any(value.requires_grad for value in network.parameters()):
        raise Misconfigured(f"{source} has no weights that can be trained; kith pack takes it as it is")
    for batch in (2, 3):
        try:
            with torch.no_grad():
                network.eval()(torch.zeros(batch, 3, CROP_PX, CROP_PX))
        except (RuntimeError, AssertionError) as fixed:
            raise Misconfigured(
                f"{source} does not take a batch of {batch} pictures ({str(fixed).splitlines()[0]}): record it with a "
                "batch of any size (torch.export.Dim) to train it; kith pack takes it as it is"
            ) from None

"""What a model pack says about itself: its files and how to use them. See kith.checkpoints for the folder around it."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from kith import wire
from kith.errors import InvalidPack, MalformedMessage, UnknownWireVersion

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(min_length=1, max_length=200)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
NonZero = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Point = tuple[Finite, Finite]

#: Where ArcFace (Deng et al. 2019) and most networks since expect eyes, nose and mouth corners in 112×112 pixels.
TEMPLATE: tuple[Point, Point, Point, Point, Point] = (
    (38.29, 51.70),
    (73.53, 51.50),
    (56.03, 71.74),
    (41.55, 92.37),
    (70.73, 92.20),
)


@dataclass(frozen=True, slots=True)
class EmbedderSpec:
    """How pixels become a vector: network value = (pixel · scale − mean) / std per channel, pixel in 0..255.

    file, sha256: the weights; None for `simulated`. network: builder name of kith.networks, for torch and safetensors.
    mean and std are in the order of `channels`. template: where the five landmarks (eye, eye, nose, mouth corner, mouth
    corner, left to right in the image) lie in the input, pixels.
    """

    format: Literal["torch", "safetensors", "onnx", "simulated"]
    dimension: Annotated[int, Field(ge=1, le=8192)]
    file: FileName | None = None
    sha256: Sha256 | None = None
    network: str | None = None
    input_size: Literal[112] = 112
    channels: Literal["RGB", "BGR"] = "RGB"
    scale: NonZero = 1 / 255
    mean: tuple[Finite, Finite, Finite] = (0.5, 0.5, 0.5)
    std: tuple[NonZero, NonZero, NonZero] = (0.5, 0.5, 0.5)
    template: tuple[Point, Point, Point, Point, Point] = TEMPLATE


@dataclass(frozen=True, slots=True)
class DetectorSpec:
    """A face detector in ONNX: YuNet with free height and width (kith.yunet), or SCRFD with landmarks (kith.scrfd)."""

    file: FileName
    sha256: Sha256
    format: Literal["onnx"] = "onnx"
    kind: Literal["yunet", "scrfd"] = "yunet"


@dataclass(frozen=True, slots=True)
class Simulation:
    """The speed of a simulated device: `seconds_per_batch` for one forward call of up to `batch` crops."""

    seconds_per_batch: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    batch: Annotated[int, Field(ge=1, le=1024)]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What manifest.json holds. default_cutoff: cosine a match needs where no gallery was calibrated; cutoff_note: how
    it was found. licence and source are as stated by whoever published the weights."""

    name: str
    licence: str
    source: str
    embedder: EmbedderSpec
    default_cutoff: Annotated[float, Field(ge=-1, le=1)]
    cutoff_note: str
    detector: DetectorSpec | None = None
    simulated: Simulation | None = None
    notes: str = ""
    wire: Literal[1] = 1


def parse(text: str | bytes, where: str) -> Manifest:
    """The manifest in JSON, checked. Raises InvalidPack, naming `where` and the field at fault."""
    try:
        manifest = wire.from_json(Manifest, text)
    except (MalformedMessage, UnknownWireVersion) as broken:
        raise InvalidPack(f"{where} is not a valid manifest: {broken}") from None
    embedder = manifest.embedder
    if embedder.format == "simulated":
        if manifest.simulated is None or embedder.file is not None:
            raise InvalidPack(f"{where}: a simulated embedder has `simulated` and no file")
    elif embedder.file is None or embedder.sha256 is None:
        raise InvalidPack(f"{where}: an embedder of format {embedder.format} needs its file and sha256")
    if embedder.format in ("torch", "safetensors") and embedder.network is None:
        raise InvalidPack(f"{where}: weights of format {embedder.format} need the name of their network")
    return manifest

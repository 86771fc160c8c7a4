"""What somebody who has a network must say about it: how pixels become its input, and on what terms it may be used."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from kith.errors import Rejected
from kith.manifest import TEMPLATE, EmbedderSpec, Point

Three = tuple[float, float, float]

#: Templates by name: where the five landmarks lie in the 112×112 input.
TEMPLATES = {"arcface": TEMPLATE}

#: A cosine no network was measured at. High: a stranger who is let in costs more than a friend who is asked again.
CUTOFF = 0.5
CUTOFF_NOTE = (
    f"not measured: {CUTOFF} is a cautious value for want of a better one. `kith calibrate` finds the cutoff for the "
    "false-positive rate you accept, on searches of your own"
)

_EXAMPLE = (
    "The usual ones: --channels RGB --scale 1 --mean 127.5 --std 127.5 (ArcFace and its kin), or --channels RGB "
    "--scale 0.00392156862745098 --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 (ImageNet)"
)


@dataclass(frozen=True, slots=True)
class Conventions:
    """What was said, None for what was not. A network's value = (pixel · scale − mean) / std per channel, in the order
    of `channels`, pixel in 0..255. network: a builder name of kith.networks, for weights of torch."""

    channels: str | None = None
    scale: float | None = None
    mean: Three | None = None
    std: Three | None = None
    template: tuple[Point, Point, Point, Point, Point] | None = None
    network: str | None = None
    dimension: int | None = None
    cutoff: float | None = None
    cutoff_note: str | None = None
    licence: str | None = None
    source: str | None = None

    def apply(self, spec: EmbedderSpec) -> EmbedderSpec:
        """`spec` with everything replaced that was said of it."""
        said = {name: getattr(self, name) for name in ("channels", "scale", "mean", "std", "template")}
        return replace(spec, **{name: value for name, value in said.items() if value is not None})


def check_named(said: Conventions, what: str, networks: Sequence[str] = ()) -> None:
    """Raises Rejected, listing the flags, when `said` leaves open how `what`, a network nobody knows, is used.

    networks: the names one of which has to be given too, for weights without their network.
    """
    flags = {
        "--channels RGB or BGR": said.channels,
        "--mean (one number, or three)": said.mean,
        "--std (one number, or three)": said.std,
        "--licence TEXT, as its publisher states it": said.licence,
    }
    if networks:
        flags[f"--network, one of {', '.join(networks)}"] = said.network
    missing = [flag for flag, value in flags.items() if value is None]
    if missing:
        raise Rejected(
            f"{what} is not known to Kith, and a network whose preprocessing is guessed is worth nothing. Name: "
            f"{'; '.join(missing)}. Besides: --scale (default 1/255), --template (default arcface), --detector, "
            f"--cutoff, --source. {_EXAMPLE}"
        )


def three(text: str, flag: str) -> Three:
    """`0.5` for all channels, or `0.485,0.456,0.406`. Raises Rejected."""
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) == 1:
        return numbers[0], numbers[0], numbers[0]
    if len(numbers) != 3:
        raise Rejected(f"{flag} {text!r} is neither one number nor three with commas between them")
    return numbers[0], numbers[1], numbers[2]


def template(text: str) -> tuple[Point, Point, Point, Point, Point]:
    """A template by its name, or five points in JSON. Raises Rejected."""
    if text in TEMPLATES:
        return TEMPLATES[text]
    try:
        points = [(float(x), float(y)) for x, y in json.loads(text)]
    except (ValueError, TypeError):
        points = []
    if len(points) != 5:
        raise Rejected(
            f"--template {text!r} is neither {' nor '.join(TEMPLATES)} nor five points as JSON: [[x, y], …] of eye, "
            "eye, nose, mouth corner, mouth corner, in pixels of the 112×112 input"
        )
    return points[0], points[1], points[2], points[3], points[4]

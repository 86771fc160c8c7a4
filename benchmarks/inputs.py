"""The pictures and weights that benchmarks work on."""

import io
import random
from pathlib import Path

from PIL import Image

#: Beside the checkout; `--data` names another place.
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

#: Side of an aligned crop, pixels.
CROP_PX = 112

_JPEG_QUALITY = 88
_SEED = 1


def aligned_crops(data: Path, count: int) -> list[Path]:
    """`count` aligned 112×112 crops of people, fewer where there are fewer."""
    return _some(data / "aligned" / "val", count)


def loose_crops(data: Path, count: int) -> list[Path]:
    """`count` loose crops: the face box doubled, longest side at most 160 pixels."""
    return _some(data / "faces" / "val", count)


def photos(data: Path) -> list[Path]:
    """Whole photographs with one person or two."""
    return sorted((data / "camera" / "real").rglob("*.jpg"))


def weights(data: Path) -> Path | None:
    """The model pack of the MobileFaceNet class, None where it is missing."""
    folder = data / "weights"
    return folder if folder.is_dir() and any(folder.iterdir()) else None


def made_up_crops(count: int) -> list[bytes]:
    """`count` different JPEGs of 112×112 pixels, about as large as those of faces: soft shapes under a little noise.

    For devices that are simulated: there, nothing depends on what a picture shows.
    """
    noise = random.Random(_SEED)
    return [_crop(noise) for _ in range(count)]


def _crop(noise: random.Random) -> bytes:
    def picture(side: int) -> Image.Image:
        return Image.frombytes("RGB", (side, side), noise.randbytes(side * side * 3))

    shapes = picture(8).resize((CROP_PX, CROP_PX), Image.Resampling.BICUBIC)
    grain = picture(CROP_PX // 2).resize((CROP_PX, CROP_PX), Image.Resampling.BILINEAR)
    out = io.BytesIO()
    Image.blend(shapes, grain, 0.1).save(out, "JPEG", quality=_JPEG_QUALITY)
    return out.getvalue()


def _some(folder: Path, count: int) -> list[Path]:
    found = sorted(folder.rglob("*.jpg"))
    # Spread over all people: the first of each hundred would be a few identities only.
    step = max(1, len(found) // count)
    return found[::step][:count]

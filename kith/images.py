"""Bytes → pixels: upright RGB, with limits that hold before a single pixel is allocated.

Senders are not trusted: a 100 kB file can ask for gigabytes. Formats are told by their first bytes and opened by their
own Pillow class, not by `Image.open`: its decompression-bomb limit is a global that warns, ours is a setting that names
itself, and formats nobody asked for stay out of reach.
"""

import functools
import io
from collections.abc import Callable
from types import ModuleType
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from kith.errors import AnimatedImage, EmptyImage, ImageRejected, ImageTooLarge, NotAnImage, TruncatedImage
from kith.image_headers import END_OF_JPEG, cut_short, form_of, is_apng, looks_like, orientation, webp_size
from kith.settings import Limits

Pixels = NDArray[np.uint8]
_Seen = TypeVar("_Seen")

#: Pixels on the longer side: OpenCV's warp, which cuts the faces out, addresses its source with signed 16-bit numbers.
MAX_SIDE_PX = 32_767

#: EXIF orientation → the view that stands upright. (H, W, 3) in; 5..8 swap the sides. 1 and nonsense change nothing.
_UPRIGHT: dict[int, Callable[[Pixels], Pixels]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: pixels.transpose(1, 0, 2)[:, ::-1],
    7: lambda pixels: pixels.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda pixels: pixels.transpose(1, 0, 2)[::-1],
}


class _Jpeg(JpegImageFile):
    def _read_dpi_from_exif(self) -> None:
        """Skipped: it warns about damaged EXIF, and nobody here asks for dots per inch."""


def decode(data: bytes, limits: Limits) -> Pixels:
    """Decode one still image (JPEG, PNG, WebP, BMP, TIFF or GIF).

    Returns uint8 (H, W, 3), RGB, 0..255, upright (EXIF orientation applied), C-contiguous and writable. 16-bit samples
    keep their high byte, transparency is laid on white, colour profiles are ignored. Raises EmptyImage, NotAnImage,
    TruncatedImage, AnimatedImage, ImageTooLarge; nothing else, whatever the bytes. Safe to call from many threads.
    """

    def upright(image: ImageFile, form: str) -> Pixels:
        # TIFF turns itself upright while loading, so its tag must not be obeyed a second time.
        turn = None if form == "TIFF" else _UPRIGHT.get(orientation(image.info.get("exif") or b""))
        pixels = _load(image, data)
        return np.ascontiguousarray(turn(pixels) if turn else pixels)

    return _read(data, limits, upright)


def inspect(data: bytes, limits: Limits) -> tuple[int, int]:
    """Width and height in pixels, as the header of one still image declares them; nothing is decoded.

    Raises as `decode`, for what can be told by that. Safe to call from many threads.
    """
    return _read(data, limits, lambda image, _: image.size)


def _read(data: bytes, limits: Limits, read: Callable[[ImageFile, str], _Seen]) -> _Seen:
    if not data:
        raise EmptyImage
    if len(data) > limits.image_bytes:
        raise ImageTooLarge(
            f"the image has {len(data):,} bytes, limits.image_bytes allows {limits.image_bytes:,}; "
            "send a smaller file or raise the setting"
        )
    form = form_of(data)
    if form is None:
        raise NotAnImage(f"the bytes are {looks_like(data)}; send JPEG, PNG, WebP, BMP, TIFF or a still GIF")
    try:
        # Before their Pillow classes see them: those allocate a canvas (WebP, GIF) or warn (APNG) while opening.
        if form == "WebP":
            _check_size(*webp_size(data), limits)
        elif form == "GIF":
            _check_size(int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little"), limits)
        elif form == "PNG" and is_apng(data):
            raise AnimatedImage
        with _OPENERS[form](io.BytesIO(data)) as image:
            _check_size(*image.size, limits)
            # A JPEG is never animated: the further pictures in a phone's file are depth maps and previews of the first.
            if _has_more_frames(image):
                raise AnimatedImage
            return read(image, form)
    except ImageRejected:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        # Inside TIFF's tiles and WebP's canvas Pillow keeps a limit of its own, 179 million: ours may be set higher.
        raise ImageTooLarge(f"the {form} asks for more pixels than its decoder takes; scale it down") from None
    except Exception as broken:  # noqa: BLE001
        # Pillow promises no set of exceptions for hostile files: struct.error, ZeroDivisionError and MemoryError (a
        # codec's own, for the pixel limit has held by now) have all been seen.
        if cut_short(form, data) or "truncated" in str(broken).lower():
            raise TruncatedImage(
                f"the {form} ends after {len(data):,} bytes, before its data does; send it again"
            ) from None
        raise NotAnImage(
            f"the bytes begin like a {form} but cannot be decoded ({broken or type(broken).__name__})"
        ) from None


def _load(image: ImageFile, data: bytes) -> Pixels:
    """Pixels as stored, not yet upright: uint8 (H, W, 3)."""
    # OpenCV spares the detour over Pillow's four-byte pixels: 2.3 against 3.7 ms for 1280×720, the same libjpeg-turbo
    # and the same pixels. It is left to Pillow to judge files without an end mark, and to know CMYK.
    if isinstance(image, JpegImageFile) and image.mode in ("RGB", "L") and data.endswith(END_OF_JPEG):
        cv2 = _opencv()
        if cv2 is not None:
            flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
            pixels: Pixels | None = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
            if pixels is not None:
                return pixels
    image.load()
    if image.mode.startswith("I;16"):
        # The high byte, as Pillow itself takes it from 16-bit RGB: grey saved either way gives the same pixels.
        # convert("RGB") would clip everything above 255 to white.
        return np.repeat(_high_byte(image)[:, :, None], 3, axis=2)
    if image.mode in ("I", "F"):
        raise NotAnImage(
            "the image has 32-bit or signed samples, whose black and white are not defined; save it as 8 or 16 bit"
        )
    if "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        # On white, because that is how mail, browsers and viewers showed the picture to whoever sent it; the colour
        # stored under full transparency is arbitrary, often black.
        seen = image.convert("RGBA")
        ground = Image.new("RGBA", seen.size, (255, 255, 255, 255))
        return np.array(Image.alpha_composite(ground, seen).convert("RGB"))
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def _high_byte(image: ImageFile) -> Pixels:
    """16-bit grey as uint8 (H, W)."""
    bits, white_is_zero = 16, False
    if isinstance(image, TiffImageFile):
        # Pillow widens 12-bit samples without scaling them, and inverts "white is zero" only up to 8 bits.
        bits, white_is_zero = int(image.tag_v2.get(258, (16,))[0]), image.tag_v2.get(262) == 0
    grey = (np.asarray(image).astype(np.uint16) >> max(bits - 8, 0)).astype(np.uint8)
    return 255 - grey if white_is_zero else grey


@functools.cache
def _opencv() -> ModuleType | None:
    # Producers install without the worker's extra; they decode the same pixels a little slower.
    try:
        import cv2  # noqa: PLC0415
    except ImportError:
        return None
    return cv2  # type: ignore[no-any-return,unused-ignore]


def _check_size(width: int, height: int, limits: Limits) -> None:
    if width * height > limits.image_pixels:
        raise ImageTooLarge(
            f"the image has {width} × {height} = {width * height:,} pixels, limits.image_pixels allows "
            f"{limits.image_pixels:,}; scale it down or raise the setting"
        )
    if max(width, height) > MAX_SIDE_PX:
        raise ImageTooLarge(f"the image measures {width} × {height} pixels, a side may have {MAX_SIDE_PX:,}; crop it")


def _has_more_frames(image: ImageFile) -> bool:
    if isinstance(image, TiffImageFile):
        # Asking Pillow would walk the whole chain of pages, which a hostile file can make a million long.
        return bool(image.tag_v2.next)
    return bool(getattr(image, "is_animated", False))


_OPENERS: dict[str, Callable[[io.BytesIO], ImageFile]] = {
    "JPEG": _Jpeg,
    "PNG": PngImageFile,
    "WebP": WebPImageFile,
    "BMP": BmpImageFile,
    "TIFF": TiffImageFile,
    "GIF": GifImageFile,
}

"""Decoding: right pixels for good files, the right refusal for bad ones, and nothing else for any bytes at all."""

import io
import resource
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kith import images
from kith.errors import (
    AnimatedImage,
    EmptyImage,
    ImageRejected,
    ImageTooLarge,
    NotAnImage,
    TruncatedImage,
)
from kith.images import MAX_SIDE_PX, Pixels, decode
from kith.settings import Limits

LIMITS = Limits()
LOSSLESS = {"PNG": {}, "BMP": {}, "TIFF": {}, "WEBP": {"lossless": True, "exact": True}}


def picture(height: int = 45, width: int = 67) -> Pixels:
    """Smooth, so that JPEG keeps it, and different in every corner, so that a turn shows."""
    y, x = np.mgrid[0:height, 0:width]
    parts = (255 * x / width, 255 * y / height, 127 + 120 * np.sin(x / 9) * np.cos(y / 7))
    return np.stack(parts, axis=2).astype(np.uint8)


def encode(pixels: Pixels | Image.Image, form: str, **options: object) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def frames(form: str, **options: object) -> bytes:
    pictures = [Image.fromarray(picture() // n) for n in (1, 2, 3)]
    return encode(pictures[0], form, save_all=True, append_images=pictures[1:], **options)


def tiff(width: int, height: int, bits: int, photometric: int, data: bytes) -> bytes:
    """A grey TIFF as Pillow itself cannot write it."""
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, photometric), (273, 8), (278, height)]
    tags += [(277, 1), (279, len(data))]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags))
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(tags)) + entries + b"\0" * 4


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    """A PNG from filtered rows already compressed; `colour` is its colour type."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("form", LOSSLESS)
def test_lossless_formats_return_the_very_pixels(form: str) -> None:
    decoded = decode(encode(picture(), form, **LOSSLESS[form]), LIMITS)
    assert decoded.dtype == np.uint8
    assert decoded.flags.c_contiguous
    assert decoded.flags.writeable
    np.testing.assert_array_equal(decoded, picture())


def test_a_jpeg_is_close_to_its_original_and_its_channels_are_in_order() -> None:
    decoded = decode(encode(picture(), "JPEG", quality=95), LIMITS)
    assert decoded.flags.c_contiguous
    assert decoded.flags.writeable
    assert np.abs(decoded.astype(int) - picture()).mean() < 2


def test_a_still_gif_is_an_image() -> None:
    decoded = decode(encode(picture(), "GIF"), LIMITS)
    assert np.abs(decoded.astype(int) - picture()).mean() < 12


@pytest.mark.parametrize(
    "options", [{}, {"subsampling": 0}, {"subsampling": 1}, {"progressive": True}, {"optimize": True, "quality": 30}]
)
@pytest.mark.parametrize("size", [(1, 1), (7, 9), (16, 16), (113, 55)])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_opencv_and_pillow_decode_a_jpeg_to_the_same_pixels(
    options: dict[str, object], size: tuple[int, int], mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encode(Image.fromarray(picture(*size)).convert(mode), "JPEG", **options)
    by_opencv = decode(data, LIMITS)
    monkeypatch.setattr(images, "_opencv", lambda: None)
    by_pillow = decode(data, LIMITS)
    assert by_opencv.shape == (*size, 3)
    # Two builds of one library: their arithmetic may round differently, one day.
    assert np.abs(by_opencv.astype(int) - by_pillow).max() <= 1


def test_a_jpeg_without_its_end_is_not_left_to_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    # Its older releases fill what is missing with grey and say nothing.
    opencv = Mock(imdecode=Mock(return_value=np.full((45, 67, 3), 128, np.uint8)))
    monkeypatch.setattr(images, "_opencv", lambda: opencv)
    data = encode(picture(), "JPEG")
    with pytest.raises(TruncatedImage):
        decode(data[: len(data) // 2], LIMITS)
    opencv.imdecode.assert_not_called()


#: EXIF's own words: which side of the scene row 0 and column 0 of the file are.
SIDES = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", SIDES)
def test_every_exif_orientation_stands_upright(form: str, orientation: int) -> None:
    options = LOSSLESS.get(form, {"quality": 95})
    stored = decode(encode(picture(6, 10), form, **options), LIMITS)
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = decode(encode(picture(6, 10), form, exif=exif, **options), LIMITS)

    row_side, column_side = SIDES[orientation]
    height, width = (6, 10) if row_side in ("top", "bottom") else (10, 6)
    assert upright.shape == (height, width, 3)
    for row in range(6):
        for column in range(10):
            at = {row_side: row, column_side: column}
            y = at["top"] if "top" in at else height - 1 - at["bottom"]
            x = at["left"] if "left" in at else width - 1 - at["right"]
            np.testing.assert_array_equal(upright[y, x], stored[row, column])
    assert upright.flags.c_contiguous


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0", b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01"]
)
def test_damaged_exif_is_no_reason_to_refuse_the_picture(exif: bytes) -> None:
    assert decode(encode(picture(), "JPEG", exif=exif), LIMITS).shape == (45, 67, 3)


def test_sixteen_bit_grey_is_scaled_and_not_clipped() -> None:
    ramp = np.linspace(0, 65535, 45 * 67).reshape(45, 67).astype(np.uint16)
    for form in ("PNG", "TIFF"):
        decoded = decode(encode(Image.fromarray(ramp), form), LIMITS)
        for y in range(0, 45, 7):
            for x in range(0, 67, 7):
                assert decoded[y, x].tolist() == [int(ramp[y, x]) // 256] * 3


def test_sixteen_bit_colour_gives_the_same_as_sixteen_bit_grey() -> None:
    ramp = np.linspace(0, 65535, 8 * 9).reshape(8, 9).astype(">u2")
    rows = b"".join(b"\0" + np.repeat(row, 3).tobytes() for row in ramp)
    colour = decode(png(9, 8, 16, 2, zlib.compress(rows)), LIMITS)
    np.testing.assert_array_equal(colour, decode(encode(Image.fromarray(ramp.astype(np.uint16)), "PNG"), LIMITS))


def test_twelve_bit_and_white_is_zero_tiff_mean_what_they_say() -> None:
    # Two 12-bit samples share three bytes: 0x000 is black, 0xFFF white.
    assert decode(tiff(2, 1, 12, 1, b"\x00\x0f\xff"), LIMITS)[0, :, 0].tolist() == [0, 255]
    assert decode(tiff(2, 1, 16, 0, b"\x00\x00\xff\xff"), LIMITS)[0, :, 0].tolist() == [255, 0]


def test_samples_without_a_defined_black_and_white_are_refused() -> None:
    for dtype in (np.float32, np.int32):
        with pytest.raises(NotAnImage, match="8 or 16 bit"):
            decode(encode(Image.fromarray(np.zeros((4, 4), dtype)), "TIFF"), LIMITS)


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb(form: str) -> None:
    inks = np.zeros((16, 16, 4), np.uint8)
    inks[...] = (200, 30, 90, 40)
    decoded = decode(encode(Image.fromarray(inks, "CMYK"), form), LIMITS)
    expected = [(255 - ink) * (255 - 40) / 255 for ink in (200, 30, 90)]
    assert np.abs(decoded[8, 8] - np.array(expected)).max() <= 3


@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF"])
def test_transparency_is_laid_on_white(form: str) -> None:
    rgba = np.dstack([picture(4, 6), np.linspace(0, 255, 24).reshape(4, 6).astype(np.uint8)])
    decoded = decode(encode(rgba, form, **LOSSLESS[form]), LIMITS)
    for y in range(4):
        for x in range(6):
            *colour, alpha = (int(value) for value in rgba[y, x])
            for channel in range(3):
                expected = (colour[channel] * alpha + 255 * (255 - alpha)) / 255
                assert abs(int(decoded[y, x, channel]) - expected) <= 1


def test_a_transparent_palette_entry_is_white_and_other_entries_keep_their_colour() -> None:
    image = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8), "L").convert("P")
    image.putpalette([10, 20, 30, 200, 100, 50])
    for form, transparency in (("PNG", b"\x00\xff"), ("GIF", 0)):
        decoded = decode(encode(image, form, transparency=transparency), LIMITS)
        assert decoded.tolist() == [[[255, 255, 255], [200, 100, 50]], [[200, 100, 50], [255, 255, 255]]]


def test_one_bit_images_are_black_and_white() -> None:
    bits = np.array([[True, False], [False, True]])
    for form in ("PNG", "TIFF", "BMP"):
        assert decode(encode(Image.fromarray(bits), form), LIMITS)[..., 1].tolist() == [[255, 0], [0, 255]]


def test_zero_bytes_are_an_empty_image() -> None:
    with pytest.raises(EmptyImage):
        decode(b"", LIMITS)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_a_file_cut_short_is_called_so(form: str, share: float) -> None:
    data = encode(picture(90, 90), form)
    # TIFF writes its directory at the end or the start, without it nothing says how long the file should be.
    refusals = (TruncatedImage, NotAnImage) if form == "TIFF" else TruncatedImage
    with pytest.raises(refusals):
        decode(data[: max(20, int(len(data) * share))], LIMITS)


def test_a_jpeg_that_lacks_only_its_end_mark_is_truncated_too() -> None:
    with pytest.raises(TruncatedImage):
        decode(encode(picture(), "JPEG")[:-2], LIMITS)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"Dear all, please find my picture attached.", "plain text"),
        ("Grüße: das Bild ist im Anhang".encode() * 40, "plain text"),
        (b"\xef\xbb\xbf<!DOCTYPE html><title>404</title>", "an HTML page"),
        (b'{"error": "expired"}', "JSON text"),
        (b"<?xml version='1.0'?><Error/>", "XML text"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
        (b"%PDF-1.7\n\x80\x81", "a PDF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (b"\0\0\0\x18ftypisom\0\0\0\0", "video"),
        (b"PK\x03\x04\0\0", "ZIP"),
        (b"\x00\x01\x02\x03\x9f", "of no known image format"),
        (b"BMW, Audi and others", "plain text"),
    ],
)
def test_what_is_not_an_image_is_told_what_it_looks_like(data: bytes, words: str) -> None:
    with pytest.raises(NotAnImage, match=words):
        decode(data, LIMITS)


def test_damage_inside_a_complete_file_is_not_called_truncation() -> None:
    data = bytearray(encode(picture(), "PNG"))
    data[20] ^= 0xFF
    with pytest.raises(NotAnImage, match="begin like a PNG but cannot be decoded"):
        decode(bytes(data), LIMITS)


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF"])
def test_several_frames_are_refused(form: str) -> None:
    with pytest.raises(AnimatedImage, match="several frames"):
        decode(frames(form), LIMITS)


def test_a_phones_jpeg_with_further_pictures_inside_is_its_first_picture() -> None:
    decoded = decode(frames("MPO", quality=95), LIMITS)
    assert np.abs(decoded.astype(int) - picture()).mean() < 2


def test_a_file_of_too_many_bytes_is_refused_unread() -> None:
    with pytest.raises(ImageTooLarge, match=r"1,001 bytes, limits\.image_bytes allows 1,000"):
        decode(b"x" * 1001, Limits(image_bytes=1000))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_a_picture_one_pixel_over_the_limit_is_refused_and_at_the_limit_accepted(form: str) -> None:
    data = encode(picture(10, 20), form)
    assert decode(data, Limits(image_pixels=200)).shape == (10, 20, 3)
    with pytest.raises(ImageTooLarge, match=r"20 × 10 = 200 pixels, limits\.image_pixels allows 199; scale it down"):
        decode(data, Limits(image_pixels=199))


def test_a_side_no_warp_can_address_is_refused() -> None:
    assert decode(encode(np.zeros((1, MAX_SIDE_PX, 3), np.uint8), "PNG"), LIMITS).shape[1] == MAX_SIDE_PX
    with pytest.raises(ImageTooLarge, match="a side may have 32,767"):
        decode(encode(np.zeros((1, MAX_SIDE_PX + 1, 3), np.uint8), "PNG"), LIMITS)


def bombs() -> dict[str, bytes]:
    packer = zlib.compressobj(9)
    row = b"\0" * (1 + 30_000 // 8)
    rows = b"".join(packer.compress(row * 1000) for _ in range(30)) + packer.flush()
    gif = bytearray(encode(picture(), "GIF"))
    gif[6:10] = b"\xff\xff\xff\xff"
    wide = bytearray(encode(np.dstack([picture(), picture()[..., 0]]), "WEBP"))
    wide[24:30] = b"\xff\x3f\0\xff\x3f\0"
    bmp = bytearray(encode(picture(), "BMP"))
    bmp[18:26] = struct.pack("<ii", 30_000, 30_000)
    tif = tiff(30_000, 30_000, 8, 1, b"\0")
    return {
        "PNG": png(30_000, 30_000, 1, 0, rows),
        "GIF": bytes(gif),
        "WEBP": bytes(wide),
        "BMP": bytes(bmp),
        "TIFF": tif,
    }


def test_a_small_file_that_asks_for_gigabytes_gets_none_of_them() -> None:
    for form, bomb in bombs().items():
        assert len(bomb) < 300_000
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(ImageTooLarge, match=r"limits\.image_pixels"):
            decode(bomb, LIMITS)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown < 20_000, f"{form}: {grown} KiB"


def test_pillows_own_limit_neither_decides_nor_warns_nor_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    for form in ("JPEG", "PNG", "BMP", "GIF"):
        assert decode(encode(picture(), form), LIMITS).shape == (45, 67, 3)
    assert Image.MAX_IMAGE_PIXELS == 10


def test_many_threads_decode_what_one_thread_decodes() -> None:
    files = [encode(picture() // n, form) for n in (1, 2, 3) for form in ("JPEG", "PNG", "WEBP", "GIF")]
    alone = [decode(data, LIMITS) for data in files]
    with ThreadPoolExecutor(8) as pool:
        for index, together in enumerate(pool.map(lambda data: decode(data, LIMITS), files * 5)):
            np.testing.assert_array_equal(together, alone[index % len(files)])


SIGNATURES = [
    b"",
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"BM",
    b"GIF89a",
    b"II*\0",
    b"MM\0*",
    b"RIFF\x99\0\0\0WEBPVP8X",
]
SAMPLES = [encode(picture(12, 14), form) for form in ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")]


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(SIGNATURES), st.binary(max_size=300))
def test_arbitrary_bytes_are_an_image_or_rejected(start: bytes, rest: bytes) -> None:
    try:
        decoded = decode(start + rest, Limits(image_pixels=100_000))
    except ImageRejected:
        return
    assert decoded.ndim == 3


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(SAMPLES), st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=8))
def test_a_damaged_file_is_an_image_or_rejected(data: bytes, damage: list[tuple[int, int]]) -> None:
    damaged = bytearray(data)
    for at, value in damage:
        damaged[at % len(damaged)] = value
    try:
        decoded = decode(bytes(damaged), Limits(image_pixels=100_000))
    except ImageRejected:
        return
    assert decoded.shape[2] == 3
    assert decoded.shape[0] * decoded.shape[1] <= 100_000


@settings(deadline=None, max_examples=150)
@given(st.floats(0, 1), st.booleans())
def test_a_jpeg_cut_anywhere_is_refused_or_complete(share: float, progressive: bool) -> None:
    data = encode(picture(), "JPEG", progressive=progressive)
    cut = data[: int(len(data) * share)]
    try:
        decoded = decode(cut, LIMITS)
    except (EmptyImage, TruncatedImage, NotAnImage):
        return
    assert decoded.shape == (45, 67, 3)

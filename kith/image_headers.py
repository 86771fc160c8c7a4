"""What an image file says about itself, read from a few of its bytes without decoding anything.

Nothing here trusts the bytes: a slice past the end is short, never an error.
"""

#: Ends a JPEG; inside its compressed data the two bytes cannot meet.
END_OF_JPEG = b"\xff\xd9"

_ORIENTATION_TAG = 0x0112

#: Sizes a BMP's second header may have; two letters alone would claim "BMW.txt".
_BMP_HEADERS = {12, 40, 52, 56, 64, 108, 124}

_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
)


def form_of(data: bytes) -> str | None:
    """The accepted format these bytes begin like: JPEG, PNG, WebP, BMP, GIF or TIFF."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    return next((form for start, form in _SIGNATURES if data.startswith(start)), None)


#: What people send by mistake, by its first bytes.
_STRANGERS = (
    (b"%PDF", "a PDF"),
    (b"PK\x03\x04", "a ZIP archive or an office document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\0\0\0\x0cjP", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"8BPS", "a Photoshop file"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
)


#: The same for text, by how it starts in lower case.
_TEXTS = (
    ("<svg", "an SVG drawing"),
    ("<!doctype html", "an HTML page"),
    ("<html", "an HTML page"),
    ("<?xml", "XML text"),
    ("{", "JSON text"),
    ("[", "JSON text"),
)


def looks_like(data: bytes) -> str:
    """What bytes of no accepted format seem to be, in words for whoever sent them."""
    known = next((what for start, what in _STRANGERS if data.startswith(start)), None)
    if known is not None:
        return known
    if data[4:8] == b"ftyp":
        photo = data[8:12] in (b"heic", b"heix", b"heim", b"heis", b"mif1", b"avif")
        return "a HEIC or AVIF photo" if photo else "an MP4 or QuickTime video"
    # A cut in the middle of a character must not hide that the rest is text.
    text = data[:512].decode("utf-8", errors="replace").strip("\ufeff\ufffd \t\r\n")
    if not all(char.isprintable() or char in "\t\r\n" for char in text) or "\ufffd" in text:
        return "of no known image format"
    lower = text.lower()
    return next((what for mark, what in _TEXTS if lower.startswith(mark)), "plain text")


def webp_size(data: bytes) -> tuple[int, int]:
    """Width and height as the first chunk declares them: of the canvas (VP8X) or of the only picture."""
    chunk = data[12:16]
    if chunk == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if chunk == b"VP8L":
        packed = int.from_bytes(data[21:25], "little")
        return (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF


def is_apng(data: bytes) -> bool:
    """Whether an animation header stands before the pixels; one that declares a single frame is a still."""
    found, at = [], 8
    while at + 12 <= len(data) and data[at + 4 : at + 8] not in (b"IDAT", b"IEND"):
        if data[at + 4 : at + 8] == b"acTL":
            found.append(int.from_bytes(data[at + 8 : at + 12], "big"))
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return found not in ([], [1])


def cut_short(form: str, data: bytes) -> bool:
    """Whether a file that did not decode lacks its end, by what its format says about where it ends."""
    if form == "JPEG":
        return not data.rstrip(b"\0").endswith(END_OF_JPEG)
    if form == "PNG":
        return b"IEND" not in data[-12:]
    if form == "GIF":
        return not data.endswith(b";")
    if form == "WebP":
        return len(data) < 30 or int.from_bytes(data[4:8], "little") + 8 > len(data)
    return form == "BMP" and len(data) < int.from_bytes(data[2:6], "little")


def orientation(exif: bytes) -> int:
    """The orientation 1..8 in an EXIF block, 1 where there is none.

    Read by hand: Pillow's reader warns about damage anywhere in the block, and would hold the lock of all threads.
    """
    tiff = exif.removeprefix(b"Exif\0\0")
    if tiff[:2] not in (b"II", b"MM"):
        return 1

    def number(at: int, size: int) -> int:
        return int.from_bytes(tiff[at : at + size], "little" if tiff[:1] == b"I" else "big")

    first = number(4, 4)
    for entry in range(first + 2, min(first + 2 + 12 * number(first, 2), len(tiff)), 12):
        if number(entry, 2) == _ORIENTATION_TAG:
            # SHORT or, from careless writers, LONG.
            return number(entry + 8, 2 if number(entry + 2, 2) == 3 else 4)
    return 1

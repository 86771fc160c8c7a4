"""A folder of pictures as a recording: in the order of their names, numbers counted as numbers."""

import re
import threading
from collections.abc import Iterator
from pathlib import Path

from kith import images
from kith.errors import CameraAway, ImageRejected
from kith.jobs import now_ms
from kith.settings import Limits
from producers.camera.counts import Counts
from producers.camera.frame import Frame, PlainPicture
from producers.camera.pacing import Pacing
from producers.camera.source import SourceOptions
from producers.camera.thinning import Thinning

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})


class PictureFolder:
    """See producers.camera.source.Source. The pictures were taken `fps` a second, whatever their files say."""

    def __init__(
        self, folder: Path, options: SourceOptions, thinning: Thinning, counts: Counts, stop: threading.Event
    ) -> None:
        self._folder, self._options = folder, options
        self._thinning, self._counts, self._stop = thinning, counts, stop

    def frames(self) -> Iterator[Frame]:
        try:
            files = sorted((file for file in self._folder.iterdir() if file.suffix.lower() in _SUFFIXES), key=_rank)
        except OSError as unreadable:
            raise CameraAway(f"the folder cannot be read: {unreadable.strerror}") from None
        if not files:
            raise CameraAway(f"the folder holds no picture ({', '.join(sorted(_SUFFIXES))})")
        pacing = Pacing(self._options.fast, self._stop)
        step_s = 1 / self._thinning.fps
        began_ms = now_ms() - (round(1000 * step_s * len(files)) if self._options.fast else 0)
        limits = Limits(image_pixels=self._options.frame_pixels)
        for number, file in enumerate(files):
            if self._stop.is_set():
                return
            self._counts.add("received")
            at_s = pacing.place(number * step_s, step_s)
            # Slowed down, some are left out, as a camera's frames are.
            if not self._thinning.due(at_s):
                continue
            try:
                pixels = images.decode(file.read_bytes(), limits)
            except (ImageRejected, OSError):
                self._counts.drop("undecodable")
                continue
            pacing.wait()
            yield Frame(PlainPicture(pixels), began_ms + round(at_s * 1000), at_s)


def _rank(file: Path) -> list[tuple[int, str]]:
    """So that frame10 comes after frame9."""
    return [(int(part or 0), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", file.name)]

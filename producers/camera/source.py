"""Where frames come from, whatever sends them: what a source is, and which one an address means."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from kith.camera_address import SourceKind, kind_of
from producers.camera.counts import Counts
from producers.camera.frame import Frame
from producers.camera.thinning import Thinning


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """fast: do not wait between the frames of a recording. open_s: longest wait for an answer. stall_s: longest wait
    for a frame. late_s: age of a frame, by the camera's clock, past which it is of the past. frame_pixels: most that a
    frame may have."""

    transport: Literal["tcp", "udp"] = "tcp"
    fast: bool = False
    open_s: float = 10.0
    stall_s: float = 5.0
    late_s: float = 2.0
    frame_pixels: int = 50_000_000


class Source(Protocol):
    """One opening of a camera, used once."""

    def frames(self) -> Iterator[Frame]:
        """Opens it and yields the frames that are due, as they come, until `stop` is set or a recording ends.

        Raises CameraAway when it cannot be opened, ends (all but recordings), stalls, changes or cannot be read.
        """
        ...


def source_of(
    address: str, options: SourceOptions, thinning: Thinning, counts: Counts, stop: threading.Event
) -> Source:
    """The source that a checked `address` means; nothing is opened yet."""
    # Imported here: each of them answers with what is defined in this file.
    from producers.camera.picture_folder import PictureFolder  # noqa: PLC0415
    from producers.camera.stream import Stream  # noqa: PLC0415

    kind = kind_of(address)
    if kind is SourceKind.PATH and Path(address).is_dir():
        return PictureFolder(Path(address), options, thinning, counts, stop)
    return Stream(address, kind, options, thinning, counts, stop)

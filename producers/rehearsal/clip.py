"""Scenes as video files, encoded as cameras encode them."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.video.stream import VideoStream

from producers.rehearsal.scene import Pixels, Scene


def write_clip(file: Path, frames: Iterator[Pixels], fps: int, *, crf: int = 23, codec: str = "libx264") -> Path:
    """H.264 (or another codec of PyAV) as cameras send it: a key frame each two seconds, no frames from the future."""
    with av.open(str(file), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(fps))
        assert isinstance(stream, VideoStream)
        if codec == "libx264":
            stream.options = {"crf": str(crf), "preset": "veryfast", "tune": "zerolatency", "g": str(2 * fps)}
        stream.pix_fmt = "yuv420p" if codec == "libx264" else "yuvj420p"
        for pixels in frames:
            if not stream.codec_context.is_open:
                stream.height, stream.width = pixels.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return file


def write_scene(file: Path, scene: Scene, *, crf: int = 23) -> Path:
    """The whole scene as a clip."""
    return write_clip(file, (scene.draw(number) for number in range(scene.frames)), scene.fps, crf=crf)

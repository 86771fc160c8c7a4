"""Video by PyAV: RTSP, MJPEG over HTTP, HLS, files, devices.

Only what is looked at is decoded as far as the codec allows: of codecs whose frames stand alone (MJPEG) the due ones,
of the others, where the camera sends many more than are wanted, those that others refer to.
"""

import threading
import time
from collections.abc import Iterator

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from kith.camera_address import SourceKind
from kith.errors import CameraAway
from kith.jobs import now_ms
from producers.camera.counts import Counts
from producers.camera.frame import DecodedPicture, Frame
from producers.camera.media_clock import MediaClock
from producers.camera.pacing import Pacing
from producers.camera.source import SourceOptions
from producers.camera.thinning import Thinning

#: What each kind may open on its own: a playlist from the network must not name a file of this machine.
_PROTOCOLS = {
    SourceKind.RTSP: "rtsp,rtsps,rtp,srtp,tcp,udp,tls",
    SourceKind.MJPEG: "http,https,tcp,tls",
    SourceKind.HLS: "http,https,tcp,tls,crypto",
    SourceKind.PATH: "file",
    SourceKind.DEVICE: "file",
}

#: Unreferenced frames are skipped when the camera sends this many times what is wanted.
_PLENTY = 3.0
_USUAL_FPS = 25.0


class Stream:
    """See producers.camera.source.Source."""

    def __init__(
        self,
        address: str,
        kind: SourceKind,
        options: SourceOptions,
        thinning: Thinning,
        counts: Counts,
        stop: threading.Event,
    ) -> None:
        self._address, self._kind, self._options = address, kind, options
        self._thinning, self._counts, self._stop = thinning, counts, stop
        self._size: tuple[int, int] | None = None
        self._heard_s = 0.0

    def frames(self) -> Iterator[Frame]:
        container = self._open()
        try:
            video = self._video(container)
            with _Explained(self._options.stall_s):
                if self._kind.recorded or self._kind is SourceKind.HLS:
                    yield from self._paced(container, video)
                else:
                    yield from self._live(container, video)
        finally:
            container.close()

    def _live(self, container: InputContainer, video: VideoStream) -> Iterator[Frame]:
        # MJPEG has no stamps of its own, libav invents them; those of devices are of arrival.
        clock = MediaClock(self._options.late_s, self._options.stall_s) if self._kind is SourceKind.RTSP else None
        alone = video.codec_context.codec.intra_only
        for packet in self._packets(container, video):
            arrived_s = time.monotonic()
            if alone:
                self._counts.add("received")
                if not self._thinning.due(arrived_s):
                    # Proof of life, though nothing was decoded.
                    self._heard_s = arrived_s
                    continue
            for frame in self._decoded(packet):
                if not alone:
                    self._counts.add("received")
                if clock is not None and clock.late(frame.time, arrived_s):
                    self._counts.drop("late")
                elif alone or self._thinning.due(arrived_s):
                    yield Frame(DecodedPicture(frame), now_ms(), arrived_s)
        if not self._stop.is_set():
            raise CameraAway("the stream ended")

    def _paced(self, container: InputContainer, video: VideoStream) -> Iterator[Frame]:
        pacing = Pacing(self._options.fast and self._kind.recorded, self._stop)
        step_s = 1 / float(video.average_rate or _USUAL_FPS)
        began_ms = now_ms()
        if self._options.fast and container.duration:
            began_ms -= round(container.duration / 1000)
        for packet in self._packets(container, video):
            for frame in self._decoded(packet):
                self._counts.add("received")
                at_s = pacing.place(frame.time, step_s)
                if self._thinning.due(at_s):
                    pacing.wait()
                    yield Frame(DecodedPicture(frame), began_ms + round(at_s * 1000), at_s)
                    self._heard_s = time.monotonic()
        if not self._kind.recorded and not self._stop.is_set():
            raise CameraAway("the stream ended")

    def _open(self) -> InputContainer:
        options = {"protocol_whitelist": _PROTOCOLS[self._kind]}
        if self._kind is SourceKind.RTSP:
            # A quarter of a second to bring packets of UDP into order. No frames are held back to guess their rate:
            # they would be a second old before anybody saw them.
            options |= {"rtsp_transport": self._options.transport, "max_delay": "250000", "fpsprobesize": "0"}
        with _Explained(self._options.open_s):
            return av.open(
                self._address,
                format="v4l2" if self._kind is SourceKind.DEVICE else None,
                options=options,
                timeout=(self._options.open_s, self._options.stall_s),
            )

    def _video(self, container: InputContainer) -> VideoStream:
        if not container.streams.video:
            raise CameraAway("it sends no video")
        video = container.streams.video[0]
        context = video.codec_context
        # One thread: the streams of all cameras share the cores, and threads by frames hold frames back.
        context.thread_count = 1
        rate = float(video.average_rate or 0)
        if rate >= _PLENTY * self._thinning.fps and not context.codec.intra_only:
            context.skip_frame = "NONREF"
        self._heard_s = time.monotonic()
        return video

    def _packets(self, container: InputContainer, video: VideoStream) -> Iterator["av.Packet[VideoStream]"]:
        """Packets until the end. Raises CameraAway when none comes, or none that can be decoded."""
        asked_s = time.monotonic()
        for packet in container.demux(video):
            if self._stop.is_set():
                return
            if time.monotonic() - asked_s >= self._options.stall_s:
                # When time is up libav first hands out the frame that its parser had kept, and would wait once more.
                raise CameraAway(f"nothing came for {self._options.stall_s:g} s, though the connection is open")
            yield packet
            asked_s = time.monotonic()
            if asked_s - self._heard_s > self._options.stall_s:
                raise CameraAway(f"no frame that can be decoded for {self._options.stall_s:g} s")

    def _decoded(self, packet: "av.Packet[VideoStream]") -> Iterator[av.VideoFrame]:
        try:
            with self._counts.timed("decode"):
                frames = packet.decode()
        except av.error.InvalidDataError:
            self._counts.drop("undecodable")
            return
        for frame in frames:
            assert isinstance(frame, av.VideoFrame)
            if frame.is_corrupt:
                # What libav made up where packets were lost: smears, in which a face may be two people's.
                self._counts.drop("damaged")
                continue
            self._check_size(frame)
            self._heard_s = time.monotonic()
            yield frame

    def _check_size(self, frame: av.VideoFrame) -> None:
        size = frame.width, frame.height
        if size[0] * size[1] > self._options.frame_pixels:
            raise CameraAway(
                f"its frames are {size[0]}×{size[1]} pixels, the limit is {self._options.frame_pixels} in all "
                "(limits.image_pixels)"
            )
        if self._size is not None and size != self._size:
            # Boxes of before mean nothing now. A new opening also gets the codec's new settings right.
            raise CameraAway(f"its frames changed from {self._size[0]}×{self._size[1]} to {size[0]}×{size[1]}")
        self._size = size


class _Explained:
    """Around calls of libav: its faults become CameraAway, in words that hold nothing of the address."""

    def __init__(self, waited_s: float) -> None:
        self._waited_s = waited_s

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: object, fault: BaseException | None, __: object) -> None:
        if isinstance(fault, av.error.ExitError):
            raise CameraAway(f"nothing came for {self._waited_s:g} s, though the connection is open") from None
        if isinstance(fault, av.error.FFmpegError):
            # strerror alone: str() of it ends with the address, password and all.
            raise CameraAway(str(fault.strerror or type(fault).__name__)) from None

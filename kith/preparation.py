"""One image reference → the crops of its faces, ready for the network: fetch, decode, detect, align, assess.

Runs in threads: the heavy part of each stage (socket, JPEG decoder, detector, warp) releases the interpreter lock.
"""

import logging
import os
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from kith import alignment, images, quality
from kith.checkpoints import Pack
from kith.detector import Detection, Detector
from kith.errors import ImageRejected, KithError, LowQuality, NoFace, Rejected, SeveralFaces
from kith.imagestore import ImageStore
from kith.jobs import Content, EmbedJob, Kind, Quality, Seen
from kith.principal import by_prominence, prominence
from kith.settings import Settings

_log = logging.getLogger(__name__)

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Crop:
    """One face. pixels: uint8 (size, size, 3) RGB, aligned. detection: where it was, None for aligned input.

    refused: why it is not worth embedding, None when it is.
    """

    pixels: Pixels
    quality: Quality
    detection: Detection | None
    refused: LowQuality | None


@dataclass(slots=True)
class Prepared:
    """An image's crops, principal face first, or why there are none. Timings in milliseconds."""

    crops: tuple[Crop, ...] = ()
    faces_found: int = 0
    rejected: Rejected | None = None
    timings_ms: dict[str, float] = field(default_factory=dict)


class Preparer:
    """Prepares images for one model. Safe to call from many threads."""

    def __init__(
        self,
        store: ImageStore,
        detector: Detector | None,
        pack: Pack,
        settings: Settings,
    ) -> None:
        self._store = store
        self._detector = detector
        self._template = pack.manifest.embedder.template
        self._input_size = pack.input_size
        self._fetch_threads = settings.worker.fetch_threads or os.cpu_count() or 1
        self._limits = settings.limits
        self._rule = settings.decisions

    def prepare(self, job: EmbedJob, index: int) -> Prepared:
        """Image `index` of `job`. A Rejected is part of the result, one image's trouble is its own.

        Raises Retryable (the store is away): then the whole job is tried again later.
        """
        prepared = Prepared()
        try:
            with _Stopwatch(prepared.timings_ms, "fetch"):
                data = self._store.get(job.images[index].key)
            with _Stopwatch(prepared.timings_ms, "decode"):
                pixels = images.decode(data, self._limits)
            if job.content is Content.ALIGNED or (job.kind is Kind.REEMBED and self._is_crop(pixels)):
                prepared.crops = (self._aligned(pixels, job.images[index].seen),)
                prepared.faces_found = 1
            else:
                self._find_faces(job, pixels, prepared)
        except Rejected as refusal:
            prepared.rejected = refusal
        except (KithError, MemoryError):
            raise
        except Exception as bug:  # noqa: BLE001 (whatever it is, it is this image's)
            # A library that trips over this one picture must not take the other 63 of its job along.
            _log.exception("image %s of job %s cannot be prepared", job.images[index].key, job.job_id)
            prepared.rejected = ImageRejected(f"internal: {type(bug).__name__}: {bug}"[:500])
        return prepared

    def prepare_all(self, job: EmbedJob, threads: Executor) -> list[Prepared]:
        """All images of `job`, in order, on `threads`. Raises as `prepare`.

        One task per thread, not per image, each taking the next image when it is free: to hand a task over takes as
        long as to decode a small picture.
        """
        count = len(job.images)
        if count == 1:
            return [self.prepare(job, 0)]
        done: dict[int, Prepared] = {}
        # No lock: taking a number from an iterator and storing under a key are one step each.
        turns = iter(range(count))

        def work() -> None:
            for index in turns:
                try:
                    done[index] = self.prepare(job, index)
                except BaseException:
                    # The whole job is tried again later, so the others need not go on.
                    deque(turns, maxlen=0)
                    raise

        for started in [threads.submit(work) for _ in range(min(count, self._fetch_threads))]:
            started.result()
        return [done[index] for index in range(count)]

    def _is_crop(self, pixels: Pixels) -> bool:
        # Whether an enrolment was told so is not kept with the template; no camera makes pictures of that size.
        return pixels.shape[:2] == (self._input_size, self._input_size)

    def _aligned(self, pixels: Pixels, seen: Seen | None) -> Crop:
        height, width = pixels.shape[:2]
        if (height, width) != (self._input_size, self._input_size):
            raise ImageRejected(
                f"an aligned crop is {self._input_size}×{self._input_size}, this image {width}×{height}; "
                "send it as a photo, or align it"
            )
        if seen is None or seen.quality is None:
            return Crop(pixels, quality.assess(pixels, None), None, None)
        # Who cut the crop saw how large the face was and where it looked; the crop does not show it.
        return Crop(pixels, seen.quality, None, self._refusal(min(seen.box[2:]), seen.quality))

    def _find_faces(self, job: EmbedJob, pixels: Pixels, prepared: Prepared) -> None:
        if self._detector is None:
            raise ImageRejected("the model pack has no detector, so it takes aligned crops only, and this is a photo")
        with _Stopwatch(prepared.timings_ms, "detect"):
            found = self._detector.detect(pixels)
        prepared.faces_found = len(found)
        if not found:
            raise NoFace(f"no face found in {pixels.shape[1]}×{pixels.shape[0]} pixels")
        with _Stopwatch(prepared.timings_ms, "align"):
            height, width = pixels.shape[:2]
            chosen = by_prominence(found, height, width)[: self._rule.max_faces]
            if job.kind is not Kind.IDENTIFY:
                chosen = [self._the_one_face(chosen, height, width)]
            prepared.crops = tuple(self._crop(pixels, detection) for detection in chosen)

    def _crop(self, pixels: Pixels, detection: Detection) -> Crop:
        aligned = alignment.align(pixels, detection.landmarks, self._input_size, self._template)
        assessed = quality.assess(aligned, detection)
        return Crop(aligned, assessed, detection, self._refusal(min(detection.box[2:]), assessed))

    def _refusal(self, side_px: float, assessed: Quality) -> LowQuality | None:
        if side_px < self._rule.min_face_px:
            return LowQuality(f"the face is {side_px:.0f} px wide, decisions.min_face_px is {self._rule.min_face_px}")
        if assessed.value < self._rule.min_quality:
            return LowQuality(
                f"face quality {assessed.value:.2f} (size {assessed.size:.2f}, sharpness {assessed.sharpness:.2f}, "
                f"pose {assessed.pose:.2f}, brightness {assessed.brightness:.2f}) is below "
                f"decisions.min_quality {self._rule.min_quality:g}"
            )
        return None

    def _the_one_face(self, found: Sequence[Detection], height: int, width: int) -> Detection:
        """The face to enrol or verify, of those in order of prominence. Raises SeveralFaces when none stands out."""
        if len(found) > 1:
            first, second = (prominence(detection, height, width) for detection in found[:2])
            if first < self._rule.enrol_dominance * second:
                raise SeveralFaces(
                    f"{len(found)} faces, and the most prominent is only {first / second:.1f}× the next "
                    f"(decisions.enrol_dominance {self._rule.enrol_dominance:g}); crop the image to the one you mean"
                )
        return found[0]


class _Stopwatch:
    def __init__(self, timings_ms: dict[str, float], stage: str) -> None:
        self._timings_ms = timings_ms
        self._stage = stage

    def __enter__(self) -> None:
        self._started_s = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._timings_ms[self._stage] = round((time.perf_counter() - self._started_s) * 1000, 3)

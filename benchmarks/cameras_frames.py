"""The peer of cameras: recognition frame by frame, without tracks, evidence or visits.

Every face of every frame that is looked at (the same frames a second, the same detector, quality gate, network, gallery
and cutoff) is decided by itself. To be fair it does not say the same thing five times a second: a name, or a number, is
announced when it was not said for as long as a visit may be interrupted. A face that matches nobody and no stranger is
a new stranger.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from benchmarks.cameras_judging import Said
from benchmarks.cameras_truth import Play
from kith import alignment, quality
from kith.checkpoints import load_pack
from kith.detector import Detection, open_detector
from kith.embedder import embed, open_embedder
from kith.errors import NoFace
from kith.jobs import Seen
from kith.settings import Cameras

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Frames:
    """What came of a scene. said: as of Kith. embeddings: how many faces were embedded."""

    said: list[Said]
    embeddings: int


@dataclass
class _Memory:
    """Who was met: known templates by name, and strangers in the order of their numbers."""

    names: list[str]
    templates: Vectors
    cutoff: float
    gap_ms: int
    strangers: list[Vectors] = field(default_factory=list)
    said_ms: dict[str, int] = field(default_factory=dict)

    def who(self, vector: Vectors) -> tuple[str | None, str | None]:
        """A subject, or else a stranger's number."""
        scores = self.templates @ vector
        if len(scores) and scores.max() >= self.cutoff:
            return self.names[int(scores.argmax())], None
        if self.strangers:
            alike = np.stack(self.strangers) @ vector
            if alike.max() >= self.cutoff:
                return None, f"stranger-{int(alike.argmax()) + 1}"
        self.strangers.append(vector)
        return None, f"stranger-{len(self.strangers)}"

    def announces(self, what: str, at_ms: int) -> bool:
        """Whether it is news."""
        last_ms = self.said_ms.get(what)
        self.said_ms[what] = at_ms
        return last_ms is None or at_ms - last_ms >= self.gap_ms


class FrameByFrame:
    """pack: the model. names, templates: the gallery's, (n, d) unit rows. Each clip is looked at once."""

    def __init__(self, pack: Path, names: Sequence[str], templates: Vectors, cutoff: float, gap_ms: int) -> None:
        loaded, self._knobs = load_pack(pack), Cameras()
        detector = open_detector(loaded, max_side=self._knobs.detect_px)
        assert detector is not None
        self._detector, self._embedder = detector, open_embedder(loaded)
        self._size, self._template = loaded.input_size, loaded.manifest.embedder.template
        self._memory = _Memory(list(names), templates, cutoff, gap_ms)

    def watch(self, clips: Sequence[tuple[Play, Path]], tell: Callable[[str], None]) -> Frames:
        """The clips of cameras that play at the same time, in the order of time."""
        faces: list[tuple[int, str | None, Vectors]] = []
        for play, clip in clips:
            tell(f"frame by frame: {play.camera}")
            for number, (second, pixels) in enumerate(looked_at(clip, self._knobs.fps)):
                at_ms = play.start_ms + round(1000 * second)
                if at_ms > play.end_ms:
                    break
                faces += self._faces(play, number, at_ms, pixels)
        said = []
        for at_ms, about, vector in sorted(faces, key=lambda each: each[0]):
            subject, stranger = self._memory.who(vector)
            if self._memory.announces(subject or stranger or "", at_ms):
                said.append(Said(at_ms, about, True, subject, stranger))
        return Frames(said, len(faces))

    def _faces(
        self, play: Play, number: int, at_ms: int, pixels: NDArray[np.uint8]
    ) -> list[tuple[int, str | None, Vectors]]:
        seen, crops = [], []
        for face in self._detector.detect(pixels):
            crop = self._crop(pixels, face)
            if crop is not None:
                crops.append(crop)
                size = pixels.shape[1], pixels.shape[0]
                seen.append(Seen(play.camera, f"{play.camera}.0.1", at_ms, face.box, size, number + 1))
        vectors: Sequence[Vectors] = list(embed(self._embedder, crops)) if crops else []
        return [(at_ms, play.nearest(each)[0], vector) for each, vector in zip(seen, vectors, strict=True)]

    def _crop(self, pixels: NDArray[np.uint8], face: Detection) -> NDArray[np.uint8] | None:
        if min(face.box[2:]) < self._knobs.min_face_px:
            return None
        try:
            crop = alignment.align(pixels, face.landmarks, self._size, self._template)
        except NoFace:
            return None
        return crop if quality.assess(crop, face).value >= self._knobs.min_quality else None


def looked_at(clip: Path, fps: float) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """(second, pixels) of `fps` frames a second, (height, width, 3) uint8 RGB."""
    with av.open(str(clip)) as container:
        due_s = 0.0
        for frame in container.decode(video=0):
            if frame.time is not None and frame.time >= due_s - 1e-3:
                due_s += 1 / fps
                yield frame.time, frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)

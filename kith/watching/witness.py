"""From the decision about a camera's crop to the news of it: what the watcher needs to know, and no more."""

import base64
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kith.jobs import Decision, Face, Outcome, Quality
from kith.watching.evidence import Vector
from kith.watching.news import Sighted, Unfit

#: Gallery and vector, float32 (d,) → as it stands in the news, under the gallery's protection.
Cover = Callable[[str, Vector], str]


def plainly(_: str, vector: Vector) -> str:
    """As it stands where no gallery is encrypted."""
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


def sightings(decisions: Sequence[Decision], cover: Cover) -> list[Sighted]:
    """The news of those decisions that are about crops of cameras. Raises what `cover` does."""
    return [_sighted(each, cover) for each in decisions if each.seen is not None]


def _sighted(decision: Decision, cover: Cover) -> Sighted:
    seen, face = decision.seen, decision.face
    assert seen is not None
    if face is None or decision.outcome not in (Outcome.MATCH, Outcome.UNKNOWN, Outcome.LOW_QUALITY):
        late = decision.outcome is Outcome.EXPIRED
        return Sighted(decision.decision_id, seen, decision.outcome, decision.image, unfit=Unfit.LATE if late else None)
    quality = face.quality or seen.quality
    recognised = decision.vector is not None and decision.outcome is not Outcome.LOW_QUALITY
    vector = np.frombuffer(decision.vector or b"", "<f4").astype(np.float32)
    return Sighted(
        decision_id=decision.decision_id,
        seen=seen,
        outcome=decision.outcome,
        image=decision.image,
        expires_ms=decision.expires_ms,
        quality=quality.value if quality else 0.0,
        unfit=weakest(quality) if quality else None,
        cutoff=decision.cutoff,
        model_id=decision.model_id,
        vector=cover(decision.gallery, vector) if recognised else None,
        **(_near(face) if recognised else {}),
    )


def _near(face: Face) -> dict[str, Any]:
    return {
        "nearest": face.nearest,
        "nearest_id": face.nearest_id,
        "score": face.score,
        "runner_up": face.runner_up,
        "runner_up_score": face.runner_up_score,
    }


def weakest(quality: Quality) -> Unfit:
    """What is worst about a face."""
    parts = {
        Unfit.TOO_SMALL: quality.size,
        Unfit.BLURRED: quality.sharpness,
        Unfit.TURNED_AWAY: quality.pose,
        Unfit.DARK: quality.brightness,
    }
    return min(parts, key=lambda part: parts[part])

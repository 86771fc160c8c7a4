"""Decisions in CompreFace's shapes: FacesRecognitionResponseDto, VerificationResult, FacesDetectionResponseDto."""

from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel

from kith.jobs import Decision, Face, Outcome
from producers.api.compreface.similarity import similarity

#: Plugins that clients may name and that Kith has, beside those it does not.
LANDMARKS = "landmarks"

#: A Java Integer, as the parameters of CompreFace are.
_MOST = 2**31 - 1

Limit = Annotated[int, Query(ge=0, le=_MOST, description="Most faces, the biggest first; 0 for all.")]
Count = Annotated[int, Query(ge=1, le=_MOST, description="Most subjects for each face.")]
Threshold = Annotated[float, Query(ge=0, le=1, description="Faces whose detection scored less are left out.")]
Plugins = Annotated[str, Query(max_length=200, description="Of these, Kith has `landmarks`.")]


class Asked(BaseModel):
    """How a client wants to be answered."""

    limit: int = 0
    det_prob_threshold: float = 0.0
    face_plugins: str = ""
    status: bool = False
    prediction_count: int = 1

    @property
    def landmarks(self) -> bool:
        """Whether it wants these as well."""
        return LANDMARKS in (each.strip() for each in self.face_plugins.split(","))


def recognised(decision: Decision, asked: Asked, size: tuple[int, int]) -> dict[str, Any]:
    """Who the faces are. size: width and height of the picture, which an aligned crop fills.

    A face too poor to be compared with anybody is left out, as one below the threshold is: clients take the first of
    the subjects, and there would be none.
    """
    result = [
        {**_place(each, asked, size, decision), "subjects": _subjects(each, decision, asked.prediction_count)}
        for each in _faces(decision, asked, poor=False)
    ]
    return _answer(result, decision, asked)


def verified(decision: Decision, asked: Asked, size: tuple[int, int]) -> dict[str, Any]:
    """How similar the faces are to the one claimed."""
    result = [
        {**_place(each, asked, size, decision), "similarity": _similarity(each.score, each, decision)}
        for each in _faces(decision, asked)
        if each.score is not None
    ]
    return _answer(result, decision, asked)


def detected(decision: Decision, asked: Asked, size: tuple[int, int]) -> dict[str, Any]:
    """Where faces are; nobody is named."""
    return _answer([_place(each, asked, size, decision) for each in _faces(decision, asked)], decision, asked)


def _faces(decision: Decision, asked: Asked, poor: bool = True) -> list[Face]:
    faces: Iterable[Face] = () if decision.face is None else (decision.face, *decision.others)
    if not poor:
        faces = (each for each in faces if each.outcome is not Outcome.LOW_QUALITY)
    seen = [each for each in faces if _probability(each) >= asked.det_prob_threshold]
    seen.sort(key=_area, reverse=True)
    return seen[: asked.limit or None]


def _place(face: Face, asked: Asked, size: tuple[int, int], decision: Decision) -> dict[str, Any]:
    x, y, width, height = face.box or (0.0, 0.0, float(size[0]), float(size[1]))
    box = {
        "probability": _probability(face),
        "x_max": round(x + width),
        "y_max": round(y + height),
        "x_min": round(x),
        "y_min": round(y),
    }
    place: dict[str, Any] = {"box": box}
    if asked.landmarks and face.landmarks is not None:
        place["landmarks"] = [[round(px), round(py)] for px, py in face.landmarks]
    if asked.status:
        spent = decision.timings_ms
        place["execution_time"] = {"detector": spent.get("detect", 0.0), "calculator": spent.get("embed", 0.0)}
    return place


def _subjects(face: Face, decision: Decision, most: int) -> list[dict[str, Any]]:
    # Kith keeps the two best.
    near = ((face.nearest, face.score, face), (face.runner_up, face.runner_up_score, None))
    return [
        {"subject": name, "similarity": _similarity(score, of, decision)}
        for name, score, of in near[:most]
        if name is not None and score is not None
    ]


def _similarity(score: float | None, face: Face | None, decision: Decision) -> float:
    assert score is not None
    assert decision.cutoff is not None, "who was compared was compared with a cutoff"
    return similarity(score, decision.cutoff, face is not None and face.outcome is Outcome.MATCH)


def _answer(result: list[dict[str, Any]], decision: Decision, asked: Asked) -> dict[str, Any]:
    if not asked.status:
        return {"result": result}
    model = decision.model_id or "unknown"
    return {"result": result, "plugins_versions": {"detector": f"kith.{model}", "calculator": f"kith.{model}"}}


def _probability(face: Face) -> float:
    # An aligned crop is a face because the caller says so.
    return 1.0 if face.detector_score is None else face.detector_score


def _area(face: Face) -> float:
    return 0.0 if face.box is None else face.box[2] * face.box[3]

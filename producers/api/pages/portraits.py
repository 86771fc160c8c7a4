"""Where the picture of somebody is: addresses for templates to show."""

from urllib.parse import urlencode

from kith.jobs import Decision, Face
from kith.subjects import SubjectDetail


def picture_url(key: str, side: int = 160, face: Face | None = None) -> str:
    """The picture of that key, or the face in it. '' for no key."""
    if not key:
        return ""
    asked: dict[str, str | int] = {"side": side}
    if face is not None and face.box is not None:
        asked["box"] = ",".join(str(round(part)) for part in face.box)
    return f"/pictures/{key}?{urlencode(asked)}"


def portrait_of(subject: SubjectDetail, side: int = 160) -> str:
    """Their best picture; '' where no template has one."""
    pictured = [each for each in subject.templates if each.image]
    return picture_url(max(pictured, key=lambda each: each.quality).image, side) if pictured else ""


def pictured(decision: Decision, face: int = 0, side: int = 160) -> str:
    """The face that a decision is about. face: 0 for the principal one, then the others."""
    faces = () if decision.face is None else (decision.face, *decision.others)
    return picture_url(decision.image, side, faces[face] if face < len(faces) else None)

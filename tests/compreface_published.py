"""What CompreFace publishes of its answers: the fields of each and their types, from its docs/Rest-API-description.md
and the DTOs of its controllers (github.com/exadel-inc/CompreFace, 1.2). Field by field, to compare with."""

from typing import Any

#: What only its plugins fill, `status=true` or a build of its own; an answer may lack them.
OPTIONAL = {"age", "gender", "mask", "pose", "embedding", "landmarks", "execution_time", "plugins_versions"}

BOX = {"probability": float, "x_max": int, "y_max": int, "x_min": int, "y_min": int}
TIMES = {"age": float, "gender": float, "detector": float, "calculator": float, "mask": float}
VERSIONS = {"age": str, "gender": str, "detector": str, "calculator": str, "mask": str}
FACE = {
    "age": {"probability": float, "high": int, "low": int},
    "gender": {"probability": float, "value": str},
    "mask": {"probability": float, "value": str},
    "pose": {"pitch": float, "roll": float, "yaw": float},
    "embedding": [float],
    "box": BOX,
    "landmarks": [[int]],
    "execution_time": TIMES,
}
RECOGNIZED = {
    "result": [{**FACE, "subjects": [{"similarity": float, "subject": str}]}],
    "plugins_versions": VERSIONS,
}
VERIFIED = {"result": [{**FACE, "similarity": float}], "plugins_versions": VERSIONS}
DETECTED = {"result": [FACE], "plugins_versions": VERSIONS}

EXAMPLE = {"image_id": str, "subject": str}
EXAMPLES = {"faces": [EXAMPLE], "page_number": int, "page_size": int, "total_pages": int, "total_elements": int}
SUBJECT = {"subject": str}
SUBJECTS = {"subjects": [str]}
UPDATED = {"updated": bool}
DELETED = {"deleted": int}
ERROR = {"message": str, "code": int}


def differences(answer: Any, published: Any, where: str = "answer") -> list[str]:
    """What an answer has that is not published, or otherwise, and what it lacks."""
    if isinstance(published, list):
        if not isinstance(answer, list):
            return [f"{where} is no list"]
        return [each for i, item in enumerate(answer) for each in differences(item, published[0], f"{where}[{i}]")]
    if isinstance(published, dict):
        if not isinstance(answer, dict):
            return [f"{where} is no object"]
        unknown = [f"{where}.{name} is not published" for name in answer.keys() - published.keys()]
        # Of times and versions those of the plugins that ran.
        partial = published in (TIMES, VERSIONS)
        lacking = (
            [] if partial else [f"{where}.{name} is missing" for name in published.keys() - answer.keys() - OPTIONAL]
        )
        known = [
            each
            for name in answer.keys() & published.keys()
            for each in differences(answer[name], published[name], f"{where}.{name}")
        ]
        return unknown + lacking + known
    # A whole number is a float in JSON as well; true is no number.
    right = type(answer) is published or (published is float and type(answer) is int)
    return [] if right else [f"{where} is {answer!r}, published is {published.__name__}"]

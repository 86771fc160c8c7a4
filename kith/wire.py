"""Frozen dataclasses to JSON and back, with a wire version; nothing is ever pickled.

Types are checked on the way in, unknown fields of a known version are ignored (a newer peer may add optional ones), and
a message of another version is told apart from a broken one.
"""

import json
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from kith.errors import MalformedMessage, UnknownWireVersion

T = TypeVar("T")

#: Raised when a field changes its meaning or a required one appears; never for an added optional field.
WIRE_VERSION = 1


#: Built at first use, not at import: a schema costs a millisecond and most processes speak two of them.
_adapters: dict[type[Any], TypeAdapter[Any]] = {}


def _adapter(cls: type[Any]) -> TypeAdapter[Any]:
    found = _adapters.get(cls)
    if found is None:
        # No lock: two threads at once build the same schema twice, which is harmless.
        found = _adapters[cls] = TypeAdapter(cls)
    return found


def to_json(message: Any) -> str:
    """One frozen dataclass as compact JSON. Absent optional fields are left out."""
    return _adapter(type(message)).dump_json(message, exclude_none=True, exclude_defaults=False).decode()


def to_dict(message: Any) -> dict[str, Any]:
    """The same as `to_json`, as plain JSON types."""
    plain = _adapter(type(message)).dump_python(message, mode="json", exclude_none=True)
    assert isinstance(plain, dict)
    return plain


def from_json(cls: type[T], text: str | bytes) -> T:
    """Parse one message.

    Raises UnknownWireVersion for a version other than `WIRE_VERSION`, MalformedMessage for anything else that is wrong.
    """
    try:
        message: T = _adapter(cls).validate_json(text, strict=True)
    except ValidationError as broken:
        version = _version_of(text)
        if version is not None and version != WIRE_VERSION:
            raise UnknownWireVersion(
                f"{cls.__name__} has wire version {version}, this process reads version {WIRE_VERSION}"
            ) from None
        first = broken.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "message"
        raise MalformedMessage(f"{cls.__name__}: {where}: {first['msg']}") from None
    return message


def _version_of(text: str | bytes) -> int | None:
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError):
        return None
    version = plain.get("wire") if isinstance(plain, dict) else None
    return version if isinstance(version, int) and not isinstance(version, bool) else None

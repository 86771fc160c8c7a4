"""Where settings are written down: a TOML file, secrets as files, the environment; merged before they are judged.

Not pydantic-settings: it overlooks variables of a section that does not exist, fills no sections from secret files, and
an error of its cannot say which of the places the bad value came from.
"""

import os
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kith.errors import Misconfigured

PREFIX = "KITH_"

#: What a process may be told besides knobs.
CONFIG_VARIABLE, SECRETS_VARIABLE = "KITH_CONFIG", "KITH_SECRETS_DIR"


@dataclass
class Found:
    """values: as read, sections as dicts. origins: which knob was set by what, for what the TOML file did not set."""

    file: Path | None
    values: dict[str, Any]
    origins: dict[str, str] = field(default_factory=dict)

    def origin(self, knob: str) -> str | None:
        """The place that set `knob`, or one part of it when it is a section."""
        for name, origin in self.origins.items():
            if name == knob or name.startswith(f"{knob}."):
                return origin
        return str(self.file) if self.file and self._in_values(knob) else None

    def _in_values(self, knob: str) -> bool:
        section, _, part = knob.partition(".")
        inside = self.values.get(section)
        return section in self.values and (not part or (isinstance(inside, dict) and part in inside))


def gather(config: Path | None, known: Collection[str]) -> Found:
    """What all places say, the later ones over the earlier. known: the names of the top level.

    Raises Misconfigured when a file that is named cannot be read.
    """
    file = config or _path_in(CONFIG_VARIABLE)
    found = Found(file, _read_toml(file) if file else {})
    secrets = _path_in(SECRETS_VARIABLE)
    if secrets is not None:
        _merge(found, _secret_files(secrets), f"the file {secrets}/", known)
    _merge(found, os.environ, "the variable ", known)
    return found


def variable_of(knob: str) -> str:
    """`store.kind` → `KITH_STORE__KIND`."""
    return PREFIX + knob.replace(".", "__").upper()


def _path_in(variable: str) -> Path | None:
    text = os.environ.get(variable)
    return Path(text).expanduser() if text else None


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Misconfigured(f"the configuration file {file} does not exist") from None
    except OSError as unreadable:
        raise Misconfigured(f"the configuration file {file} cannot be read: {unreadable.strerror}") from None
    except ValueError as broken:
        raise Misconfigured(f"{file} is not valid TOML: {broken}") from None


def _secret_files(directory: Path) -> dict[str, str]:
    """File name → content. Only names with our prefix are opened: other programs' secrets may lie beside them."""
    try:
        # Without the newline that every editor puts at the end.
        return {
            file.name: file.read_text(encoding="utf-8").strip()
            for file in sorted(directory.iterdir())
            if file.name.upper().startswith(PREFIX) and file.is_file()
        }
    except OSError as unreadable:
        raise Misconfigured(
            f"{SECRETS_VARIABLE}: {unreadable.filename} cannot be read: {unreadable.strerror}"
        ) from None
    except UnicodeDecodeError:
        raise Misconfigured(f"{SECRETS_VARIABLE}: a file in {directory} is not text in UTF-8") from None


def _merge(found: Found, variables: Mapping[str, str], where: str, known: Collection[str]) -> None:
    for name, text in variables.items():
        section, inside, knob = name.upper().removeprefix(PREFIX).lower().partition("__")
        if not name.upper().startswith(PREFIX) or not text:
            continue
        if inside:
            parts = found.values.setdefault(section, {})
            # Else the file says `store = 3`; that is reported, not what would be inside.
            if isinstance(parts, dict):
                parts[knob] = text
                found.origins[f"{section}.{knob}"] = where + name
        elif section in known:
            # Only known ones: others use the prefix too (KITH_CONFIG; Kubernetes' KITH_PORT for a service `kith`).
            found.values[section] = text
            found.origins[section] = where + name

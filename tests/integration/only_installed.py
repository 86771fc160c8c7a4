"""Python as an image has it: the standard library, our code, and what the image installs; nothing else is found."""

import re
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

#: First of all that Python imports when it starts; says what pip's absence would say.
_HIDES = """
import os, sys
_hidden = frozenset(os.environ["HIDDEN_MODULES"].split(","))
class _Hides:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in _hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None
sys.meta_path.insert(0, _Hides())
"""


def hiding_all_but(wanted: Iterable[str], folder: Path) -> dict[str, str]:
    """Variables for a Python that sees `wanted` (requirements; `.[extra]` is ours), what they bring, and no more."""
    visible = _brought_by(wanted)
    hidden = {
        module
        for module, owners in metadata.packages_distributions().items()
        if not visible & {_normal(owner) for owner in owners}
    }
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(_HIDES)
    return {"PYTHONPATH": str(folder), "HIDDEN_MODULES": ",".join(sorted(hidden))}


def _brought_by(wanted: Iterable[str]) -> set[str]:
    """The distributions that pip would install, of those that are here."""
    found: set[str] = set()
    seen: set[tuple[str, str]] = set()
    open_ones = [Requirement(re.sub(r"^\.", "kith", each)) for each in wanted]
    while open_ones:
        each = open_ones.pop()
        name = _normal(each.name)
        for extra in {"", *each.extras}:
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            try:
                needs = _ours() if name == "kith" else metadata.requires(each.name) or []
            except metadata.PackageNotFoundError:
                # Only on other systems, or in place of something the image's platform has.
                continue
            found.add(name)
            parsed = [Requirement(text) for text in needs]
            open_ones += [need for need in parsed if need.marker is None or need.marker.evaluate({"extra": extra})]
    return found


def _ours() -> list[str]:
    """As the project's file says it now; what is installed here may be older."""
    project = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].items()
    return [*project["dependencies"], *(f'{need}; extra == "{name}"' for name, needs in extras for need in needs)]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()

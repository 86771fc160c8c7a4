"""Model packs by name: those that ship with Kith, and those that were imported or pulled into a home.

    kith/packs/NAME/      shipped, read only
    HOME/packs/NAME/      imported or pulled

Loads nothing: a name becomes a folder, `kith.checkpoints.load_pack` does the rest.
"""

import re
from pathlib import Path

from kith.checkpoints import MANIFEST
from kith.errors import InvalidName, Misconfigured

#: The pack in use where nobody names one.
DEFAULT = "kith-small"

_HERE = Path(__file__).parent
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def shipped_packs() -> dict[str, Path]:
    """Name → folder of the packs inside this package, sorted by name; empty where it was installed without any."""
    return _packs_in(_HERE)


def imported_packs(home: Path) -> dict[str, Path]:
    """Name → folder of the packs in `home`, sorted by name."""
    return _packs_in(packs_folder(home))


def packs_folder(home: Path) -> Path:
    """Where the packs of a home are; it need not exist."""
    return home.expanduser() / "packs"


def default_pack() -> Path | None:
    """The pack in use where nobody names one; None where it did not ship."""
    return shipped_packs().get(DEFAULT)


def resolve_pack(name_or_path: str | Path, home: Path) -> Path:
    """The folder of a pack that is named by its path, by a shipped name, or by the name it was imported under.

    A folder that is there comes before a name. Raises Misconfigured, listing the known names.
    """
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return path.resolve()
    name = str(name_or_path)
    known = imported_packs(home) | shipped_packs()
    if name in known:
        return known[name]
    if _NAME.fullmatch(name):
        there = ", ".join(sorted(known)) or "none"
        raise Misconfigured(
            f"no model pack is called {name}, and there is no folder of that name; packs here: {there}. "
            "`kith models list` shows them and what `kith models pull` can get"
        )
    raise Misconfigured(f"the model pack {path} is not a folder (--pack, KITH_MODEL__PACK, model.pack)")


def pack_name(name: str) -> str:
    """`name` itself when it can be the name of an imported pack; raises InvalidName else."""
    if not _NAME.fullmatch(name):
        raise InvalidName(
            f"the pack name {name[:70]!r} is not 1..64 characters of a-z, 0-9, ., _ and -, the first a letter or digit "
            "(--name)"
        )
    if name in shipped_packs():
        raise InvalidName(f"{name} is the name of a pack that ships with Kith; give yours another with --name")
    return name


def _packs_in(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        return {}
    # A dot: one that is just being written.
    return {
        each.name: each
        for each in sorted(folder.iterdir())
        if not each.name.startswith(".") and (each / MANIFEST).is_file()
    }

"""Model packs in .zip files: taken out with limits, because an archive can claim anything.

Nothing is written outside the folder, no link is followed, no member may be larger than it says, and what is of no use
to a pack is left inside.
"""

import stat
import zipfile
from pathlib import Path, PurePosixPath

from kith.checkpoints import MANIFEST
from kith.errors import InvalidPack
from kith.known_weights import SUFFIXES
from kith.packs.insightface import ignored
from kith.packs.listing import EVALUATION, MODEL_CARD

#: Of one member, and of all that is taken out, bytes.
MAX_MEMBER, MAX_TOTAL = 1 << 30, 2 << 30
MAX_MEMBERS = 10_000

_CHUNK = 1 << 20


def extract(archive: Path, into: Path) -> Path:
    """Take the weights, the manifest and the model card out of `archive` into the folder `into`.

    Returns the folder they are in: a single one at the top of the archive is gone through. Raises InvalidPack when it
    is no .zip file, goes beyond the limits, holds what leads out of the folder, or nothing that makes a pack.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [member for member in _checked(archive, opened.infolist()) if _wanted(member.filename)]
            if not members:
                raise InvalidPack(f"{archive} holds neither a {MANIFEST} nor weights ({', '.join(sorted(SUFFIXES))})")
            for member in members:
                _write(opened, member, into / PurePosixPath(member.filename), f"{archive}: {member.filename}")
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as broken:
        # RuntimeError: encrypted; NotImplementedError: a compression Python has not.
        raise InvalidPack(f"{archive} cannot be unpacked: {broken}") from None
    here = into
    while [each.is_dir() for each in here.iterdir()] == [True]:
        [here] = here.iterdir()
    return here


def _checked(archive: Path, members: list[zipfile.ZipInfo]) -> list[zipfile.ZipInfo]:
    if len(members) > MAX_MEMBERS:
        raise InvalidPack(f"{archive} has {len(members):,} members, the limit is {MAX_MEMBERS:,}")
    for member in members:
        path = PurePosixPath(member.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in member.filename or ":" in member.filename:
            raise InvalidPack(
                f"{archive}: the member {member.filename!r} leads out of the folder; nothing was unpacked"
            )
        if stat.S_ISLNK(member.external_attr >> 16):
            raise InvalidPack(f"{archive}: the member {member.filename!r} is a link; nothing was unpacked")
    taken = [member for member in members if _wanted(member.filename)]
    largest = max((member.file_size for member in taken), default=0)
    total = sum(member.file_size for member in taken)
    if largest > MAX_MEMBER or total > MAX_TOTAL:
        raise InvalidPack(
            f"{archive} unpacks to {total:,} bytes, {largest:,} in one file; the limits are {MAX_TOTAL:,} and "
            f"{MAX_MEMBER:,}"
        )
    return members


def _wanted(name: str) -> bool:
    path = PurePosixPath(name)
    if "__MACOSX" in path.parts or ignored(path.name):
        return False
    return path.suffix in SUFFIXES or path.name in (MANIFEST, MODEL_CARD, EVALUATION)


def _write(opened: zipfile.ZipFile, member: zipfile.ZipInfo, file: Path, where: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    # x: of two members with one name the second would silently win.
    try:
        with opened.open(member) as source, file.open("xb") as target:
            while chunk := source.read(_CHUNK):
                written += len(chunk)
                # Python's reader stops at the size the directory states; this line does not have to trust that.
                if written > member.file_size:
                    raise InvalidPack(f"{where} is larger than it says; nothing was imported")
                target.write(chunk)
    except FileExistsError:
        raise InvalidPack(f"{where} is there twice; nothing was imported") from None

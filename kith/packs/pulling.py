"""A public model over the network → a pack in `HOME/packs`: downloaded as pinned, then imported."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from kith.errors import Rejected
from kith.packs.catalogue import Entry
from kith.packs.downloading import MAX_BYTES, Patience, check_address, fetch
from kith.packs.importing import Wish, check_free, import_pack
from kith.packs.shipped import packs_folder
from kith.packs.verifying import Verified

#: Called with a file's name, the bytes that are there, and of how many when that is known.
Tell = Callable[[str, int, int | None], None]


def pull_entry(
    entry: Entry, home: Path, wish: Wish, tell: Tell = lambda *_: None, patience: Patience | None = None
) -> Verified:
    """Download the files of a catalogue's entry and import them. See kith.packs.downloading.fetch and
    kith.packs.importing.import_pack for what it raises."""
    wish = replace(wish, name=wish.name or entry.name)
    check_free(wish.name or "", home, wish)
    folder = _downloads(home, entry.name)
    for file in entry.files:
        fetch(
            file.url,
            file.sha256,
            folder / file.name,
            limit=file.size,
            tell=partial(tell, file.name),
            patience=patience,
        )
    source = folder if entry.embedder_spec is not None else folder / entry.files[0].name
    return _imported(source, folder, home, wish, entry)


def pull_url(
    url: str,
    sha256: str,
    home: Path,
    wish: Wish,
    tell: Tell = lambda *_: None,
    *,
    limit: int = MAX_BYTES,
    patience: Patience | None = None,
) -> Verified:
    """Download one file, a .zip or weights, and import it. Raises as `pull_entry` does."""
    check_address(url)
    if wish.name is not None:
        check_free(wish.name, home, wish)
    name = PurePosixPath(unquote(urlsplit(url).path)).name or "download"
    folder = _downloads(home, sha256[:16])
    file = fetch(url, sha256, folder / name, limit=limit, tell=partial(tell, name), patience=patience)
    return _imported(file, folder, home, wish, None)


def _imported(source: Path, folder: Path, home: Path, wish: Wish, entry: Entry | None) -> Verified:
    try:
        verified = import_pack(source, home, wish, entry)
    except Rejected as refused:
        # Somebody who only has to name something, conventions or another name, need not download it again.
        raise type(refused)(f"{refused}. What was downloaded is kept: kith models import {source} …") from None
    shutil.rmtree(folder)
    return verified


def _downloads(home: Path, name: str) -> Path:
    return packs_folder(home) / ".downloads" / name

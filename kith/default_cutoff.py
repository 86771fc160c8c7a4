"""The cutoff of a gallery that has none of its own: the installation's, else its model pack's."""

from contextlib import suppress

from kith.checkpoints import MANIFEST
from kith.errors import Rejected
from kith.manifest import parse
from kith.packs.shipped import default_pack, resolve_pack
from kith.settings import Settings

#: Where neither is known: the process runs where the model pack is not. Half of what equal pictures score.
UNKNOWN = 0.5


def default_cutoff(settings: Settings) -> float:
    """What `settings` let a match need. Reads the pack's manifest, not its weights; UNKNOWN where there is none."""
    if settings.decisions.cutoff is not None:
        return settings.decisions.cutoff
    named = settings.model.pack
    with suppress(Rejected, OSError):
        folder = default_pack() if named is None else resolve_pack(named, settings.home)
        if folder is not None:
            file = folder / MANIFEST
            return parse(file.read_text(encoding="utf-8"), str(file)).default_cutoff
    return UNKNOWN

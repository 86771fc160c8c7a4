"""The same pictures through two model packs, each with its own detector and alignment: for a shadow comparison."""

from collections.abc import Callable, Sequence
from pathlib import Path

from kith.checkpoints import Pack, load_pack
from kith.detector import Detector, open_detector
from kith.embedder import Embedder, embed, open_embedder
from kith.errors import Rejected
from kith.imagestore import ImageStore
from kith.jobs import Content, EmbedJob, ImageRef, Kind, Lane, now_ms
from kith.journal import Vectors
from kith.preparation import Preparer
from kith.settings import Settings
from kith.shadow import Probe


class Eye:
    """One pack, opened on this machine."""

    def __init__(self, pack: Pack, store: ImageStore, settings: Settings) -> None:
        self._embedder: Embedder = open_embedder(pack, settings.model.device, settings.model.threads)
        detector: Detector | None = open_detector(pack)
        self._preparer = Preparer(store, detector, pack, settings)

    def see(self, image: ImageRef, gallery: str, content: Content) -> Vectors | None:
        """The vector of the most prominent face that is good enough; None without one. Raises StoreUnavailable."""
        job = EmbedJob("shadow", Kind.IDENTIFY, gallery, Lane.BULK, (image,), now_ms(), content=content)
        prepared = self._preparer.prepare(job, 0)
        usable = [crop.pixels for crop in prepared.crops if crop.refused is None]
        if prepared.rejected is not None or not usable:
            return None
        vector: Vectors = embed(self._embedder, usable[:1])[0]
        return vector


def probes_of(
    packs: tuple[Path, Path],
    images: Sequence[ImageRef],
    gallery: str,
    store: ImageStore,
    settings: Settings,
    tell: Callable[[int, int], None] = lambda *_: None,
) -> list[Probe]:
    """Both vectors of each image on which both packs find a face; packs: of the gallery's model, and of the other."""
    now, then = (Eye(load_pack(pack), store, settings) for pack in packs)
    found = []
    for number, image in enumerate(images):
        tell(number + 1, len(images))
        for content in (Content.PHOTO, Content.ALIGNED):
            try:
                pair = now.see(image, gallery, content), then.see(image, gallery, content)
            except Rejected:
                continue
            if pair[0] is not None and pair[1] is not None:
                found.append(Probe(image.label or image.key, pair[0], pair[1]))
                break
    return found

"""Loads the models of an embed worker: the main one, and those it holds beside it while galleries move."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from kith.batcher import Batcher
from kith.checkpoints import Pack, load_pack
from kith.detector import open_detector
from kith.embedder import Embedder, best_batch_size, embed, open_embedder
from kith.errors import Misconfigured
from kith.gallery import GalleryStore
from kith.imagestore import ImageStore
from kith.jobs import LANES, Lane
from kith.journal import Vectors
from kith.metrics.models import Batches, LoadedModel, model_label
from kith.migration import MigrationStore
from kith.models_held import Held, ModelsHeld
from kith.packs.shipped import default_pack, resolve_pack
from kith.preparation import Pixels, Preparer
from kith.recognition import Recogniser
from kith.reembedding import Reembedder
from kith.replica import Follower
from kith.settings import Settings
from kith.similarity import Searcher
from kith.stack_memory import wipe_stack
from kith.wiping import wiped_when_dropped


@dataclass(frozen=True, slots=True)
class Model:
    """A network ready to run, with its thread. size: crops in a batch. load_s: seconds until it was ready."""

    pack: Pack
    embedder: Embedder
    batcher: Batcher[Pixels, Vectors]
    size: int
    load_s: float

    def shown(self) -> LoadedModel:
        """As Prometheus is told of it."""
        return LoadedModel(
            label=model_label(self.pack.manifest.name, self.pack.model_id),
            model_id=self.pack.model_id,
            runtime=self.embedder.runtime,
            load_s=self.load_s,
            capacity=self.size,
            failures=self.batcher.counts.failures,
        )

    @property
    def fill(self) -> float | None:
        """How full its batches were so far, 0..1."""
        counts = self.batcher.counts
        return round(counts.requests / (counts.batches * self.size), 3) if counts.batches else None


def open_models(settings: Settings, on_death: Callable[[BaseException], None], batches: Batches) -> list[Model]:
    """The models of `settings`, the main one first. batches: told of each batch. Raises Misconfigured, InvalidPack."""
    named = settings.model.pack
    main = default_pack() if named is None else resolve_pack(named, settings.home)
    if main is None:
        raise Misconfigured("no model pack is named; set model.pack in the configuration or KITH_MODEL__PACK")
    packs = [
        load_pack(folder) for folder in (main, *(resolve_pack(each, settings.home) for each in settings.model.also))
    ]
    found: dict[str, Model] = {}
    for pack in packs:
        if pack.model_id not in found:
            found[pack.model_id] = _open(pack, settings, on_death, batches)
    return list(found.values())


def held(
    models: list[Model],
    settings: Settings,
    store: ImageStore,
    galleries: GalleryStore,
    migrations: MigrationStore,
    follower: Follower,
    threads: Executor,
    searcher: Searcher,
) -> ModelsHeld:
    """What does the jobs of a worker that holds `models`."""
    by_id = {}
    for number, model in enumerate(models):
        # A cosine means something else to each model: the installation's cutoff is the main one's.
        decisions = settings.decisions if number == 0 else settings.decisions.model_copy(update={"cutoff": None})
        own = settings.model_copy(update={"decisions": decisions})
        preparer = Preparer(store, open_detector(model.pack), model.pack, own)
        by_id[model.pack.model_id] = Held(
            Recogniser(preparer, model.batcher, galleries, follower, threads, model.pack, own, searcher),
            Reembedder(preparer, model.batcher, migrations, threads, model.pack.model_id),
        )
    return ModelsHeld(by_id, models[0].pack.model_id, galleries, follower)


def _open(pack: Pack, settings: Settings, on_death: Callable[[BaseException], None], batches: Batches) -> Model:
    began_s = time.perf_counter()
    embedder = open_embedder(pack, settings.model.device, settings.model.threads, settings.model.runtime)
    size = settings.batch.size or best_batch_size(embedder)

    def run(crops: Sequence[Pixels]) -> list[Vectors]:
        # Whoever drops them last, and whenever: it may be after somebody was forgotten and the memory was gone over.
        vectors = list(wiped_when_dropped(embed(embedder, crops)))
        # The next batch may not come for days.
        wipe_stack()
        return vectors

    batcher: Batcher[Pixels, Vectors] = Batcher(
        run,
        size=size,
        # Somebody waits for the answer to a live or interactive job; only bulk faces wait for company.
        windows_s=[settings.batch.window_ms / 1000 if lane is Lane.BULK else 0.0 for lane in LANES],
        canary=np.full((pack.input_size, pack.input_size, 3), 127, np.uint8),
        capacity=max(settings.batch.queue, size),
        on_death=on_death,
        served=batches.of(model_label(pack.manifest.name, pack.model_id)),
    )
    return Model(pack, embedder, batcher, size, time.perf_counter() - began_s)

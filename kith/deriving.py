"""Deriving the cutoff of a gallery at somebody's request, as upkeep does it by itself (workers.cutoffs)."""

from dataclasses import replace

import numpy as np

from kith.amending import settings_changed
from kith.client import Client
from kith.default_cutoff import default_cutoff
from kith.gallery_cutoff import Derived, derive, in_force, is_of_such_scores
from kith.gallery_settings import GallerySettings
from kith.jobs import now_ms
from kith.subjects import GalleryInfo
from kith.view import Replica


def derived(client: Client, gallery: str, fpir: float, seed: int) -> Derived:
    """From what the site has judged and from the gallery's own templates; changes nothing."""
    # Before reading, so that what is judged meanwhile counts as news.
    at_ms = now_ms()
    samples = client.samples.samples(gallery)
    view = Replica(client.snapshot(gallery)).view
    default = in_force(view.settings, view.model_id, default_cutoff(client.settings, view.model_id))
    return derive(view, samples, fpir, np.random.default_rng(seed), default=default, at_ms=at_ms)


def aiming_at(info: GalleryInfo, found: Derived) -> GallerySettings:
    """The settings of `info` with the cutoff that was found, and the rate it is for as what upkeep keeps it at.

    Raises ChangedMeanwhile when the gallery has another model by now, or another scoring, than the cutoff was derived
    for.
    """
    if not is_of_such_scores(found.record, info.model_id, info.settings.scoring):
        raise settings_changed(info.name)
    return replace(info.settings, cutoff=found.cutoff, record=found.record, fpir=found.record.fpir)

"""kith migrate --shadow: the latest searches of a gallery asked of both models, on this machine."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kith.checkpoints import Pack
from kith.cli.extras import needs_training
from kith.client import Client
from kith.decision import Rule
from kith.gallery_settings import GallerySettings
from kith.jobs import Decision, ImageRef, Kind, Outcome
from kith.shadow import Differs, Rates, Side, compare, rates
from kith.view import Replica

_PAGE = 500


@dataclass(frozen=True, slots=True)
class Shadow:
    """asked: pictures of searches that are still kept; compared: those on which both models find a face. now, then: by
    the model in use, by the other one."""

    asked: int
    compared: int
    differ: tuple[Differs, ...]
    cutoff_now: float
    cutoff_then: float
    now: Rates
    then: Rates


def shadow_of(
    client: Client,
    gallery: str,
    packs: tuple[Pack, Pack],
    settings: GallerySettings,
    count: int,
    random: np.random.Generator,
    tell: Callable[[str, int, int], None] = lambda *_: None,
) -> Shadow:
    """Compare the models of `packs`, the gallery's first; settings: what would apply after the switch."""
    with needs_training():
        from kith.evaluation.both_models import probes_of  # noqa: PLC0415
    own = Replica(client.snapshot(gallery)).view
    other = Replica(client.migrations.other(gallery)).view
    margin = client.settings.decisions.margin if settings.margin is None else settings.margin
    said = client.settings.decisions.cutoff
    default = packs[0].default_cutoff if said is None else said
    now = Side(own, Rule(default if own.cutoff is None else own.cutoff, margin))
    then = Side(other, Rule(packs[1].default_cutoff if settings.cutoff is None else settings.cutoff, margin))
    images = [ImageRef(each.image, label=each.label) for each in _latest(client, gallery, count)]
    folders = packs[0].path, packs[1].path
    probes = probes_of(folders, images, gallery, client.store, client.settings, lambda n, of: tell("asked", n, of))
    return Shadow(
        asked=len(images),
        compared=len(probes),
        differ=tuple(compare(now, then, probes)),
        cutoff_now=now.rule.cutoff,
        cutoff_then=then.rule.cutoff,
        now=rates(now, random),
        then=rates(then, random),
    )


def _latest(client: Client, gallery: str, count: int) -> list[Decision]:
    """The latest searches, each picture once, oldest first."""
    found: dict[str, Decision] = {}
    last = "0"
    while page := client.results.after(last, limit=_PAGE):
        for decision in (entry.decision for entry in page):
            judged = decision.outcome in (Outcome.MATCH, Outcome.UNKNOWN)
            if decision.gallery == gallery and decision.kind is Kind.IDENTIFY and judged:
                found.pop(decision.image, None)
                found[decision.image] = decision
                if len(found) > count:
                    del found[next(iter(found))]
        last = page[-1].entry_id
    return list(found.values())

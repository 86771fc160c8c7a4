"""The decisions of the last hours about a gallery, and the rule they would be made by today: what previews look at."""

from kith.client import Client
from kith.decision import Rule
from kith.default_cutoff import default_cutoff
from kith.gallery_settings import GallerySettings
from kith.jobs import Decision, now_ms

_PAGE = 500


def recent(client: Client, gallery: str, model_id: str, hours: float) -> list[Decision]:
    """Oldest first; those by another model are left out, whose scores say nothing of this one."""
    found: list[Decision] = []
    last = f"{now_ms() - round(hours * 3_600_000)}-0"
    while page := client.results.after(last, limit=_PAGE):
        decisions = [each.decision for each in page]
        found += [each for each in decisions if each.gallery == gallery and each.model_id in (None, model_id)]
        last = page[-1].entry_id
    return found


def rule_of(client: Client, settings: GallerySettings, model_id: str, decisions: list[Decision]) -> Rule:
    """The rule of `settings` in a gallery of that model; decisions: made by it, oldest first."""
    margin = client.settings.decisions.margin if settings.margin is None else settings.margin
    if settings.cutoff is not None:
        return Rule(settings.cutoff, margin)
    # The workers know their model's cutoff better than we do, who may run where it is not.
    used = [each.cutoff for each in decisions if each.cutoff is not None]
    return Rule(used[-1] if used else default_cutoff(client.settings, model_id), margin)

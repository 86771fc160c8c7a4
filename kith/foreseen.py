"""What a change of a gallery would do to recent decisions, before it is made."""

from collections.abc import Callable

from kith.client import Client
from kith.gallery_past import Past, read_past
from kith.recent import recent, rule_of
from kith.redeciding import Effect, redecide


def foreseen(client: Client, gallery: str, propose: Callable[[Past], Past], hours: float) -> tuple[Past, Effect]:
    """The gallery as it is, and the decisions of the last hours made anew as if `propose` had been done to it
    (kith.proposed_changes). Nothing is changed. Raises UnknownGallery, and what `propose` does."""
    info = client.galleries.info(gallery)
    now = read_past(client.galleries, gallery, info.sequence)
    then = propose(now)
    decisions = recent(client, gallery, info.model_id, hours)
    # What workers used so far says nothing of a gallery that gets, or loses, a cutoff of its own.
    used = decisions if now.settings.cutoff == then.settings.cutoff else []
    rules = (
        rule_of(client, now.settings, info.model_id, decisions),
        rule_of(client, then.settings, info.model_id, used),
    )
    return now, redecide(decisions, now, then, rules)

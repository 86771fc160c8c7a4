"""What a change of a gallery would do to recent decisions, shown instead of made."""

from collections.abc import Callable
from typing import Any

from kith.cli.terminal import answer, answer_json, answer_table, plain_table
from kith.client import Client
from kith.foreseen import foreseen
from kith.gallery_past import Past
from kith.redeciding import Effect, Redecided

#: Lines shown to a person; --json has them all.
_MOST_LINES = 20


def show_effect(client: Client, gallery: str, propose: Callable[[Past], Past], hours: float, *, as_json: bool) -> None:
    """Decide the decisions of the last hours anew as if `propose` had been done, and say what would come of them."""
    now, found = foreseen(client, gallery, propose, hours)
    if as_json:
        answer_json({"applied": False, "gallery": gallery, "sequence": now.sequence, "preview": _plain(found)})
    else:
        _show(found, now, hours)


def _show(found: Effect, now: Past, hours: float) -> None:
    answer(
        f"of {found.looked_at:,} faces decided in the last {hours:g} hours {len(found.changed):,} would be answered "
        f"otherwise, {len(found.open):,} may be; nothing was changed"
    )
    table = plain_table("decision", "picture", "now", "then")
    for each in (*found.changed, *found.open)[:_MOST_LINES]:
        picture = each.decision.label or each.decision.image
        face = f" (face {each.face + 1})" if each.face else ""
        table.add_row(each.decision.decision_id, picture + face, _said(each.before), _then(each))
    if table.rows:
        answer_table(table)
    more = len(found.changed) + len(found.open) - _MOST_LINES
    if more > 0:
        answer(f"  … and {more:,} more (--json lists all)")
    if found.open:
        answer("  a decision holds the scores of its nearest two, not of which template they are, and no vector of the")
        answer("  probe: so what may come of these is what is said, and no more can be told before it is done")
    if found.older:
        answer(f"  {found.older:,} were decided before change {now.sequence}, the newest: their scores are of then")
    if found.left_out:
        answer(f"  {found.left_out:,} are left out, whose nearest subject is no longer in the gallery")


def _then(each: Redecided) -> str:
    return " or ".join(_said(name) for name in each.after)


def _said(name: str | None) -> str:
    return name or "nobody"


def _plain(found: Effect) -> dict[str, Any]:
    def plain(each: Redecided) -> dict[str, Any]:
        said = {"decision_id": each.decision.decision_id, "face": each.face, "before": each.before}
        return {**said, "after": each.after[0]} if each.certain else {**said, "after_one_of": each.after}

    return {
        "looked_at": found.looked_at,
        "changed": [plain(each) for each in found.changed],
        "open": [plain(each) for each in found.open],
        "left_out": found.left_out,
        "older": found.older,
    }

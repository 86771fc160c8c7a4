"""What kith migrate says to a person."""

from collections.abc import Sequence

from kith.cli.migrate_shadow import Shadow
from kith.cli.terminal import answer, answer_table, plain_table
from kith.cli.wording import time_of
from kith.evaluation.bootstrap import percent
from kith.left_behind import LeftBehind, told
from kith.migration import Migration
from kith.shadow import Answer, Rates
from kith.subjects import GalleryInfo

#: Lines about single pictures; --json has them all.
_MOST_LINES = 20


def show_state(info: GalleryInfo, state: Migration | None) -> None:
    """Where a gallery stands."""
    if state is None:
        answer(f"gallery {info.name} is of model {info.model_id} and holds no vectors of another")
        return
    answer(f"gallery {info.name} answers by model {info.model_id}, change {info.sequence}")
    if state.switched:
        answer(f"  the way back to model {state.model_id} is kept since change {state.switched}")
    else:
        answer(f"  it moves to model {state.model_id} ({state.pack}), since {time_of(state.started_ms)}")
    answer(
        f"  {state.embedded:,} of {state.templates:,} templates have a vector of it, {state.missing:,} are missing, "
        f"{state.unable:,} cannot have one"
    )


def show_left_behind(gallery: str, lost: Sequence[LeftBehind]) -> None:
    """Whose templates cannot move, and why."""
    if not lost:
        return
    answer(told(gallery, lost))
    table = plain_table("name", "cannot move", "can", "why", right=("cannot move", "can"))
    for each in lost[:_MOST_LINES]:
        why = ", ".join(f"{code} {count}" for code, count in sorted(each.why.items()))
        table.add_row(each.subject, str(each.lost), str(each.kept), why)
    answer_table(table)
    if len(lost) > _MOST_LINES:
        answer(f"  … and {len(lost) - _MOST_LINES:,} more people (--json lists all, with every template)")


def show_shadow(found: Shadow) -> None:
    """What the other model would have answered."""
    same = found.compared - len(found.differ)
    answer(
        f"of the {found.asked:,} latest searches both models see a face on {found.compared:,}: {same:,} answers agree"
    )
    answer(f"  cutoff {found.cutoff_now:.4f} now, {found.cutoff_then:.4f} then")
    for each in found.differ[:_MOST_LINES]:
        answer(f"  {each.label}: {_said(each.now)} now, {_said(each.then)} then")
    if len(found.differ) > _MOST_LINES:
        answer(f"  … and {len(found.differ) - _MOST_LINES} more (--json lists all)")
    answer("leave-one-out on the enrolled templates, each by both models:")
    answer(f"  now:  {_rates(found.now)}")
    answer(f"  then: {_rates(found.then)}")


def _said(each: Answer) -> str:
    score = "" if each.score is None else f" ({each.score:.2f})"
    return f"{each.subject or 'nobody we know'}{score}"


def _rates(each: Rates) -> str:
    found = "no subject has two templates" if each.tpir is None else f"{percent(each.tpir)} of {each.mated:,} found"
    named = "" if each.fpir is None else f", {percent(each.fpir)} of {each.nonmated:,} named as somebody else"
    return found + named

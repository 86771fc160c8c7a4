"""What people ask of the watcher: strangers named, merged, ignored, forgotten; subjects and galleries forgotten."""

from collections.abc import Collection
from dataclasses import replace

from kith.watching import telling
from kith.watching.events import Event
from kith.watching.evidence import NOTHING, Evidence
from kith.watching.news import (
    GalleryForgotten,
    Order,
    Resealed,
    StrangerForgotten,
    StrangerIgnored,
    StrangerMerged,
    StrangerNamed,
    SubjectForgotten,
)
from kith.watching.state import State
from kith.watching.strangers import StrangerVisit
from kith.watching.tally import Crop
from kith.watching.visits import Visit, Who


def applied(gallery: str, state: State, order: Order) -> list[Event]:
    """The events that follow. What is asked of somebody who is no more is done already."""
    match order:
        case StrangerNamed():
            return _named(gallery, state, order)
        case StrangerMerged():
            return _merged(gallery, state, order)
        case StrangerIgnored():
            if (stranger := state.strangers.get(order.stranger)) is not None:
                state.strangers.ignore(stranger.number, order.ignored)
        case StrangerForgotten():
            _forget_stranger(state, order.stranger)
        case SubjectForgotten():
            _forget_subject(state, order)
        case GalleryForgotten():
            _forget_everybody(state)
        case Resealed():
            state.touch()
    return []


def _named(gallery: str, state: State, order: StrangerNamed) -> list[Event]:
    stranger = state.strangers.get(order.stranger)
    if stranger is None or not stranger.lives:
        return []
    who = Who(order.subject, order.subject_id)
    past = list(stranger.visits)
    for visit in _visits_of(state, stranger.number):
        if visit.told is not None:
            past.append(StrangerVisit(visit.visit, visit.started_ms, visit.seen_ms, visit.cameras))
        # By the record that follows everybody has been told.
        told = who if visit.told is not None else None
        state.change_visit(replace(visit, who=who, told=told, how="resembles"))
    state.strangers.name(stranger.number, order.subject)
    return [telling.renamed(gallery, stranger.number, who, visit, order.at_ms) for visit in past]


def _merged(gallery: str, state: State, order: StrangerMerged) -> list[Event]:
    gone, kept = state.strangers.get(order.stranger), state.strangers.get(order.into)
    if gone is None or kept is None or gone.number == kept.number or not (gone.lives and kept.lives):
        return []
    state.displaced(state.strangers.merge(gone.number, kept.number))
    for visit in _visits_of(state, gone.number):
        state.change_visit(replace(visit, who=Who(stranger=kept.number)))
    return [telling.strangers_merged(gallery, gone.number, kept.number, order.at_ms, "said")]


def _forget_stranger(state: State, number: int) -> None:
    stranger = state.strangers.get(number)
    if stranger is None:
        return
    pictures = [
        crop.image for visit in _visits_of(state, stranger.number) for crop in state.shown_of(visit).evidence.kept
    ]
    for visit in _visits_of(state, stranger.number):
        _drop(state, visit)
    state.discard((*state.strangers.forget(stranger.number), *pictures))


def _forget_subject(state: State, order: SubjectForgotten) -> None:
    ids, names = frozenset(order.subject_ids), frozenset(order.names)
    for visit in state.visits_in_order():
        for who in (visit.who, visit.told):
            if who is not None and _meant(who.subject, who.subject_id, ids, names):
                _drop(state, visit)
                break
        else:
            state.change_visit(replace(visit, ended=_without(visit.ended, ids, names)))
    for track in state.tracks_in_order():
        foremost = track.evidence.foremost()
        if foremost is not None and _meant(foremost.subject, foremost.subject_id, ids, names):
            state.put_track(replace(track, held_ms=None, evidence=NOTHING, aside=NOTHING), None, None)
        else:
            evidence, aside = _without(track.evidence, ids, names), _without(track.aside, ids, names)
            state.change_track(replace(track, evidence=evidence, aside=aside))
    for stranger in list(state.strangers):
        if stranger.subject in names:
            # Who was a stranger first: their visits' times go with them.
            state.strangers.forget(stranger.number)


def _forget_everybody(state: State) -> None:
    state.discard([crop.image for visit in state.visits_in_order() for crop in visit.ended.kept])
    state.discard([crop.image for track in state.tracks_in_order() for crop in track.evidence.kept])
    for stranger in list(state.strangers):
        state.discard(state.strangers.forget(stranger.number))
    state.drop_everything_seen()


def _drop(state: State, visit: Visit) -> None:
    """As if it had not been; its tracks go on as tracks of nobody seen yet."""
    for track in state.tracks_of(visit.visit):
        state.put_track(
            replace(track, visit=None, turn=track.turn + 1, held_ms=None, evidence=NOTHING, aside=NOTHING), None, None
        )
    state.drop_visit(visit.visit)


def _without(evidence: Evidence, ids: Collection[str], names: Collection[str]) -> Evidence:
    def blotted(crop: Crop) -> Crop:
        if _meant(crop.nearest, crop.nearest_id, ids, names):
            crop = replace(crop, nearest=None, nearest_id=None)
        return replace(crop, runner_up=None) if crop.runner_up in names else crop

    return replace(
        evidence,
        tallies=tuple(each for each in evidence.tallies if not _meant(each.subject, each.subject_id, ids, names)),
        kept=tuple(blotted(crop) for crop in evidence.kept),
    )


def _meant(subject: str | None, subject_id: str | None, ids: Collection[str], names: Collection[str]) -> bool:
    return subject_id in ids if subject_id else subject in names


def _visits_of(state: State, number: int) -> list[Visit]:
    return [
        visit
        for visit in state.visits_in_order()
        if visit.who.stranger is not None
        and (who := state.strangers.get(visit.who.stranger)) is not None
        and who.number == number
    ]

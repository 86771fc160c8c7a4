"""When there is something to tell of a visit, and the record of it."""

from dataclasses import replace

from kith.settings import Watch
from kith.watching.events import Event, EventKind, proof, stranger_name
from kith.watching.evidence import Evidence
from kith.watching.news import Unfit
from kith.watching.strangers import StrangerVisit
from kith.watching.tracks import Track
from kith.watching.visits import Shown, Visit, Who

#: A picture is worth an update when its quality is better by this.
_BETTER = 0.1


def news_of(gallery: str, visit: Visit, track: Track, shown: Shown, rule: Watch) -> tuple[Visit, Event | None]:
    """What a crop of `track` gives to tell, if anything; and the visit as it stands after."""
    best = max(shown.evidence.kept, key=lambda crop: crop.quality, default=None)
    quality = best.quality if best else 0.0
    better = quality >= visit.shown_quality + _BETTER and track.crop_ms - visit.shown_ms >= rule.cooldown_s * 1000
    if visit.told is None:
        kind, why = EventKind.NEW, None
    elif visit.told != visit.who:
        kind, why = EventKind.UPDATE, _why(visit.told, visit.who)
    elif better:
        kind, why = EventKind.UPDATE, "better_crop"
    else:
        return visit, None
    was = str(visit.told) if visit.told is not None and visit.told != visit.who and visit.told.known else None
    told = replace(
        visit,
        told=visit.who,
        events=visit.events + 1,
        shown=best.image if best else visit.shown,
        shown_quality=quality,
        shown_ms=track.crop_ms,
    )
    event = replace(
        _of(gallery, told, shown.evidence, kind, f"{visit.visit}:{told.events}", track.crop_ms),
        camera=track.camera,
        track=track.track,
        was=was,
        why=why,
    )
    return told, event


def end(gallery: str, visit: Visit, shown: Shown) -> Event:
    """Of a visit that is over."""
    event = _of(gallery, visit, shown.evidence, EventKind.END, f"{visit.visit}:end", visit.seen_ms)
    was = str(visit.told) if visit.told is not None and visit.told != visit.who and visit.told.known else None
    camera = visit.cameras[-1] if visit.cameras else None
    return replace(event, ended_ms=visit.seen_ms, was=was, camera=camera, late=visit.told is None)


def unusable(gallery: str, track: Track) -> Event:
    """Of a track that showed nobody."""
    return Event(
        event_id=f"{track.next_visit}:unusable",
        kind=EventKind.UNUSABLE,
        gallery=gallery,
        at_ms=track.seen_ms,
        camera=track.camera,
        track=track.track,
        why=(track.unfit or Unfit.BLURRED).value,
        cameras=(track.camera,),
        started_ms=track.begun_ms,
        ended_ms=track.seen_ms,
        evidence=proof(track.evidence, "nobody") if track.evidence.crops else None,
    )


def merged(gallery: str, gone: Visit, kept: Visit) -> Event:
    """Of a visit that was told of as another person's."""
    return replace(
        _of(gallery, kept, kept.ended, EventKind.MERGED, f"{gone.visit}:merged", max(gone.seen_ms, kept.seen_ms)),
        visit=gone.visit,
        into=kept.visit,
        was=str(gone.told) if gone.told is not None and gone.told.known else None,
        why="same_person",
        started_ms=gone.started_ms,
        cameras=gone.cameras,
        snapshot=gone.shown,
        evidence=None,
    )


def strangers_merged(gallery: str, gone: int, kept: int, at_ms: int, why: str) -> Event:
    """Of two numbers that were one person's. why: `alike`, or `said` by somebody."""
    return Event(
        event_id=f"{stranger_name(gone)}:merged",
        kind=EventKind.MERGED,
        gallery=gallery,
        at_ms=at_ms,
        stranger=stranger_name(gone),
        into=stranger_name(kept),
        why=why,
    )


def renamed(gallery: str, number: int, who: Who, visit: StrangerVisit, at_ms: int) -> Event:
    """Of a visit of the past whose stranger has a name now."""
    return Event(
        event_id=f"{visit.visit}:renamed",
        kind=EventKind.RENAMED,
        gallery=gallery,
        at_ms=at_ms,
        visit=visit.visit,
        subject=who.subject,
        subject_id=who.subject_id,
        was=stranger_name(number),
        why="named",
        cameras=visit.cameras,
        started_ms=visit.started_ms,
        ended_ms=visit.ended_ms,
    )


def _of(gallery: str, visit: Visit, evidence: Evidence, kind: EventKind, event_id: str, at_ms: int) -> Event:
    who = visit.who
    return Event(
        event_id=event_id,
        kind=kind,
        gallery=gallery,
        at_ms=at_ms,
        visit=visit.visit,
        subject=who.subject,
        subject_id=who.subject_id,
        stranger=stranger_name(who.stranger) if who.subject is None and who.stranger is not None else None,
        cameras=visit.cameras,
        started_ms=visit.started_ms,
        snapshot=visit.shown or _best(evidence),
        evidence=proof(evidence, visit.how, visit.likeness, who.subject, who.subject_id),
    )


def _best(evidence: Evidence) -> str | None:
    return max(evidence.kept, key=lambda crop: crop.quality).image if evidence.kept else None


def _why(told: Who, who: Who) -> str:
    if who.subject is not None:
        return "changed_mind" if told.subject is not None else "named"
    if who.stranger is not None:
        return "changed_mind" if told.known else "stranger"
    return "withdrawn"

"""The fold: what cameras told, in order, becomes visits and events. Pure: the same news give the same events.

    track's crop ──▶ whose? ──▶ which visit? ──▶ who is it? ──▶ anything to tell?
                  (tracks)      (visits)        (visits, strangers)   (here)

`take` and `tick` are given the time; nothing here asks for it. What is too old to be told counts all the same: it helps
to know who it is, and stands in the `end`.
"""

from collections.abc import Callable
from dataclasses import replace

from kith.settings import Watch
from kith.watching import orders, telling
from kith.watching.events import Event
from kith.watching.evidence import Vector
from kith.watching.log import Heard
from kith.watching.news import CameraStarted, Order, Sighted, TrackBegun, TrackEnded, TracksAlive
from kith.watching.numbering import Numbering
from kith.watching.state import State
from kith.watching.tracks import Track, placed
from kith.watching.visits import Shown, Visit, belongs, decided, visit_of

#: How long crops of a track that ended may still be on their way: past their deadlines they come as expired.
_LINGER_MS = 15_000
#: How long a track is remembered after it is closed.
_OVER_MS = 600_000
#: Strangers come and go slowly: who is to be forgotten is looked for no more often than this, and no less often.
_LOOK_EVERY_MS, _LOOK_AFTER_MS = 60_000, 3_600_000
#: The deadline of a sighting that has none: never.
_NEVER_MS = 2**53


class VisitBook:
    """One gallery's visits. keep_strangers_s: asked now and then for the gallery's own time for strangers; None for the
    installation's."""

    def __init__(
        self,
        gallery: str,
        rule: Watch,
        state: State,
        keep_strangers_s: Callable[[], float | None] = lambda: None,
    ) -> None:
        self.gallery, self.state = gallery, state
        self._rule = rule
        self._gap_ms, self._silence_ms = round(rule.gap_s * 1000), round(rule.silence_s * 1000)
        self._keep_strangers_s = keep_strangers_s
        self._numbering = Numbering(state, rule)
        self._events: list[Event] = []
        self._looked_ms = -_LOOK_AFTER_MS
        #: Until when the events that name somebody may be told; None when none does.
        self.deadline_ms: int | None = None

    def take(self, heard: Heard, vector: Vector | None, now_ms: int) -> list[Event]:
        """The events that follow from one piece of news. vector: of a sighting. now_ms: by which a sighting is too old
        to announce anybody."""
        self._tick(heard.at_ms, now_ms)
        news, at_ms = heard.news, heard.at_ms
        match news:
            case CameraStarted():
                for track in [each for each in self.state.tracks_in_order() if each.camera == news.camera]:
                    if track.ended_ms is None and not track.track.startswith(f"{news.camera}.{news.run}."):
                        self._ended(replace(track, final=True), at_ms, track.seen_ms, None, now_ms)
            case TrackBegun():
                if (begun := self._track(news.track, news.camera, news.at_ms, at_ms)) is not None:
                    self.state.change_track(begun)
            case TracksAlive():
                for name in news.tracks:
                    self._alive(name, news.at_ms, at_ms)
            case TrackEnded() if news.track in self.state.tracks or news.unfit is not None:
                if (known := self._track(news.track, news.camera, news.at_ms, at_ms)) is not None:
                    self.state.change_track(known)
                    self._alive(news.track, news.at_ms, at_ms)
                    ended = replace(self.state.tracks[news.track], unfit=news.unfit or known.unfit, final=True)
                    self._ended(ended, at_ms, news.at_ms, news.crops, now_ms)
            case Sighted():
                self._sighted(news, vector, at_ms, now_ms)
        if isinstance(news, Order):
            self._events += orders.applied(self.gallery, self.state, news)
        return self._gathered()

    def tick(self, at_ms: int, now_ms: int) -> list[Event]:
        """The events that follow from time going by. at_ms: by the log's clock, up to which all news were taken."""
        self._tick(at_ms, now_ms)
        return self._gathered()

    def due_ms(self) -> int | None:
        """When `tick` has something to do, by the log's clock; None when there is nothing to wait for."""
        tracks = self.state.tracks.values()
        times = [track.held_ms for track in tracks if track.held_ms is not None and track.visit is None]
        times += [
            track.heard_ms + self._silence_ms if track.ended_ms is None else track.ended_ms + _LINGER_MS
            for track in tracks
        ]
        busy = {track.visit for track in tracks}
        times += [visit.heard_ms + self._gap_ms for name, visit in self.state.visits.items() if name not in busy]
        if len(self.state.strangers) or self.state.over:
            # Where no camera tells anything, their time comes all the same.
            times.append(self._looked_ms + _LOOK_AFTER_MS)
        return min(times, default=None)

    def _tick(self, at_ms: int, now_ms: int) -> None:
        rule = self._rule
        for track in self.state.tracks_in_order():
            if track.ended_ms is None and track.heard_ms + self._silence_ms <= at_ms:
                self._ended(track, at_ms, track.seen_ms, None, now_ms)
            elif track.ended_ms is not None and track.ended_ms + _LINGER_MS <= at_ms:
                self._close(track, at_ms, now_ms)
            elif track.visit is None and track.held_ms is not None and track.held_ms <= at_ms:
                self._seat(track, at_ms, now_ms, anyway=True)
        # A track that has ended, but has crops on their way, is not over: they belong to the visit.
        busy = {track.visit for track in self.state.tracks.values()}
        for visit in self.state.visits_in_order():
            if visit.visit not in busy and visit.heard_ms + self._gap_ms <= at_ms:
                self._end(self.state.visits[visit.visit])
        if at_ms >= self._looked_ms + _LOOK_EVERY_MS:
            self._looked_ms = at_ms
            self.state.forget_over(at_ms - _OVER_MS)
            held = {visit.who.stranger for visit in self.state.visits.values()}
            keep_ms = round((self._keep_strangers_s() or rule.keep_strangers_s) * 1000)
            for number in self.state.strangers.stale(at_ms - keep_ms, rule.max_strangers):
                if number not in held:
                    self.state.discard(self.state.strangers.forget(number))

    def _track(self, name: str, camera: str, seen_ms: int, heard_ms: int) -> Track | None:
        """The track of this name, begun where it is unknown: its beginning was lost, or it is heard of again after it
        was silent for too long. None for one that ended long ago."""
        track = self.state.tracks.get(name)
        if track is not None:
            # What was silent is there after all.
            return track if track.final else replace(track, ended_ms=None)
        over = self.state.over.get(name)
        if over is not None and over.final:
            return None
        return Track(name, camera, seen_ms, seen_ms, heard_ms, turn=0 if over is None else over.turn + 1)

    def _alive(self, name: str, seen_ms: int, heard_ms: int) -> None:
        track = self.state.tracks.get(name)
        if track is None or track.final:
            return
        track = replace(track, ended_ms=None)
        self.state.change_track(
            replace(track, seen_ms=max(track.seen_ms, seen_ms), heard_ms=max(track.heard_ms, heard_ms))
        )
        visit = self.state.visits.get(track.visit or "")
        if visit is not None:
            self.state.change_visit(visit.seen_by(track.camera, seen_ms, heard_ms))

    def _ended(self, track: Track, heard_ms: int, seen_ms: int, sent: int | None, now_ms: int) -> None:
        track = replace(track, ended_ms=heard_ms, seen_ms=max(track.seen_ms, seen_ms), sent=sent)
        self.state.change_track(track)
        if track.complete:
            self._close(track, heard_ms, now_ms)

    def _sighted(self, news: Sighted, vector: Vector | None, heard_ms: int, now_ms: int) -> None:
        seen, state = news.seen, self.state
        track = self._track(seen.track, seen.camera, seen.at_ms, heard_ms)
        if track is None:
            return
        track = replace(track, got=track.got + 1)
        if track.ended_ms is None:
            track = replace(track, seen_ms=max(track.seen_ms, seen.at_ms), heard_ms=max(track.heard_ms, heard_ms))
        if vector is None or news.quality < self._rule.min_quality:
            track = replace(track, unfit=news.unfit or track.unfit)
        total, aside = state.shown_by(track).total, state.aside_of(track.track)
        if vector is None:
            state.put_track(track, total, aside)
        else:
            expires_ms = _NEVER_MS if news.expires_ms is None else news.expires_ms
            track = replace(track, crop_ms=max(track.crop_ms, seen.at_ms), fresh_ms=max(track.fresh_ms, expires_ms))
            before = state.shown_by(track)
            result = placed(track, total, aside, news, vector, self._rule)
            if result.changed:
                self._leave(track, before)
            state.put_track(result.track, result.total, result.aside)
            if result.taken:
                self._seat(result.track, heard_ms, now_ms)
        track = state.tracks[seen.track]
        if track.complete:
            self._close(track, heard_ms, now_ms)

    def _leave(self, track: Track, shown: Shown) -> None:
        """What the track showed of the one it followed until now stays with their visit."""
        visit = self.state.visits.get(track.visit or "")
        if visit is not None:
            self.state.keep(visit, shown)

    def _seat(self, track: Track, heard_ms: int, now_ms: int, anyway: bool = False) -> None:
        """Give a track to its visit, old or new, and think again about who that is. anyway: wait for nothing more."""
        state, shown = self.state, self.state.shown_by(track)
        visit = state.visits.get(track.visit or "")
        if visit is not None and not belongs(shown, visit.who, state.shown_of(visit, but=track.track), self._rule):
            track = replace(track, visit=None, turn=track.turn + 1)
            state.change_track(track)
            visit = None
        if visit is None:
            open_visits = [(each, state.shown_of(each)) for each in state.visits_in_order()]
            visit, doubt = visit_of(shown, self._numbering.number_of(shown), open_visits, self._rule)
            if visit is None:
                if not shown.evidence.good and shown.evidence.foremost() is None:
                    # Nothing one could tell anybody by: a better crop may come, or none, and then nobody was there.
                    state.change_track(replace(track, held_ms=None))
                    return
                if doubt and not anyway:
                    if track.held_ms is None:
                        state.change_track(replace(track, held_ms=heard_ms + self._rule.hold_ms))
                    return
                visit = Visit(track.next_visit, track.begun_ms, track.seen_ms, track.heard_ms)
            track = replace(track, visit=visit.visit, held_ms=None)
            state.change_track(track)
        state.change_visit(visit.seen_by(track.camera, track.seen_ms, track.heard_ms))
        self._think(visit.visit, track, now_ms)

    def _think(self, name: str, track: Track, now_ms: int) -> None:
        state = self.state
        visit, shown = state.visits[name], state.shown_of(state.visits[name])
        before = visit.who
        visit = self._numbering.numbered(decided(visit, shown.evidence, self._rule), shown)
        state.change_visit(visit)
        if before.stranger is not None and visit.who.subject is not None:
            self._numbering.dissolve(before.stranger)
        for other in [each for each in state.visits_in_order() if each.visit != name and visit.who.same_as(each.who)]:
            visit = self._join(visit, other)
        self._say(visit, track, now_ms)

    def _join(self, one: Visit, other: Visit) -> Visit:
        """Two visits of one person; the one that began first goes on."""
        kept, gone = sorted((one, other), key=lambda each: (each.started_ms, each.visit))
        state = self.state
        for track in state.tracks_of(gone.visit):
            state.change_track(replace(track, visit=kept.visit))
        rest = state.shown_of(gone, but=None)
        kept = state.keep(kept, rest)
        if gone.told is not None:
            self._events.append(telling.merged(self.gallery, gone, kept))
        state.drop_visit(gone.visit)
        for camera in gone.cameras:
            kept = kept.seen_by(camera, gone.seen_ms, gone.heard_ms)
        kept = replace(kept, started_ms=min(kept.started_ms, gone.started_ms))
        state.change_visit(kept)
        return kept

    def _say(self, visit: Visit, track: Track, now_ms: int) -> None:
        if now_ms > track.fresh_ms or self._numbering.ignored(visit.who):
            return
        visit, event = telling.news_of(self.gallery, visit, track, self.state.shown_of(visit), self._rule)
        if event is None:
            return
        self.state.change_visit(visit)
        self._events.append(event)
        if event.subject is not None and track.fresh_ms < _NEVER_MS:
            self.deadline_ms = min(track.fresh_ms, self.deadline_ms or track.fresh_ms)

    def _close(self, track: Track, at_ms: int, now_ms: int) -> None:
        """All is known of a track that will be."""
        if track.visit is None:
            # Whatever was in doubt is as clear now as it will be.
            self._seat(track, track.heard_ms, now_ms, anyway=True)
            track = self.state.tracks[track.track]
        visit = self.state.visits.get(track.visit or "")
        if visit is None:
            self._events.append(telling.unusable(self.gallery, track))
        else:
            shown = self.state.shown_by(track)
            visit = self.state.keep(visit, shown)
            self._numbering.learn(visit, self.state.shown_of(visit, but=track.track))
        self.state.drop_track(track.track, at_ms)

    def _end(self, visit: Visit) -> None:
        shown = self.state.shown_of(visit)
        self._numbering.over(visit, shown)
        if visit.told is not None or not self._numbering.ignored(visit.who):
            self._events.append(telling.end(self.gallery, visit, shown))
        self.state.drop_visit(visit.visit)
        self._events += self._numbering.joined(self.gallery, visit, shown)

    def _gathered(self) -> list[Event]:
        events, self._events = self._events, []
        return events

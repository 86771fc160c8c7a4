"""What processes tell Prometheus: each count is what happened, labels are few, a part that is away is said to be."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families

from kith.backends.gallery_memory import MemoryGalleryStore
from kith.cameras import CameraReport, CameraState
from kith.errors import Misconfigured, StateUnavailable
from kith.followed import Followed
from kith.forgotten_memory import ForgottenMemory
from kith.gallery import GalleryInfo, GallerySettings
from kith.jobs import EmbedJob, ImageRef, Kind, Lane, Outcome, decide, now_ms
from kith.ledger import WorkerBeat
from kith.lengths import Lengths
from kith.metrics.answering import Answering, check_room
from kith.metrics.house import House, HouseState
from kith.metrics.instruments import Instruments
from kith.metrics.jobs import EmbeddedJobs
from kith.metrics.knobs import Address, Metrics, address_for
from kith.metrics.labels import MOST, OTHERS, bounded
from kith.metrics.readiness import LastDone, Readiness
from kith.metrics.requests import Requests
from kith.metrics.watched_cameras import WatchedCameras
from kith.settings import load
from kith.status import Status


def told(registry: CollectorRegistry) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample that is not 0: name and values of its labels → value."""
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.value and not sample.name.endswith(("_bucket", "_sum"))
    }


def job(lane: Lane = Lane.BULK, images: int = 2, kind: Kind = Kind.IDENTIFY) -> EmbedJob:
    refs = tuple(ImageRef(f"k{n}", subject="Ada" if kind is Kind.ENROL else None) for n in range(images))
    return EmbedJob("j", kind, "g", lane, refs, now_ms() - 2000, expires_ms=now_ms() + 60_000)


class TestJobs:
    def test_decisions_are_counted_by_lane_kind_and_verdict_and_stages_by_what_they_took(self) -> None:
        registry = CollectorRegistry()
        measured = EmbeddedJobs(registry)
        asked = job(Lane.LIVE, 3)
        of_image = {"fetch": 2.0, "decode": 3.0, "embed": 40.0, "search": 1.0}
        outcomes = (Outcome.MATCH, Outcome.MATCH, Outcome.NO_FACE)

        measured.begun(asked)
        measured.decided([decide(asked, n, outcome, timings_ms=of_image) for n, outcome in enumerate(outcomes)])

        found = told(registry)
        assert found.pop(("kith_stage_seconds_total", ("fetch",))) == pytest.approx(0.006)
        assert found.pop(("kith_stage_seconds_total", ("decode",))) == pytest.approx(0.009)
        assert found.pop(("kith_stage_seconds_total", ("embed",))) == pytest.approx(0.04), "once for the job"
        assert found.pop(("kith_stage_seconds_total", ("search",))) == pytest.approx(0.001)
        assert {name: value for name, value in found.items() if not name[0].endswith("_created")} == {
            ("kith_decisions_total", ("identify", "live", "match")): 2,
            ("kith_decisions_total", ("identify", "live", "no_face")): 1,
            ("kith_job_wait_seconds_count", ("live",)): 1,
        }

    def test_the_wait_is_from_when_the_job_was_made_and_never_below_zero(self) -> None:
        registry = CollectorRegistry()
        measured = EmbeddedJobs(registry)

        measured.begun(job())
        measured.begun(replace(job(Lane.LIVE), created_ms=now_ms() + 60_000))

        assert registry.get_sample_value("kith_job_wait_seconds_sum", {"lane": "bulk"}) == pytest.approx(2, abs=1.5)
        assert registry.get_sample_value("kith_job_wait_seconds_sum", {"lane": "live"}) == 0

    def test_a_job_answered_without_a_decision_counts_as_none(self) -> None:
        registry = CollectorRegistry()

        EmbeddedJobs(registry).decided([])

        assert told(registry).keys() & {("kith_decisions_total", ())} == set()

    def test_no_name_of_anybody_is_in_what_is_told(self) -> None:
        shown = Instruments("embed", "e")
        measured = EmbeddedJobs(shown.registry)
        enrol = job(kind=Kind.ENROL)
        measured.begun(enrol)
        measured.decided([decide(enrol, 0, Outcome.ENROLLED, reason="Ada")])
        measured.buried("unknown_gallery")

        assert "Ada" not in str(list(shown.registry.collect()))


class TestLabels:
    def test_past_the_limit_the_rest_is_one_together(self) -> None:
        assert bounded([("a", 1), ("b", 2), ("c", 3)], sum, most=1) == [("a", 1), (OTHERS, 5)]
        assert bounded([("a", 1)], sum, most=1) == [("a", 1)]

    def test_a_thousand_galleries_are_a_hundred_and_one_series_the_largest_by_name(self) -> None:
        galleries = tuple(info(f"g{n}", templates=n) for n in range(1000))
        registry = CollectorRegistry()
        HouseState(lambda: house(galleries), registry)

        found = {name[1][0]: value for name, value in told(registry).items() if name[0] == "kith_gallery_templates"}

        assert len(found) == MOST + 1
        assert found["g999"] == 999
        assert found[OTHERS] == sum(range(1000 - MOST))
        assert sum(found.values()) == sum(range(1000))

    def test_a_thousand_cameras_of_a_process_are_bounded_as_well(self) -> None:
        registry = CollectorRegistry()
        measured = WatchedCameras(registry)
        for number in range(1000):
            measured.reported(f"c{number:03}", CameraReport(CameraState.LIVE, 0, 0), {"received": 2, "dropped_late": 1})

        found = told(registry)

        assert found["kith_cameras_held", ()] == 1000
        assert found["kith_camera_received_frames_total", (OTHERS,)] == 2 * (1000 - MOST)
        assert len([name for name in found if name[0] == "kith_camera_live"]) == MOST

    def test_whatever_methods_callers_make_up_are_one(self) -> None:
        registry = CollectorRegistry()
        requests = Requests(registry)
        for method in ("GET", "BREW", "\u00e9"):
            requests.arrived()
            requests.answered(method, "/v1/jobs", 405, 0.1)

        counted = {name[1]: value for name, value in told(registry).items() if name[0] == "kith_http_requests_total"}
        assert counted == {("(other)", "/v1/jobs", "405"): 2, ("GET", "/v1/jobs", "405"): 1}
        assert registry.get_sample_value("kith_http_requests_open") == 0


class TestCameras:
    def test_counts_add_up_and_a_camera_that_goes_takes_its_series_along(self) -> None:
        registry = CollectorRegistry()
        measured = WatchedCameras(registry)
        measured.shows(lambda: 7)
        report = CameraReport(CameraState.LIVE, 0, 0, tracks=2, pressure=3)
        measured.reported("hall", report, {"received": 5, "dropped_late": 1, "us_gate": 500_000})
        measured.reported("hall", replace(report, state=CameraState.AWAY), {"received": 1, "sent": 4})

        found = {name: value for name, value in told(registry).items() if not name[0].endswith("_created")}
        assert found == {
            ("kith_cameras_held", ()): 1,
            ("kith_camera_unsent", ()): 7,
            ("kith_camera_received_frames_total", ("hall",)): 6,
            ("kith_camera_sent_crops_total", ("hall",)): 4,
            ("kith_camera_dropped_total", ("hall", "late")): 1,
            ("kith_camera_cpu_seconds_total", ("hall", "gate")): 0.5,
            ("kith_camera_followed_tracks", ("hall",)): 2,
            ("kith_camera_pressure_level", ("hall",)): 3,
        }

        measured.gone("hall")
        assert {name[0] for name in told(registry)} == {"kith_camera_unsent"}


def info(name: str, templates: int = 4, cutoff: float | None = None) -> GalleryInfo:
    return GalleryInfo(name, "m", 4, 9, 2, templates, GallerySettings(cutoff=cutoff), 0)


def house(galleries: tuple[GalleryInfo, ...] = (), workers: tuple[WorkerBeat, ...] = ()) -> House:
    return House(
        Status({"live": 3, "publish": None}, 5, 2, 11, workers, galleries),
        Lengths({"live": 1.5}, 6, 8, {"staff": 40}),
        {"staff": 0.4},
        Counter({CameraState.AWAY: 2}),
        webhooks=3,
        paused_webhooks=1,
        webhook_dead=9,
    )


class TestHouse:
    def test_the_state_is_told_as_it_was_read(self) -> None:
        registry = CollectorRegistry()
        beat = WorkerBeat("w", "embed", "h", 1, 0, 0)
        HouseState(lambda: house((info("staff"),), (beat, replace(beat, worker_id="w2"))), registry)

        assert told(registry) == {
            ("kith_house_readable", ()): 1,
            ("kith_queue_depth", ("live",)): 3,
            ("kith_oldest_waiting_seconds", ("live",)): 1.5,
            ("kith_open_jobs", ()): 5,
            ("kith_dead_letters", ()): 2,
            ("kith_results", ()): 11,
            ("kith_events", ()): 6,
            ("kith_watch_news", ()): 8,
            ("kith_workers", ("embed",)): 2,
            ("kith_cameras", ("away",)): 2,
            ("kith_webhooks", ("active",)): 2,
            ("kith_webhooks", ("paused",)): 1,
            ("kith_webhook_dead_letters", ()): 9,
            ("kith_galleries", ()): 1,
            ("kith_gallery_subjects", ("staff",)): 2,
            ("kith_gallery_templates", ("staff",)): 4,
            ("kith_gallery_sequence", ("staff",)): 9,
            ("kith_gallery_journal_entries", ("staff",)): 40,
            ("kith_gallery_cutoff", ("staff",)): 0.4,
        }

    def test_a_role_nobody_has_is_told_as_none_so_that_an_alert_can_see_it(self) -> None:
        registry = CollectorRegistry()
        HouseState(house, registry)

        assert registry.get_sample_value("kith_workers", {"role": "embed"}) == 0
        assert registry.get_sample_value("kith_cameras", {"state": "waiting"}) == 0

    def test_while_redis_is_away_nothing_old_is_told(self) -> None:
        registry, clock = CollectorRegistry(), Clock()
        answers: list[House | StateUnavailable] = [house(), StateUnavailable(), house()]

        def read() -> House:
            answer = answers.pop(0)
            if isinstance(answer, StateUnavailable):
                raise answer
            return answer

        HouseState(read, registry, clock)
        assert registry.get_sample_value("kith_open_jobs") == 5
        assert len(answers) == 2, "who asks within a second is given the same answer"
        clock.now_s += 1.5
        assert registry.get_sample_value("kith_open_jobs") is None
        assert registry.get_sample_value("kith_house_readable") == 0
        clock.now_s += 1.5
        assert registry.get_sample_value("kith_open_jobs") == 5


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class TestReadiness:
    def test_it_is_live_from_the_first_moment_and_ready_once_it_has_begun_and_lacks_nothing(self) -> None:
        readiness, clock = Readiness(), Clock()
        done = LastDone("nothing was done", 5, clock)
        readiness.needs("work", done)
        assert readiness.ailments() == {}
        assert readiness.obstacles() == {"start": "it is still starting"}
        readiness.begin()
        assert readiness.obstacles() == {}
        clock.now_s = 6
        assert readiness.obstacles() == {"work": "nothing was done for 6 s"}
        assert readiness.ailments() == {}, "what is missing is no reason to start it again"
        done.done()
        assert readiness.obstacles() == {}

    def test_what_is_not_live_is_not_ready_and_an_error_of_a_check_says_why(self) -> None:
        readiness = Readiness()

        def away() -> None:
            raise StateUnavailable("no route")

        readiness.lives_by("loop", lambda: "it is stuck")
        readiness.needs("state", away)
        readiness.begin()
        assert readiness.ailments() == {"loop": "it is stuck"}
        assert readiness.obstacles() == {"loop": "it is stuck", "state": "state_unavailable: no route"}


class TestReplicaLag:
    def test_a_replica_that_reaches_what_the_store_had_was_complete_then(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = Clock()
        monkeypatch.setattr(time, "monotonic", clock)
        store = MemoryGalleryStore()
        store.create("g", model_id="m", dimension=4)
        followed = Followed("g", ForgottenMemory(None), half=False)
        followed.load(store)
        here = store.info("g").sequence
        clock.now_s = 10
        followed.compared(here, 10)
        clock.now_s = 11
        assert (followed.lag.changes, followed.lag.seconds) == (0, 1)
        followed.compared(here + 3, 11)
        clock.now_s = 20
        followed.compared(here + 5, 20)
        assert (followed.lag.changes, followed.lag.seconds) == (5, 10), "complete up to 10, the rest is missing"

    def test_what_a_restarted_store_has_lost_is_not_awaited_for_ever(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = Clock()
        monkeypatch.setattr(time, "monotonic", clock)
        store = MemoryGalleryStore()
        store.create("g", model_id="m", dimension=4)
        followed = Followed("g", ForgottenMemory(None), half=False)
        followed.load(store)
        here = store.info("g").sequence
        followed.compared(here + 2, 5)
        followed.compared(here, 6)
        clock.now_s = 7
        assert (followed.lag.changes, followed.lag.seconds) == (0, 1)


class TestAnswering:
    @pytest.fixture
    def shown(self) -> Iterator[Instruments]:
        with Instruments("upkeep", "n").listen(Address("127.0.0.1", 0)) as shown:
            yield shown

    def test_metrics_are_text_that_the_library_itself_can_read_in_both_formats(self, shown: Instruments) -> None:
        assert shown.url
        plain = ask(shown.url)
        assert {family.name for family in text_string_to_metric_families(plain)} >= {"kith_process_info"}
        open_text = ask(shown.url, accept="application/openmetrics-text; version=1.0.0")
        assert "kith_process" in {family.name for family in open_families(open_text)}

    def test_health_and_readiness_have_their_status_and_say_why(self, shown: Instruments) -> None:
        assert shown.url
        assert ask(shown.url.replace("metrics", "healthz")) == '{"status": "ok"}\n'
        unready = httpx.get(shown.url.replace("metrics", "readyz"))
        assert unready.status_code == 503
        assert unready.json() == {"status": "not ready", "why": {"start": "it is still starting"}}
        shown.readiness.begin()
        assert ask(shown.url.replace("metrics", "readyz")) == '{"status": "ready"}\n'

    def test_nothing_else_is_there(self, shown: Instruments) -> None:
        assert shown.url
        assert httpx.get(shown.url.replace("metrics", "etc/passwd")).status_code == 404
        assert httpx.post(shown.url).status_code == 501

    def test_a_port_that_is_taken_is_an_error_with_its_remedy(self, shown: Instruments) -> None:
        port = port_of(shown)
        with pytest.raises(Misconfigured, match=rf"127\.0\.0\.1:{port} for Prometheus.*KITH_METRICS__LISTEN"):
            Instruments("embed", "e").listen(Address("127.0.0.1", port))
        with pytest.raises(Misconfigured, match="Address already in use"):
            check_room(Address("127.0.0.1", port), 1)

    def test_of_several_processes_of_one_door_each_takes_the_next_port(self, shown: Instruments) -> None:
        port = port_of(shown)
        try:
            second = Answering(Address("127.0.0.1", port), shown.registry, shown.readiness, within=20)
        except Misconfigured:
            pytest.skip("others have all of the next ports")
        with second:
            assert port < int(second.url.rpartition(":")[2].partition("/")[0]) < port + 20

    def test_nothing_listens_unless_it_is_told_where(self) -> None:
        with Instruments("embed", "e").listen(Metrics().address) as shown:
            assert shown.url is None


class TestTheKnob:
    @pytest.mark.parametrize(
        ("text", "host", "port"), [("127.0.0.1:9464", "127.0.0.1", 9464), ("[::1]:0", "::1", 0), ("kith:1", "kith", 1)]
    )
    def test_it_is_an_address(self, text: str, host: str, port: int) -> None:
        assert Metrics(listen=text).address == Address(host, port)

    @pytest.mark.parametrize("text", ["9464", ":9464", "host", "host:", "::1:9464", "host:99999", "host:1x"])
    def test_what_is_none_is_refused_at_once(self, text: str) -> None:
        with pytest.raises(Misconfigured, match=r"metrics\.listen"):
            load(metrics={"listen": text})

    def test_processes_of_one_machine_follow_each_other_and_port_0_stays_any(self) -> None:
        assert address_for(Metrics(listen="h:9464"), 3) == Address("h", 9467)
        assert address_for(Metrics(listen="h:0"), 3) == Address("h", 0)
        assert address_for(Metrics(), 3) is None
        with pytest.raises(Misconfigured, match="not enough ports"):
            address_for(Metrics(listen="h:65535"), 1)


def port_of(shown: Instruments) -> int:
    assert shown.url
    return int(shown.url.rpartition(":")[2].partition("/")[0])


def ask(url: str, **headers: str) -> str:
    return httpx.get(url, headers=headers, timeout=10).raise_for_status().text

"""What real processes tell of what was really done, and a real Prometheus that asks them all the dashboard asks."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from kith.api_keys import Scope, issue
from kith.backends.connect import redis_client
from kith.cameras import Camera
from kith.client import Client
from kith.jobs import Content, Kind, Lane
from kith.packs.shipped import default_pack
from kith.settings import as_environment, load
from kith.stack import Stack, local_settings
from tests.dashboard_queries import RULES, of_panels, queries
from tests.every_metric import metrics_of
from tests.http_door import crop
from tests.servers.fixtures import missing
from tests.servers.processes import MissingComponent
from tests.servers.prometheus import Prometheus

PEOPLE, FRAMES = 3, 6


@dataclass
class Scraped:
    """An installation at work. urls: role → where it tells of itself. door: of the HTTP door. server: Valkey's pid."""

    client: Client
    urls: dict[str, str]
    door: str
    server: int

    def value(self, role: str, name: str, /, **labels: str) -> float:
        """A sample of one role; 0 where there is none."""
        text = httpx.get(self.urls[role], timeout=30).raise_for_status().text
        samples = [each for family in text_string_to_metric_families(text) for each in family.samples]
        return sum(each.value for each in samples if each.name == name and labels.items() <= each.labels.items())


@pytest.fixture(scope="module")
def scraped(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    home = tmp_path_factory.mktemp("metrics").resolve()
    settings = local_settings(
        load(model={"pack": default_pack()}, metrics={"listen": "127.0.0.1:0"}, api={"port": 0}), home / "home"
    )
    with ExitStack() as opened:
        stack = opened.enter_context(Stack(settings, api=True))
        client = opened.enter_context(Client.open(settings))
        enrol = [client.put(crop(n), subject=f"person {n}") for n in range(PEOPLE)]
        client.ask(client.intake.job(Kind.ENROL, enrol, gallery="staff", content=Content.ALIGNED), 60)
        client.cameras.add(Camera("yard", str(pictures(home / "yard")), "staff", lane=Lane.BULK, fast=True))
        urls = {name.partition("-")[0]: told(stack.log_of(name)) for name in stack.pids()}
        for role, module in (("camera", "producers.camera"), ("outward", "workers.outward")):
            log = home / f"{role}.log"
            opened.callback(ended, started(module, as_environment(settings), log, repository))
            urls[role] = told(log)
        assert stack.url
        for lane in (Lane.BULK, Lane.INTERACTIVE, Lane.LIVE):
            probes = [client.put(crop(n, 1)) for n in range(4)]
            client.ask(
                client.intake.job(Kind.IDENTIFY, probes, gallery="staff", lane=lane, content=Content.ALIGNED), 60
            )
        with redis_client(settings) as state:
            info: Any = state.info("server")
        yield Scraped(client, urls, stack.url, info["process_id"])


def pictures(folder: Path) -> Path:
    folder.mkdir()
    for number in range(FRAMES):
        Image.new("RGB", (320, 240), (40 * number, 90, 120)).save(folder / f"{number}.png")
    return folder


def started(module: str, environment: dict[str, str], log: Path, root: Path) -> subprocess.Popen[bytes]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("KITH_")}
    with log.open("ab") as out:
        return subprocess.Popen(
            [sys.executable, "-m", module], cwd=root, env=inherited | environment, stdout=out, stderr=out
        )


def ended(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(60)


def told(log: Path) -> str:
    """Where a process says that it tells Prometheus, once it does."""
    until(lambda: log.exists() and "telling Prometheus at " in log.read_text(), f"{log.name} tells nothing")
    return log.read_text().rpartition("telling Prometheus at ")[2].split()[0]


def until(true: Callable[[], object], otherwise: str, timeout_s: float = 90.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline_s, otherwise
        time.sleep(0.1)


class TestCounts:
    def test_decisions_are_as_many_as_stand_in_the_results_each_by_its_verdict(self, scraped: Scraped) -> None:
        decided = Counter(
            (each.decision.lane, each.decision.kind, each.decision.outcome)
            for each in scraped.client.results.after("0")
        )

        assert decided.total() == PEOPLE + 12
        for (lane, kind, outcome), number in decided.items():
            labels = {"lane": str(lane), "kind": str(kind), "outcome": str(outcome)}
            assert scraped.value("embed", "kith_decisions_total", **labels) == number
        assert scraped.value("embed", "kith_decisions_total") == decided.total()

    def test_each_job_was_answered_once_by_the_process_that_published_it(self, scraped: Scraped) -> None:
        count = "kith_job_latency_seconds_count"
        # The enrolment was interactive.
        assert scraped.value("embed", count, lane="interactive") == 2
        assert scraped.value("embed", count, lane="live") == 1
        bulk = [scraped.value(role, count, lane="bulk") for role in ("embed", "publish", "upkeep")]
        assert bulk[0] == 0
        assert sum(bulk) == 1
        assert scraped.value("embed", "kith_job_wait_seconds_count") == 4

    def test_faces_in_batches_are_the_faces_that_were_embedded(self, scraped: Scraped) -> None:
        faces = scraped.value("embed", "kith_batch_faces_sum")

        # Some crops may be too poor to be embedded; those that were decided on by their vector were not.
        assert 0 < faces <= PEOPLE + 12
        assert scraped.value("embed", "kith_batch_run_seconds_count") == scraped.value(
            "embed", "kith_batch_faces_count"
        )
        assert scraped.value("embed", "kith_model_load_seconds") > 0

    def test_upkeep_tells_the_state_of_the_installation(self, scraped: Scraped) -> None:
        until(lambda: scraped.value("upkeep", "kith_open_jobs") == 0, "jobs stay open")
        assert scraped.value("upkeep", "kith_results") == PEOPLE + 12
        assert scraped.value("upkeep", "kith_gallery_templates", gallery="staff") == PEOPLE
        assert scraped.value("upkeep", "kith_gallery_subjects", gallery="staff") == PEOPLE
        info = scraped.client.galleries.info("staff")
        assert scraped.value("upkeep", "kith_gallery_sequence", gallery="staff") == info.sequence
        assert scraped.value("upkeep", "kith_gallery_journal_entries", gallery="staff") == info.sequence
        assert 0 < scraped.value("upkeep", "kith_gallery_cutoff", gallery="staff") < 1
        # Of cameras there are two processes: the stack starts one as soon as there is a camera.
        for role in ("embed", "publish", "upkeep", "watch", "outward", "camera"):
            until(lambda role=role: scraped.value("upkeep", "kith_workers", role=role) >= 1, f"{role} is missing")  # type: ignore[misc]

    def test_a_replica_is_known_to_be_complete_within_seconds(self, scraped: Scraped) -> None:
        until(lambda: 0 < scraped.value("embed", "kith_replica_lag_seconds", gallery="staff") < 5, "the replica lags")
        assert scraped.value("embed", "kith_replica_lag_changes", gallery="staff") == 0

    def test_a_camera_process_tells_what_its_camera_sent(self, scraped: Scraped) -> None:
        # Played to its end it is nobody's any more, and takes its series along: what it sent stands in the registry.
        def counted() -> float:
            return scraped.client.cameras.status("yard").counts.get("received", 0)

        until(lambda: counted() == FRAMES, "the pictures are not looked at")
        until(lambda: scraped.value("upkeep", "kith_cameras", state="paused") == 1, "its state is not told")
        assert scraped.value("camera", "kith_cameras_held") == 0

    def test_the_door_counts_by_the_pattern_of_an_address_and_has_no_metrics_itself(self, scraped: Scraped) -> None:
        key, token = issue("test", (Scope.ADMIN,))
        scraped.client.api_keys.add(key)
        with httpx.Client(base_url=scraped.door, headers={"x-api-key": token}, timeout=30) as caller:
            for name in ("person 0", "Nobody Known"):
                caller.get(f"/v1/galleries/staff/subjects/{name}")
            assert caller.get("/metrics").status_code == 404

        route = "/v1/galleries/{gallery}/subjects/{subject:path}"
        assert scraped.value("api", "kith_http_requests_total", route=route, status="200") == 1
        assert scraped.value("api", "kith_http_requests_total", route=route, status="404") == 1
        assert scraped.value("api", "kith_http_requests_total", route="(no such address)") == 1
        assert scraped.value("api", "kith_http_request_latency_seconds_count", route=route, method="GET") == 2

    def test_no_process_names_anybody(self, scraped: Scraped) -> None:
        ids = {each.subject_id for each in scraped.client.galleries.subjects("staff")}
        for url in scraped.urls.values():
            text = httpx.get(url, timeout=30).text
            assert "person" not in text
            assert not [each for each in ids if each in text]

    def test_every_process_tells_all_that_is_listed_for_its_role(self, scraped: Scraped) -> None:
        for role, url in scraped.urls.items():
            families = text_string_to_metric_families(httpx.get(url, timeout=30).text)
            kith = {f"{each.name}{'_total' if each.type == 'counter' else ''}" for each in families}
            # MQTT is not configured here.
            assert set(metrics_of(role)) - kith <= {"kith_mqtt_connected"}, role

    def test_every_process_is_live_and_ready(self, scraped: Scraped) -> None:
        for url in scraped.urls.values():
            assert httpx.get(url.replace("metrics", "healthz")).json() == {"status": "ok"}
            until(lambda url=url: httpx.get(url.replace("metrics", "readyz")).status_code == 200, url)  # type: ignore[misc]


@pytest.fixture(scope="module")
def prometheus(scraped: Scraped) -> Iterator[Prometheus]:
    targets = {role: url.split("/")[2] for role, url in scraped.urls.items()}
    server = Prometheus(targets, [RULES])
    try:
        with server:
            # Rates need two samples of every target.
            until(lambda: len(server.query('count_over_time(up{job="kith"}[1m]) > 4')) == len(targets), "few samples")
            yield server
    except MissingComponent as absent:
        missing("Prometheus", absent)


class TestPrometheus:
    def test_every_process_is_scraped_without_a_fault(self, prometheus: Prometheus, scraped: Scraped) -> None:
        targets = prometheus.get("targets")["activeTargets"]

        assert {each["labels"]["service"]: each["lastError"] for each in targets} == dict.fromkeys(scraped.urls, "")

    def test_every_query_of_dashboard_and_alerts_is_answered(self, prometheus: Prometheus) -> None:
        for query in queries():
            prometheus.query(query.text)

    def test_what_an_installation_at_work_tells_is_shown(self, prometheus: Prometheus) -> None:
        empty = {query.where for query in of_panels() if not prometheus.query(query.text)}

        # Nothing failed, no camera is held any more, and MQTT is not configured.
        assert empty <= {
            *("panel Retries", "panel Buried", "panel Live", "panel Frames", "panel Dropped", "panel Throttle"),
            *("panel Faces and people", "panel People in view", "panel CPU by stage", "panel Who tells, and MQTT"),
            *("panel Answers that refuse",),
        }

    def test_alerts_are_read_and_none_is_in_trouble(self, prometheus: Prometheus) -> None:
        rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]

        assert len(rules) > 15
        until(
            lambda: all(each["health"] == "ok" for g in prometheus.get("rules")["groups"] for each in g["rules"]),
            "rules",
        )


def test_a_server_that_hangs_makes_those_who_need_it_unready_within_seconds_and_nobody_unlive(scraped: Scraped) -> None:
    # What is asked has to be answered within 2 s; the rest is for a busy machine. A client's own attempts take longer.
    asked = [scraped.urls[role].replace("metrics", "readyz") for role in ("embed", "publish", "api")]
    os.kill(scraped.server, signal.SIGSTOP)
    try:
        for url in (*asked, f"{scraped.door}/readyz"):
            answer = httpx.get(url, timeout=8)
            assert answer.status_code == 503, url
            assert "has not answered for 2 s" in answer.text
            assert httpx.get(url.replace("readyz", "healthz"), timeout=8).status_code == 200
    finally:
        os.kill(scraped.server, signal.SIGCONT)
    for url in asked:
        until(lambda url=url: httpx.get(url).status_code == 200, url)  # type: ignore[misc]


class TestPromtool:
    @pytest.mark.parametrize(
        "command",
        [("check", "config", "config/prometheus.yml"), ("test", "rules", "tests/prometheus/kith_rules_test.yml")],
    )
    def test_it_finds_nothing_wrong(self, repository: Path, command: tuple[str, ...]) -> None:
        try:
            done = subprocess.run(["promtool", *command], cwd=repository, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            missing("promtool", "not found; run tests/servers/install, or install Debian's prometheus")

        assert done.returncode == 0, done.stdout + done.stderr


def test_a_worker_whose_port_is_taken_says_so_and_ends(valkey: object, repository: Path, tmp_path: Path) -> None:
    import socket  # noqa: PLC0415

    with socket.create_server(("127.0.0.1", 0)) as taken:
        at = f"127.0.0.1:{taken.getsockname()[1]}"
        settings = load(redis={"url": valkey.url}, metrics={"listen": at})  # type: ignore[attr-defined]
        log = tmp_path / "log"
        process = started("workers.publish", as_environment(settings), log, repository)
        assert process.wait(60) == 78
    assert f"nobody can listen on {at} for Prometheus" in log.read_text()
    assert "Traceback" not in log.read_text()

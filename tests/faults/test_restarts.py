"""Parts that go away under load and come back: Valkey, the object store, the model."""

import os
import re
import signal
import time
from pathlib import Path

import pytest
from pydantic import SecretStr

from kith.client import Client
from kith.errors import Misconfigured, StoreUnavailable
from kith.jobs import Content, Kind, Lane, Outcome
from kith.settings import Store
from kith.stack import Stack
from tests.faults.cast import aligned_jpegs, enrol_half
from tests.faults.load import PATIENCE_S, Load, impatient
from tests.servers.radosgw import Radosgw

RESTARTS = 5
STORE_AWAY_S = 10.0


def test_valkey_restarted_five_times_under_load_costs_no_job_and_repeats_none(tmp_path: Path) -> None:
    settings = impatient(tmp_path)
    with Stack(settings, embed=2) as stack, Client.open(settings) as client:
        assert stack.valkey is not None
        cast, pids = enrol_half(client), stack.pids()
        with Load(client, cast, per_second=30) as load:
            for n in range(RESTARTS):
                load.wait_for_more(20)
                if n % 2:
                    # No goodbye: what was answered must be in the append-only file all the same.
                    os.kill(stack.valkey.pid or 0, signal.SIGKILL)
                stack.valkey.stop()
                time.sleep(0.5)
                stack.valkey.start()
            load.wait_for_more(20)
        load.assert_each_image_was_decided_once_and_rightly()
        assert stack.pids() == pids, "the workers must have lived through it"


def test_a_store_that_is_away_for_ten_seconds_delays_jobs_and_rejects_none(
    tmp_path: Path, radosgw: Radosgw, s3_store_settings: Store
) -> None:
    settings = impatient(tmp_path)
    settings = settings.model_copy(update={"store": s3_store_settings})
    with Stack(settings, embed=1) as stack, Client.open(settings) as client:
        cast, pids = enrol_half(client), stack.pids()
        with Load(client, cast, per_second=10) as load:
            load.wait_for_more(10)
            radosgw.stop()
            try:
                away_since_s = time.monotonic()
                load.wait_for_more(10)
                time.sleep(max(0.0, away_since_s + STORE_AWAY_S - time.monotonic()))
            finally:
                radosgw.start()
            load.wait_for_more(10)
        load.assert_each_image_was_decided_once_and_rightly()
        assert stack.pids() == pids, "the workers must have lived through it"


def test_wrong_s3_credentials_are_one_clear_line_at_the_start(tmp_path: Path, s3_store_settings: Store) -> None:
    wrong = s3_store_settings.model_copy(update={"secret_key": SecretStr("not the secret")})
    settings = impatient(tmp_path).model_copy(update={"store": wrong})
    stack = Stack(settings)
    with pytest.raises(Misconfigured, match=r"embed-1 could not start.*store_denied"):
        stack.start()
    assert "not the secret" not in stack.log_of("embed-1").read_text()
    assert "Traceback" not in stack.log_of("embed-1").read_text()


def test_an_upload_to_a_store_that_is_away_fails_in_bounded_time(
    tmp_path: Path, radosgw: Radosgw, s3_store_settings: Store
) -> None:
    settings = impatient(tmp_path).model_copy(update={"store": s3_store_settings})
    with Client.open(settings) as client:
        radosgw.stop()
        started_s = time.monotonic()
        try:
            with pytest.raises(StoreUnavailable, match=re.escape(settings.store.endpoint)):
                client.intake.put(b"bytes")
        finally:
            radosgw.start()
        assert time.monotonic() - started_s < 30


def test_a_job_past_its_deadline_is_decided_expired_even_with_no_worker_up_at_the_time(tmp_path: Path) -> None:
    settings = impatient(tmp_path)
    with Stack(settings, embed=0), Client.open(settings) as client:
        client.galleries.create("g", model_id="0" * 16, dimension=128)
        ref = client.intake.put(aligned_jpegs(1)[0])
        job = client.intake.job(
            Kind.IDENTIFY, [ref], gallery="g", lane=Lane.LIVE, content=Content.ALIGNED, expires_ms=1
        )  # fmt: skip
        client.submit(job)
    with Stack(settings, embed=1), Client.open(settings) as client:
        [decision] = client.wait(job.job_id, timeout_s=PATIENCE_S)
    assert (decision.outcome, decision.face) == (Outcome.EXPIRED, None)


def test_valkey_killed_under_a_stack_is_started_again_and_one_stopped_on_purpose_is_not(tmp_path: Path) -> None:
    told: list[str] = []
    settings = impatient(tmp_path)
    with Stack(settings, notify=told.append) as stack, Client.open(settings) as client:
        assert stack.valkey is not None
        client.galleries.create("g", model_id=client.ledger.workers()[0].model_id or "", dimension=128)
        before, workers = stack.valkey.pid, stack.pids()
        os.kill(before or 0, signal.SIGKILL)
        deadline_s = time.monotonic() + PATIENCE_S
        while stack.valkey.pid in (before, None):
            assert time.monotonic() < deadline_s, told
            time.sleep(0.05)
        [decision] = client.identify([aligned_jpegs(1)[0]], gallery="g", content=Content.ALIGNED, timeout_s=PATIENCE_S)
        assert decision.outcome is Outcome.UNKNOWN
        assert stack.pids() == workers, "they rode it out"
        assert [line.partition(",")[0] for line in told] == ["valkey ended"]
        stack.valkey.stop()
        time.sleep(1.0)
        assert not stack.valkey.owned
        stack.valkey.start()


def test_a_worker_that_was_ready_is_started_again_at_once_however_young_it_died(tmp_path: Path) -> None:
    told: list[str] = []
    settings = impatient(tmp_path)
    with Stack(settings, embed=0, notify=told.append) as stack, Client.open(settings) as client:
        for kill in range(3):
            pid = stack.pids("publish")["publish-1"]
            os.kill(pid, signal.SIGKILL)
            deadline_s = time.monotonic() + PATIENCE_S
            while stack.pids("publish")["publish-1"] not in {beat.pid for beat in client.ledger.workers()} - {pid}:
                assert time.monotonic() < deadline_s, told
                time.sleep(0.02)
            assert told[kill:] == ["publish-1 ended with status -9, starting it again in 0.2 s"]

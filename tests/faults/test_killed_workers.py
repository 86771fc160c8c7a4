"""Workers killed without warning, over both brokers: nothing is lost and nothing is decided twice."""

import contextlib
import os
import random
import signal
import time
from pathlib import Path

from pydantic import SecretStr

from kith.client import Client
from kith.jobs import Outcome
from kith.settings import Settings
from kith.stack import Stack
from tests.faults.load import Load, aligned_jpegs, impatient

KILLS = 40
#: Between two kills: long enough for jobs to be in the middle of a batch again.
EVERY_S = 0.8


def kill_workers_under_load(settings: Settings, kills: int) -> None:
    rng = random.Random(40)
    with Stack(settings, embed=3, publish=1) as stack, Client.open(settings) as client:
        refs = [client.intake.put(jpeg, label=str(n)) for n, jpeg in enumerate(aligned_jpegs(16))]
        client.galleries.create("g", model_id=client.ledger.workers()[0].model_id or "", dimension=128)
        with Load(client, "g", refs, per_second=25) as load:
            killed = 0
            while killed < kills:
                time.sleep(EVERY_S)
                # Every eighth victim publishes: its jobs are saved, their records must still appear, once.
                role = "publish" if killed % 8 == 7 else "embed"
                pid = rng.choice(list(stack.pids(role).values()))
                # A victim that is down already, waiting to be restarted, does not count.
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    killed += 1
        decisions = load.settle(timeout_s=60)
        load.assert_each_image_was_decided_once(decisions)
    assert len(load.accepted) > kills
    assert {decision.outcome for decision in decisions} == {Outcome.UNKNOWN}
    assert len(decisions) == 16 * len(load.accepted)


def test_forty_kills_over_valkey_lose_nothing_and_repeat_nothing(tmp_path: Path) -> None:
    kill_workers_under_load(impatient(tmp_path), KILLS)


def test_forty_kills_over_rabbitmq_lose_nothing_and_repeat_nothing(tmp_path: Path, rabbitmq_url: str) -> None:
    settings = impatient(tmp_path)
    broker = settings.broker.model_copy(update={"url": SecretStr(rabbitmq_url)})
    redis = settings.redis.model_copy(update={"prefix": "kills"})
    kill_workers_under_load(settings.model_copy(update={"broker": broker, "redis": redis}), KILLS)

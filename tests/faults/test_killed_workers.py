"""Workers killed without warning, over both brokers: nothing is lost, nothing is decided twice or wrongly."""

import time
from pathlib import Path

import pytest
from pydantic import SecretStr

from kith.client import Client
from kith.settings import Settings
from kith.stack import Stack
from tests.faults.cast import enrol_half
from tests.faults.load import Load, impatient
from tests.faults.victims import Killer

KILLS = 40
#: Between two kills. Together with the time a worker takes to come back it leaves some to do the work.
EVERY_S = 0.6
#: Long beside the rest of a job's way, so that a worker that has one is nearly always in the middle of a batch.
BATCH_S = 0.15


def kill_workers_under_load(settings: Settings) -> None:
    with Stack(settings, embed=3, publish=1) as stack, Client.open(settings) as client:
        killer, cast = Killer(stack, client, settings), enrol_half(client)
        with Load(client, cast, per_second=15) as load:
            for n in range(KILLS):
                time.sleep(EVERY_S)
                killer.kill_one_in_the_middle_of_a_job()
                if n % 8 == 7:
                    killer.kill_one_that_publishes()
        load.assert_each_image_was_decided_once_and_rightly()
    assert killer.in_the_middle == KILLS
    assert len(load.accepted) > KILLS


@pytest.mark.timeout(900)
def test_forty_kills_over_valkey_lose_nothing_and_repeat_nothing(tmp_path: Path) -> None:
    kill_workers_under_load(impatient(tmp_path, seconds_per_batch=BATCH_S))


@pytest.mark.timeout(900)
def test_forty_kills_over_rabbitmq_lose_nothing_and_repeat_nothing(tmp_path: Path, rabbitmq_url: str) -> None:
    settings = impatient(tmp_path, seconds_per_batch=BATCH_S, broker={"url": SecretStr(rabbitmq_url)})
    redis = settings.redis.model_copy(update={"prefix": "kills"})
    kill_workers_under_load(settings.model_copy(update={"redis": redis}))

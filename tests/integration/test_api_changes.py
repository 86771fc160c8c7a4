"""What changes something over HTTP: migrations, strangers, cutoffs; and each such call stands in the audit log."""

import base64
import json
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import httpx
import pytest

from kith.api_keys import Scope
from kith.audit import Action
from kith.checkpoints import load_pack, simulated_pack
from kith.jobs import Content, Kind
from kith.receipts import from_text
from tests.http_door import House, crop, house, walk
from tests.servers.receivers import served

#: Busy machines are no subject of these tests.
PATIENCE_S = 120.0


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    home = tmp_path_factory.mktemp("api")
    # Where imported packs are, so that it has a name: a caller never names a path.
    other = simulated_pack(home / "home" / "packs" / "wider", dimension=96)
    sections: dict[str, Any] = {
        "model": {"also": (str(other.path),)},
        "watch": {"gap_s": 0.3},
        "webhooks": {"private": True},
        "worker": {"heartbeat_s": 0.5},
    }
    with house(home, **sections) as house_:
        yield house_


@pytest.fixture(scope="module")
def admin(door: House) -> Iterator[httpx.Client]:
    with door.caller(timeout_s=60) as caller:
        yield caller


_next = count()


@pytest.fixture
def gallery(door: House) -> str:
    """One of each test's own, with Ada and Grace in it."""
    return filled(door)


def filled(door: House) -> str:
    name = f"g{next(_next)}"
    for person, subject in ((1, "Ada Lovelace"), (2, "Grace Hopper")):
        shots = [crop(person, shot) for shot in range(2)]
        door.client.enrol(subject, shots, gallery=name, content=Content.ALIGNED, timeout_s=PATIENCE_S)
    return name


def good(answer: httpx.Response, status: int = 200) -> Any:
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def until(done: Callable[[], Any]) -> Any:
    deadline_s = time.monotonic() + PATIENCE_S
    while not (found := done()):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    return found


def asked(caller: httpx.Client, gallery: str, picture: bytes, **more: Any) -> dict[str, Any]:
    image = {"data": base64.b64encode(picture).decode()}
    body = {"gallery": gallery, "content": "aligned", "images": [image]} | more
    decision: dict[str, Any] = good(caller.post("/v1/jobs?wait=60", json=body))["decisions"][0]
    return decision


def stranger(door: House, caller: httpx.Client, gallery: str, person: int) -> int:
    """Somebody whom nobody has named passes a camera; the number."""
    place = f"/v1/galleries/{gallery}/strangers"
    before = {each["number"] for each in good(caller.get(place))["strangers"]}
    walk(door.client, gallery, "front", next(_next), *(crop(person, shot) for shot in range(3)))

    def fresh() -> list[int]:
        return [each["number"] for each in good(caller.get(place))["strangers"] if each["number"] not in before]

    found: list[int] = until(fresh)
    return found[0]


def moved(caller: httpx.Client, gallery: str) -> str:
    """Begin a move and wait until every template has its vector; the address."""
    place = f"/v1/galleries/{gallery}/migration"
    good(caller.post(place, json={"pack": "wider"}), 202)
    until(lambda: (state := good(caller.get(place)))["missing"] == 0 and not state["embedding"])
    return place


class TestMigrations:
    def test_a_gallery_moves_to_another_model_and_back_and_is_asked_all_the_while(
        self, admin: httpx.Client, gallery: str
    ) -> None:
        before = good(admin.get(f"/v1/galleries/{gallery}"))
        place = moved(admin, gallery)
        state = good(admin.get(place))
        assert state["model_id"] == before["model_id"]
        assert state["other"]["model_id"] != before["model_id"]
        assert state["unable"] == {}
        # In the shadow: nothing is answered by the other model yet.
        assert asked(admin, gallery, crop(1, 7))["model_id"] == before["model_id"]

        sequence = good(admin.post(f"{place}/switch", json={}))["sequence"]
        there = asked(admin, gallery, crop(1, 7), min_sequence=sequence)
        assert (there["model_id"], there["face"]["subject"]) == (state["other"]["model_id"], "Ada Lovelace")
        assert good(admin.get(place))["other"]["model_id"] == before["model_id"]

        sequence = good(admin.post(f"{place}/rollback", json={}))["sequence"]
        back = asked(admin, gallery, crop(2, 7), min_sequence=sequence)
        assert (back["model_id"], back["face"]["subject"]) == (before["model_id"], "Grace Hopper")
        assert good(admin.get(f"/v1/galleries/{gallery}"))["templates"] == before["templates"]

    def test_a_move_that_is_abandoned_leaves_nothing_behind(self, admin: httpx.Client, gallery: str) -> None:
        place = moved(admin, gallery)
        good(admin.delete(place), 204)

        assert "other" not in good(admin.get(place))
        assert code(admin.post(f"{place}/switch", json={})) == (409, "cannot_migrate")
        assert asked(admin, gallery, crop(1, 7))["face"]["subject"] == "Ada Lovelace"

    def test_what_was_enrolled_since_is_moved_before_the_switch(self, admin: httpx.Client, gallery: str) -> None:
        place = moved(admin, gallery)
        asked(admin, gallery, crop(3), kind="enrol", subject="Emmy Noether")
        assert good(admin.get(place))["missing"] == 1
        assert code(admin.post(f"{place}/switch", json={})) == (409, "cannot_migrate")
        moved(admin, gallery)

        sequence = good(admin.post(f"{place}/switch", json={}))["sequence"]
        assert asked(admin, gallery, crop(3, 4), min_sequence=sequence)["face"]["subject"] == "Emmy Noether"

    def test_a_model_that_is_not_there_or_the_gallery_s_own_is_refused(self, admin: httpx.Client, gallery: str) -> None:
        place = f"/v1/galleries/{gallery}/migration"

        assert code(admin.post(place, json={"pack": "nothing"})) == (404, "unknown_pack")
        moved(admin, gallery)
        good(admin.post(f"{place}/switch", json={}))
        assert code(admin.post(place, json={"pack": "wider"})) == (409, "cannot_migrate")

    def test_who_may_not_move_a_gallery_moves_none(self, door: House, gallery: str) -> None:
        with door.caller(Scope.ENROL, Scope.READ) as caller:
            place = f"/v1/galleries/{gallery}/migration"
            assert code(caller.post(place, json={"pack": "wider"})) == (403, "scope_missing")
            assert code(caller.delete(place)) == (403, "scope_missing")


class TestStrangers:
    def test_one_is_listed_shown_and_named_and_known_from_then_on(
        self, door: House, admin: httpx.Client, gallery: str
    ) -> None:
        number = stranger(door, admin, gallery, 50)
        place = f"/v1/galleries/{gallery}/strangers/{number}"
        shown = good(admin.get(place))
        assert shown["number"] == number

        named = good(admin.post(f"{place}/name", json={"subject": "Vera Rubin"}))
        assert named["templates"] >= 1
        sequence = good(admin.get(f"/v1/galleries/{gallery}"))["sequence"]
        assert asked(admin, gallery, crop(50, 9), min_sequence=sequence)["face"]["subject"] == "Vera Rubin"
        lists = [good(admin.get(f"/v1/galleries/{gallery}/strangers", params=all_)) for all_ in ({}, {"all": True})]
        assert [len(each["strangers"]) for each in lists] == [0, 1]

    def test_two_that_are_one_are_merged_into_the_first(self, door: House, admin: httpx.Client, gallery: str) -> None:
        first, second = (stranger(door, admin, gallery, person) for person in (51, 52))
        place = f"/v1/galleries/{gallery}/strangers"

        merged = good(admin.post(f"{place}/{second}/merge", json={"other": first}))

        assert merged["kept"] == first
        until(lambda: [each["number"] for each in good(admin.get(place))["strangers"]] == [first])
        assert good(admin.get(f"{place}/{second}"))["number"] == first

    def test_one_is_ignored_and_told_of_again(self, door: House, admin: httpx.Client, gallery: str) -> None:
        number = stranger(door, admin, gallery, 53)
        place = f"/v1/galleries/{gallery}/strangers/{number}"

        assert good(admin.post(f"{place}/ignore", json={}))["ignored"]
        until(lambda: good(admin.get(place))["ignored"])
        assert not good(admin.post(f"{place}/ignore", json={"ignored": False}))["ignored"]
        until(lambda: not good(admin.get(place)).get("ignored"))

    def test_who_is_forgotten_is_gone_with_all_that_was_seen(
        self, door: House, admin: httpx.Client, gallery: str
    ) -> None:
        number = stranger(door, admin, gallery, 54)
        pictures = good(admin.get(f"/v1/galleries/{gallery}/strangers/{number}"))
        gone = good(admin.delete(f"/v1/galleries/{gallery}/strangers/{number}"))

        assert gone["done"]
        assert gone["pictures"] + gone["decisions"] + gone["events"] > 0, pictures
        assert code(admin.get(f"/v1/galleries/{gallery}/strangers/{number}")) == (404, "unknown_stranger")
        decisions = good(admin.get("/v1/decisions", params={"gallery": gallery, "camera": "front"}))
        assert decisions["items"] == []

    def test_who_only_reads_changes_nobody(self, door: House, admin: httpx.Client, gallery: str) -> None:
        number = stranger(door, admin, gallery, 55)
        place = f"/v1/galleries/{gallery}/strangers/{number}"
        with door.caller(Scope.READ) as reader:
            assert good(reader.get(place))["number"] == number
            assert code(reader.post(f"{place}/name", json={"subject": "X"})) == (403, "scope_missing")
            assert code(reader.delete(place)) == (403, "scope_missing")


class TestCalibration:
    def test_judged_decisions_are_what_a_cutoff_is_derived_from(self, admin: httpx.Client, gallery: str) -> None:
        place = f"/v1/galleries/{gallery}/cutoff"
        images = [{"data": base64.b64encode(crop(person)).decode()} for person in range(200, 240)]
        body = {"gallery": gallery, "content": "aligned", "images": images}
        for decision in good(admin.post("/v1/jobs?wait=60", json=body))["decisions"]:
            # Picked whatever its answer was, or it would say nothing of how often strangers are named.
            verdict = {"verdict": "stranger", "sampled": True}
            good(admin.put(f"/v1/decisions/{decision['decision_id']}/feedback", json=verdict))

        assert good(admin.get(place))["judged"] == 40
        standing = good(admin.put(place, json={"fpir": 0.5}))
        assert standing["record"]["how"] == "measured", standing["record"]["why"]
        assert standing["stale"] is False
        assert good(admin.put(place, json={"clear": True})).get("record") is None

    def test_a_cutoff_above_every_score_names_nobody_and_a_cleared_one_again(
        self, admin: httpx.Client, gallery: str
    ) -> None:
        place = f"/v1/galleries/{gallery}/cutoff"
        preview = good(admin.post(f"{place}/preview", json={"cutoff": 1.0, "margin": 0.0}))
        assert (preview["named"], preview["cutoff"]) == (0, 1.0)
        good(admin.put(place, json={"cutoff": 1.0}))
        history = good(admin.get(f"/v1/galleries/{gallery}/history", params={"limit": 1}))
        sequence = history["entries"][0]["sequence"]
        assert asked(admin, gallery, crop(1, 7), min_sequence=sequence)["outcome"] == "unknown"

        good(admin.post(f"/v1/galleries/{gallery}/undo", json={"sequence": sequence}))
        assert asked(admin, gallery, crop(1, 7), min_sequence=sequence + 1)["outcome"] == "match"


#: What is no change: asked, or stored under its own hash until a job names it. (Identifications stand in the results.)
NO_CHANGE = {
    "POST /v1/galleries/{gallery}/cutoff/preview",
    "POST /v1/uploads",
    "PUT /v1/uploads/{digest}",
}

Deed = Callable[["Site"], httpx.Response]


class Site:
    """Everything that can be changed; made past the door, so that what stands in the log is the call's."""

    def __init__(self, door: House, caller: httpx.Client) -> None:
        self.door, self.client, self.call = door, door.client, caller
        self.actor = "key:" + caller.headers["authorization"].split("_")[1]
        self._gallery: str | None = None

    @property
    def gallery(self) -> str:
        self._gallery = self._gallery or filled(self.door)
        return self._gallery

    @property
    def place(self) -> str:
        return f"/v1/galleries/{self.gallery}"

    @property
    def decision(self) -> str:
        [decision] = self.client.identify([crop(1, 8)], gallery=self.gallery, content=Content.ALIGNED, timeout_s=60)
        return f"/v1/decisions/{decision.decision_id}/feedback"

    @property
    def template(self) -> str:
        return self.client.galleries.show(self.gallery, "Ada Lovelace").templates[0].template_id

    @property
    def stranger(self) -> str:
        return f"{self.place}/strangers/{stranger(self.door, self.call, self.gallery, 70 + next(_next))}"

    @property
    def moving(self) -> str:
        with self.door.caller() as other:
            return moved(other, self.gallery)

    @property
    def switched(self) -> str:
        place = self.moving
        with self.door.caller() as other:
            good(other.post(f"{place}/switch", json={}))
        return place

    @property
    def camera(self) -> str:
        name = f"c{next(_next)}"
        with self.door.caller() as other:
            body = {"name": name, "address": "rtsp://10.0.0.2/s", "gallery": self.gallery}
            good(other.post("/v1/cameras", json=body), 201)
        return f"/v1/cameras/{name}"

    def webhook(self, url: str = "http://127.0.0.1:9/") -> str:
        with self.door.caller() as other:
            made = good(other.post("/v1/webhooks", json={"name": "desk", "url": url}), 201)
        return f"/v1/webhooks/{made['webhook_id']}"

    @property
    def dead(self) -> str:
        job = self.client.intake.job(
            Kind.IDENTIFY, [self.client.put(crop(1))], gallery=self.gallery, model_id="nobodys"
        )
        self.client.submit(job)
        until(lambda: self.client.ledger.state(job.job_id).state == "dead")
        return f"/v1/dead-letters/{job.job_id}"

    @property
    def job(self) -> str:
        # Accepted by the ledger, its message not sent: nobody begins to work on it.
        job = self.client.intake.job(Kind.IDENTIFY, [self.client.put(crop(1))], gallery=self.gallery)
        self.client.ledger.accept_many([job])
        return f"/v1/jobs/{job.job_id}"

    @property
    def enrolment(self) -> dict[str, Any]:
        image = {"data": base64.b64encode(crop(9)).decode()}
        return {"kind": "enrol", "gallery": self.gallery, "subject": "X", "content": "aligned", "images": [image]}


def tried(site: Site) -> httpx.Response:
    with served() as receiver:
        return site.call.post(f"{site.webhook(receiver.url)}/test")


def judged(site: Site) -> httpx.Response:
    decision = site.decision
    site.call.put(decision, json={"verdict": "right"})
    return site.call.delete(decision)


def renamed(site: Site) -> httpx.Response:
    return site.call.patch(f"{site.place}/subjects/Ada Lovelace", json={"name": "Augusta"})


def resumed(site: Site) -> httpx.Response:
    camera = site.camera
    site.client.cameras.pause(camera.rpartition("/")[2], "cleaning")
    return site.call.post(f"{camera}/resume")


def undone(site: Site) -> httpx.Response:
    sequence = site.client.galleries.rename(site.gallery, "Ada Lovelace", "Augusta")
    return site.call.post(f"{site.place}/undo", json={"sequence": sequence})


DEEDS: dict[str, tuple[Action, Deed]] = {
    "POST /v1/jobs": (Action.SUBMITTED, lambda s: s.call.post("/v1/jobs", json=s.enrolment)),
    "POST /v1/bulk": (Action.SUBMITTED, lambda s: s.call.post("/v1/bulk", json={"jobs": [s.enrolment]})),
    "DELETE /v1/jobs/{job_id}": (Action.CANCELLED, lambda s: s.call.delete(s.job)),
    "PUT /v1/decisions/{decision_id}/feedback": (
        Action.JUDGED,
        lambda s: s.call.put(s.decision, json={"verdict": "right"}),
    ),
    "DELETE /v1/decisions/{decision_id}/feedback": (Action.JUDGED, judged),
    "POST /v1/galleries": (
        Action.CREATED,
        lambda s: s.call.post("/v1/galleries", json={"name": f"{s.gallery}-new", "model_id": "m", "dimension": 4}),
    ),
    "DELETE /v1/galleries/{gallery}": (
        Action.FORGOT,
        lambda s: s.call.delete(s.place, params={"confirm": s.gallery}),
    ),
    "PATCH /v1/galleries/{gallery}/settings": (
        Action.CONFIGURED,
        lambda s: s.call.patch(f"{s.place}/settings", json={"margin": 0.1}),
    ),
    "POST /v1/galleries/{gallery}/undo": (Action.UNDONE, undone),
    "POST /v1/galleries/{gallery}/subjects": (
        Action.ENROLLED,
        lambda s: s.call.post(f"{s.place}/subjects", json={"name": "Hypatia"}),
    ),
    "PATCH /v1/galleries/{gallery}/subjects/{subject}": (Action.RENAMED, renamed),
    "DELETE /v1/galleries/{gallery}/subjects/{subject}": (
        Action.FORGOT,
        lambda s: s.call.delete(f"{s.place}/subjects/Ada Lovelace"),
    ),
    "POST /v1/galleries/{gallery}/merge": (
        Action.MOVED,
        lambda s: s.call.post(f"{s.place}/merge", json={"subject": "Ada Lovelace", "into": "Grace Hopper"}),
    ),
    "POST /v1/galleries/{gallery}/move": (
        Action.MOVED,
        lambda s: s.call.post(
            f"{s.place}/move", json={"subject": "Ada Lovelace", "templates": [s.template], "to": "Hypatia"}
        ),
    ),
    "DELETE /v1/galleries/{gallery}/templates/{template_id}": (
        Action.REMOVED,
        lambda s: s.call.delete(f"{s.place}/templates/{s.template}", params={"subject": "Ada Lovelace"}),
    ),
    "PUT /v1/galleries/{gallery}/cutoff": (
        Action.CONFIGURED,
        lambda s: s.call.put(f"{s.place}/cutoff", json={"cutoff": 0.5}),
    ),
    "POST /v1/galleries/{gallery}/migration": (
        Action.MIGRATED,
        lambda s: s.call.post(f"{s.place}/migration", json={"pack": "wider"}),
    ),
    "DELETE /v1/galleries/{gallery}/migration": (Action.MIGRATED, lambda s: s.call.delete(s.moving)),
    "POST /v1/galleries/{gallery}/migration/switch": (
        Action.MIGRATED,
        lambda s: s.call.post(f"{s.moving}/switch", json={}),
    ),
    "POST /v1/galleries/{gallery}/migration/rollback": (
        Action.MIGRATED,
        lambda s: s.call.post(f"{s.switched}/rollback", json={}),
    ),
    "DELETE /v1/galleries/{gallery}/strangers/{number}": (Action.FORGOT, lambda s: s.call.delete(s.stranger)),
    "POST /v1/galleries/{gallery}/strangers/{number}/name": (
        Action.STRANGER_CHANGED,
        lambda s: s.call.post(f"{s.stranger}/name", json={"subject": "Hypatia"}),
    ),
    "POST /v1/galleries/{gallery}/strangers/{number}/merge": (
        Action.STRANGER_CHANGED,
        lambda s: s.call.post(f"{s.stranger}/merge", json={"other": int(s.stranger.rpartition("/")[2])}),
    ),
    "POST /v1/galleries/{gallery}/strangers/{number}/ignore": (
        Action.STRANGER_CHANGED,
        lambda s: s.call.post(f"{s.stranger}/ignore", json={}),
    ),
    "POST /v1/cameras": (
        Action.CAMERA_CHANGED,
        lambda s: s.call.post("/v1/cameras", json={"name": "new", "address": "rtsp://h/s", "gallery": s.gallery}),
    ),
    "DELETE /v1/cameras/{name}": (Action.CAMERA_CHANGED, lambda s: s.call.delete(s.camera)),
    "POST /v1/cameras/{name}/pause": (Action.CAMERA_CHANGED, lambda s: s.call.post(f"{s.camera}/pause", json={})),
    "POST /v1/cameras/{name}/resume": (Action.CAMERA_CHANGED, resumed),
    "POST /v1/webhooks": (
        Action.WEBHOOK_CHANGED,
        lambda s: s.call.post("/v1/webhooks", json={"name": "desk", "url": "https://desk.example.org/"}),
    ),
    "PATCH /v1/webhooks/{webhook_id}": (
        Action.WEBHOOK_CHANGED,
        lambda s: s.call.patch(s.webhook(), json={"name": "door"}),
    ),
    "DELETE /v1/webhooks/{webhook_id}": (Action.WEBHOOK_CHANGED, lambda s: s.call.delete(s.webhook())),
    "POST /v1/webhooks/{webhook_id}/pause": (
        Action.WEBHOOK_CHANGED,
        lambda s: s.call.post(f"{s.webhook()}/pause", json={}),
    ),
    "POST /v1/webhooks/{webhook_id}/resume": (
        Action.WEBHOOK_CHANGED,
        lambda s: s.call.post(f"{s.webhook()}/resume"),
    ),
    "POST /v1/webhooks/{webhook_id}/test": (Action.WEBHOOK_CHANGED, tried),
    "POST /v1/webhooks/{webhook_id}/replay": (
        Action.WEBHOOK_CHANGED,
        lambda s: s.call.post(f"{s.webhook()}/replay", json={"after": "0"}),
    ),
    "POST /v1/dead-letters/{dead_id}/retry": (Action.DEAD_RETRIED, lambda s: s.call.post(f"{s.dead}/retry")),
    "DELETE /v1/dead-letters/{dead_id}": (Action.DEAD_DROPPED, lambda s: s.call.delete(s.dead)),
}


class TestForgettingAGallery:
    def test_its_name_is_given_twice_and_the_answer_is_a_receipt(
        self, door: House, admin: httpx.Client, gallery: str
    ) -> None:
        place = f"/v1/galleries/{gallery}"
        assert admin.delete(place).status_code == 422
        refused = admin.delete(place, params={"confirm": "staff"})
        assert code(refused) == (422, "not_confirmed")
        assert f"confirm={gallery}" in refused.json()["remedy"]
        with door.caller(Scope.ENROL, timeout_s=60) as other:
            assert other.delete(place, params={"confirm": gallery}).status_code == 403
        assert good(admin.get(place))["subjects"] == 2
        signed = from_text(json.dumps(good(admin.delete(place, params={"confirm": gallery}))))
        assert (signed.receipt.gallery, signed.receipt.subject_id, signed.receipt.silent) == (gallery, None, ())
        assert list(door.client.check_forgotten(signed)) == []
        assert admin.get(place).status_code == 404
        assert code(admin.delete(place, params={"confirm": gallery})) == (404, "unknown_gallery")


class TestAudit:
    def test_every_call_that_may_change_something_is_tried_below(self, door: House) -> None:
        described = httpx.get(f"{door.url}/openapi.json").json()["paths"]
        mutating = {f"{method.upper()} {path}" for path, operations in described.items() for method in operations} - {
            f"GET {path}" for path in described
        }

        assert mutating == DEEDS.keys() | NO_CHANGE
        assert not DEEDS.keys() & NO_CHANGE

    @pytest.mark.parametrize("call", DEEDS)
    def test_it_stands_in_the_audit_log_with_who_did_it(self, door: House, call: str) -> None:
        action, deed = DEEDS[call]
        with door.caller(timeout_s=60) as caller:
            site = Site(door, caller)
            answer = deed(site)
            assert answer.is_success, answer.text

            by_it = [entry.deed for entry in door.client.audit.latest(200) if entry.deed.actor == site.actor]
        assert action in {each.action for each in by_it}
        names = ("Ada Lovelace", "Grace Hopper", "Augusta", "Hypatia")
        assert not any(name in str(each) for each in by_it for name in names), "people stand there by id"

    @pytest.mark.parametrize("call", sorted(NO_CHANGE))
    def test_what_changes_nothing_is_not(self, door: House, call: str, gallery: str) -> None:
        with door.caller(Scope.ADMIN) as caller:
            site = Site(door, caller)
            digest = "0" * 64
            path = call.partition(" ")[2].format(gallery=gallery, digest=digest)
            body = {"sha256": digest} if path == "/v1/uploads" else {"cutoff": 0.5}
            caller.request(call.partition(" ")[0], path, json=body)
            by_it = [entry.deed for entry in door.client.audit.latest(50) if entry.deed.actor == site.actor]
        assert [each for each in by_it if each.action != Action.LOOKED] == []


def test_the_packs_of_these_tests_are_two(door: House) -> None:
    """Else a move would go from a model to itself."""
    also = load_pack(door.client.settings.home / "packs" / "wider")
    assert also.model_id != load_pack(door.client.settings.model.pack or "").model_id

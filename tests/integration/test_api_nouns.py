"""Every noun of the HTTP door on a real stack: people, galleries, decisions, cutoffs, cameras, events, audit log."""

import base64
import json
from collections.abc import Iterator
from hashlib import sha256
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from kith.api_keys import Scope
from kith.jobs import Kind, now_ms
from kith.watching.events import Event, EventKind
from tests.http_door import House, crop, house, tell


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("api")) as house_:
        yield house_


@pytest.fixture(scope="module")
def admin(door: House) -> Iterator[httpx.Client]:
    with door.caller() as caller:
        yield caller


_next = iter(range(1000))


@pytest.fixture
def gallery(admin: httpx.Client) -> str:
    """One of each test's own, with Ada and Grace in it."""
    name = f"g{next(_next)}"
    for person, subject in ((1, "Ada Lovelace"), (2, "Grace Hopper")):
        enrolled(admin, name, subject, *(crop(person, shot) for shot in range(2)))
    return name


def enrolled(caller: httpx.Client, gallery: str, subject: str, *pictures: bytes) -> list[dict[str, Any]]:
    form = {"kind": "enrol", "gallery": gallery, "subject": subject, "content": "aligned"}
    files = [("images", ("crop.png", each)) for each in pictures]
    decisions: list[dict[str, Any]] = good(caller.post("/v1/jobs?wait=30", data=form, files=files))["decisions"]
    assert [each["outcome"] for each in decisions] == ["enrolled"] * len(pictures)
    return decisions


def asked(caller: httpx.Client, gallery: str, picture: bytes) -> dict[str, Any]:
    body = {"gallery": gallery, "content": "aligned", "images": [{"data": base64.b64encode(picture).decode()}]}
    decision: dict[str, Any] = good(caller.post("/v1/jobs?wait=30", json=body))["decisions"][0]
    return decision


def good(answer: httpx.Response, status: int = 200) -> Any:
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def audited(door: House) -> list[tuple[str, str]]:
    return [(entry.deed.action.value, entry.deed.actor) for entry in door.client.audit.latest(3)]


class TestGalleries:
    def test_a_gallery_is_made_listed_set_and_its_history_told(self, admin: httpx.Client, gallery: str) -> None:
        info = good(admin.get(f"/v1/galleries/{gallery}"))
        made = {"name": f"{gallery}-new", "model_id": info["model_id"], "dimension": info["dimension"]}
        assert good(admin.post("/v1/galleries", json=made), 201)["subjects"] == 0
        names = [each["name"] for each in good(admin.get("/v1/galleries"))["galleries"]]
        assert {gallery, f"{gallery}-new"} <= set(names)

        good(admin.patch(f"/v1/galleries/{gallery}/settings", json={"margin": 0.1, "keep_probes_s": 60}))
        good(admin.patch(f"/v1/galleries/{gallery}/settings", json={"keep_probes_s": None}))

        settings = good(admin.get(f"/v1/galleries/{gallery}"))["settings"]
        assert settings["margin"] == 0.1
        assert "keep_probes_s" not in settings
        first = good(admin.get(f"/v1/galleries/{gallery}/history", params={"limit": 2}))
        assert [each["op"] for each in first["entries"]] == ["settings", "settings"]
        second = good(admin.get(f"/v1/galleries/{gallery}/history", params={"before": first["next"]}))
        assert {each["op"] for each in second["entries"]} == {"enrol"}
        assert "next" not in second

    def test_a_change_is_undone(self, admin: httpx.Client, gallery: str) -> None:
        place = f"/v1/galleries/{gallery}/subjects/Ada Lovelace"
        sequence = good(admin.patch(place, json={"name": "Augusta"}))["sequence"]
        good(admin.post(f"/v1/galleries/{gallery}/undo", json={"sequence": sequence}))

        assert good(admin.get(place))["name"] == "Ada Lovelace"
        assert code(admin.post(f"/v1/galleries/{gallery}/undo", json={"sequence": 10**9})) == (409, "cannot_undo")

    def test_a_key_for_one_gallery_sees_no_other(self, door: House, gallery: str) -> None:
        with door.caller(Scope.READ, galleries=(gallery,)) as caller:
            assert [each["name"] for each in good(caller.get("/v1/galleries"))["galleries"]] == [gallery]
            assert code(caller.get("/v1/galleries/other")) == (403, "gallery_forbidden")
            assert code(caller.get("/v1/status")) == (403, "gallery_forbidden")


class TestSubjects:
    def test_people_are_listed_page_by_page(self, admin: httpx.Client, gallery: str) -> None:
        first = good(admin.get(f"/v1/galleries/{gallery}/subjects", params={"limit": 1}))
        second = good(admin.get(f"/v1/galleries/{gallery}/subjects", params={"after": first["next"]}))

        assert [each["name"] for each in first["subjects"]] == ["Ada Lovelace"]
        assert [(each["name"], each["templates"]) for each in second["subjects"]] == [("Grace Hopper", 2)]
        assert "next" not in second

    def test_a_name_may_hold_slashes_and_any_script(self, admin: httpx.Client, gallery: str) -> None:
        for name in ("Team/Ada?", "Ōe Kenzaburō", "😀 #1"):
            assert good(admin.post(f"/v1/galleries/{gallery}/subjects", json={"name": name}), 201)["sequence"] > 0
            place = httpx.URL(f"/v1/galleries/{gallery}/subjects/").join(_escaped(name))
            assert good(admin.get(place))["name"] == name

    def test_somebody_is_described_found_and_renamed(self, admin: httpx.Client, gallery: str) -> None:
        place = f"/v1/galleries/{gallery}/subjects/Ada Lovelace"
        good(admin.patch(place, json={"external_id": "E1", "metadata": {"site": "London"}}))
        [found] = good(admin.get(f"/v1/galleries/{gallery}/subjects", params={"external_id": "E1"}))["subjects"]
        assert found["name"] == "Ada Lovelace"
        good(admin.patch(place, json={"name": "Augusta", "external_id": None}))
        detail = good(admin.get(f"/v1/galleries/{gallery}/subjects/Augusta"))
        assert detail["metadata"] == {"site": "London"}
        assert "external_id" not in detail
        assert code(admin.get(place)) == (404, "unknown_subject")

    def test_two_names_are_merged_and_split_again(self, admin: httpx.Client, gallery: str) -> None:
        prefix = f"/v1/galleries/{gallery}"
        before = good(admin.get(f"{prefix}/templates", params={"subject": "Ada Lovelace"}))["templates"]
        good(admin.post(f"{prefix}/merge", json={"subject": "Ada Lovelace", "into": "Grace Hopper"}))
        ids = [each["template_id"] for each in before]
        good(admin.post(f"{prefix}/move", json={"subject": "Grace Hopper", "templates": ids, "to": "Ada Lovelace"}))

        assert good(admin.get(f"{prefix}/subjects/Ada Lovelace"))["templates"] == before
        answer = admin.post(f"{prefix}/merge", json={"subject": "Grace Hopper", "into": "Grace Hopper"})
        assert code(answer) == (409, "same_subject")

    def test_a_template_is_removed_and_its_picture_shown(self, admin: httpx.Client, gallery: str) -> None:
        place, who = f"/v1/galleries/{gallery}/templates", {"subject": "Ada Lovelace"}
        [first, _] = good(admin.get(place, params=who))["templates"]
        picture = admin.get(f"/v1/images/{first['image']}")
        assert picture.headers["content-type"] == "image/png"
        assert sha256(picture.content).hexdigest() == first["image"].partition("/")[2]

        good(admin.delete(f"{place}/{first['template_id']}", params=who))

        assert len(good(admin.get(place, params=who))["templates"]) == 1
        assert code(admin.delete(f"{place}/{first['template_id']}", params=who)) == (404, "unknown_template")

    def test_who_is_forgotten_is_gone_with_a_receipt(self, door: House, admin: httpx.Client, gallery: str) -> None:
        place = f"/v1/galleries/{gallery}/subjects/Ada Lovelace"
        receipt = good(admin.delete(place, params={"wait": 10}))

        assert receipt["kith_receipt"] == 1
        assert receipt["signature"]["algorithm"] == "Ed25519"
        assert code(admin.get(place)) == (404, "unknown_subject")
        assert any(action == "forgot" and actor.startswith("key:") for action, actor in audited(door))


class TestUploads:
    def test_an_image_is_promised_uploaded_and_named_in_a_job(self, admin: httpx.Client, gallery: str) -> None:
        data = crop(1, 8)
        place = good(admin.post("/v1/uploads", json={"sha256": sha256(data).hexdigest()}), 201)
        assert place["method"] == "PUT"
        key = good(admin.put(place["url"], content=data, headers={"content-type": "image/png"}), 201)["key"]
        assert key == place["key"]

        body = {"gallery": gallery, "content": "aligned", "images": [{"key": key}]}
        [decision] = good(admin.post("/v1/jobs?wait=30", json=body))["decisions"]
        assert decision["face"]["subject"] == "Ada Lovelace"

    def test_other_bytes_than_promised_are_refused(self, admin: httpx.Client) -> None:
        answer = admin.put(f"/v1/uploads/{'0' * 64}", content=crop(1), headers={"content-type": "image/png"})
        assert code(answer) == (422, "corrupt_image")

    def test_an_image_nobody_stored_is_not_there(self, admin: httpx.Client) -> None:
        assert code(admin.get(f"/v1/images/00/{'0' * 64}")) == (404, "missing_image")


class TestDecisions:
    def test_they_are_paged_and_filtered(self, door: House, admin: httpx.Client, gallery: str) -> None:
        known, unknown = asked(admin, gallery, crop(1, 5)), asked(admin, gallery, crop(77))

        def ids(**filters: Any) -> list[str]:
            page = good(admin.get("/v1/decisions", params={"gallery": gallery, "limit": 1000} | filters))
            return [each["decision_id"] for each in page["items"]]

        assert ids(kind="identify") == [known["decision_id"], unknown["decision_id"]]
        assert ids(kind="identify", outcome="match") == [known["decision_id"]]
        assert ids(subject="Ada Lovelace", kind="identify") == [known["decision_id"]]
        everything, last = [], None
        while True:
            page = good(admin.get("/v1/decisions", params={"limit": 2, "after": last} if last else {"limit": 2}))
            everything += [each["entry_id"] for each in page["items"]]
            last = page["next"]
            if not page["more"]:
                break
        assert everything == [each.entry_id for each in door.client.results.after("0", limit=10_000)]

    def test_who_waits_for_the_next_one_gets_it(self, door: House, admin: httpx.Client, gallery: str) -> None:
        last = door.client.results.position()
        body = {"gallery": gallery, "content": "aligned", "images": [{"data": base64.b64encode(crop(1)).decode()}]}
        job = good(admin.post("/v1/jobs", json=body), 202)["job_id"]

        page = good(admin.get("/v1/decisions", params={"after": last, "wait": 20}))

        assert [each["job_id"] for each in page["items"]] == [job]

    def test_the_stream_goes_on_where_a_reader_was(self, door: House, admin: httpx.Client, gallery: str) -> None:
        before = door.client.results.position()
        decision = asked(admin, gallery, crop(2, 7))
        with admin.stream("GET", "/v1/decisions/stream", headers={"last-event-id": before}) as stream:
            [entry_id, name, data] = _first_event(stream)

        assert name == "decision"
        assert json.loads(data)["decision_id"] == decision["decision_id"]
        assert entry_id == door.client.results.position()

    def test_what_is_said_of_one_is_kept_and_taken_back(self, door: House, admin: httpx.Client, gallery: str) -> None:
        place = f"/v1/decisions/{asked(admin, gallery, crop(1, 6))['decision_id']}"

        assert good(admin.put(f"{place}/feedback", json={"verdict": "right"}))["truth"] == "mated"
        wrong = {"verdict": "wrong", "actually": "Grace Hopper"}
        assert good(admin.put(f"{place}/feedback", json=wrong))["truth"] == "mistaken"
        assert door.client.samples.count(gallery) == 1
        assert good(admin.delete(f"{place}/feedback")) == {"withdrawn": True}
        assert [action for action, _ in audited(door)] == ["judged"] * 3
        assert code(admin.get(f"/v1/decisions/{'0' * 32}:0")) == (404, "unknown_decision")


class TestCutoff:
    def test_it_is_set_previewed_and_cleared(self, admin: httpx.Client, gallery: str) -> None:
        asked(admin, gallery, crop(1, 5))
        place = f"/v1/galleries/{gallery}/cutoff"
        assert "cutoff" not in good(admin.get(place))

        preview = good(admin.post(f"{place}/preview", json={"cutoff": 0.9999}))
        assert (preview["looked_at"], preview["unnamed"]) == (1, 1)
        assert "cutoff" not in good(admin.get(place))
        assert good(admin.put(place, json={"cutoff": 0.5, "margin": 0.01}))["cutoff"] == 0.5
        assert "cutoff" not in good(admin.put(place, json={"clear": True}))

    def test_it_is_derived_for_a_rate(self, admin: httpx.Client, gallery: str) -> None:
        standing = good(admin.put(f"/v1/galleries/{gallery}/cutoff", json={"fpir": 0.1}))

        assert standing["fpir"] == 0.1
        assert standing["record"]["how"] == "default", "two people can show no rate"

    @pytest.mark.parametrize("body", [{}, {"cutoff": 2}, {"cutoff": 0.5, "fpir": 0.1}, {"fpir": 0}, {"fpir": "x"}])
    def test_what_it_cannot_be_is_refused(self, admin: httpx.Client, gallery: str, body: Any) -> None:
        assert code(admin.put(f"/v1/galleries/{gallery}/cutoff", json=body)) == (422, "invalid_request")


class TestMigrations:
    def test_a_gallery_that_moves_nowhere_says_so(self, admin: httpx.Client, gallery: str) -> None:
        place = f"/v1/galleries/{gallery}/migration"
        progress = good(admin.get(place))

        assert "other" not in progress
        assert code(admin.post(f"{place}/switch", json={})) == (409, "cannot_migrate")
        assert code(admin.post(f"{place}/rollback", json={})) == (409, "cannot_migrate")
        assert code(admin.delete(place)) == (409, "cannot_migrate")
        assert admin.post(place, json={"pack": "../../etc"}).status_code == 422

    def test_models_are_listed_with_who_holds_them(self, admin: httpx.Client, gallery: str) -> None:
        models = good(admin.get("/v1/models"))

        [held] = models["held"]
        assert held["model_id"] == good(admin.get(f"/v1/galleries/{gallery}"))["model_id"]
        assert held["workers"] == 1


class TestCameras:
    def test_one_is_added_paused_resumed_and_removed(self, door: House, admin: httpx.Client, gallery: str) -> None:
        camera = {"name": "front", "address": "rtsp://user:secret@10.0.0.2/s", "gallery": gallery}
        added = admin.post("/v1/cameras", json=camera)
        assert good(added, 201)["state"] == "waiting"
        assert "secret" not in added.text
        assert code(admin.post("/v1/cameras", json=camera)) == (409, "camera_taken")
        assert good(admin.post("/v1/cameras/front/pause", json={"why": "cleaning"}))["why"] == "cleaning"
        assert good(admin.post("/v1/cameras/front/resume"))["state"] == "waiting"
        with door.caller(Scope.READ, galleries=("other",)) as other:
            assert good(other.get("/v1/cameras")) == {"cameras": []}
            assert code(other.get("/v1/cameras/front")) == (404, "unknown_camera")
        good(admin.delete("/v1/cameras/front"), 204)
        assert [action for action, _ in audited(door)] == ["camera_changed"] * 3
        assert code(admin.get("/v1/cameras/front")) == (404, "unknown_camera")

    @pytest.mark.parametrize("address", ["ftp://x/y", "rtsp://"])
    def test_an_address_that_no_camera_has_is_refused(self, admin: httpx.Client, gallery: str, address: str) -> None:
        answer = admin.post("/v1/cameras", json={"name": "bad", "address": address, "gallery": gallery})
        assert code(answer) == (422, "invalid_camera")


class TestStrangers:
    def test_nobody_is_nobody(self, admin: httpx.Client, gallery: str) -> None:
        place = f"/v1/galleries/{gallery}/strangers"

        assert good(admin.get(place)) == {"strangers": []}
        for answer in (
            admin.get(f"{place}/17"),
            admin.post(f"{place}/17/name", json={"subject": "Ada"}),
            admin.post(f"{place}/17/merge", json={"other": 18}),
            admin.post(f"{place}/17/ignore", json={}),
            admin.delete(f"{place}/17"),
        ):
            assert code(answer) == (404, "unknown_stranger")


class TestAudit:
    def test_it_is_read_by_page_and_verified(self, door: House, admin: httpx.Client, gallery: str) -> None:
        page = good(admin.get("/v1/audit", params={"gallery": gallery, "action": "enrolled", "limit": 1}))
        rest = good(admin.get("/v1/audit", params={"gallery": gallery, "action": "enrolled", "after": page["next"]}))

        assert len(page["entries"]) + len(rest["entries"]) == 2
        checked = good(admin.get("/v1/audit/verification"))
        assert "broken" not in checked
        assert good(admin.get("/v1/audit/verification", params={"kept": checked["head"]}))["checked"] > 0
        forged = f"1:{'0' * 64}"
        assert good(admin.get("/v1/audit/verification", params={"kept": forged}))["broken"] == 1
        with door.caller(Scope.READ) as reader:
            assert code(reader.get("/v1/audit")) == (403, "scope_missing")


class TestSystem:
    def test_the_status_and_readiness(self, door: House, admin: httpx.Client) -> None:
        assert {each["role"] for each in good(admin.get("/v1/status"))["workers"]} == {
            "embed",
            "publish",
            "upkeep",
            "watch",
        }
        assert good(httpx.get(f"{door.url}/healthz")) == {"status": "ok"}
        assert good(httpx.get(f"{door.url}/readyz"))["workers"] == 4

    def test_a_dead_letter_is_shown_retried_and_dropped(self, door: House, admin: httpx.Client, gallery: str) -> None:
        # A model nobody holds is refused for good.
        client = door.client
        image = client.put(crop(1))
        other = client.intake.job(Kind.IDENTIFY, [image], gallery=gallery, model_id="nobodys")
        client.submit(other)
        died = good(admin.get(f"/v1/jobs/{other.job_id}", params={"wait": 20}))
        assert died["state"] == "dead"
        assert died["reason"].startswith("model_mismatch")

        letters = good(admin.get("/v1/dead-letters"))
        assert [each["dead_id"] for each in letters["dead_letters"]] == [other.job_id]
        good(admin.post(f"/v1/dead-letters/{other.job_id}/retry"), 204)
        assert good(admin.get(f"/v1/jobs/{other.job_id}", params={"wait": 20}))["state"] == "dead"
        good(admin.delete(f"/v1/dead-letters/{other.job_id}"), 204)
        assert [action for action, _ in audited(door)][1:] == ["dead_retried", "dead_dropped"]
        assert code(admin.post(f"/v1/dead-letters/{other.job_id}/retry")) == (404, "unknown_dead_letter")
        assert code(admin.delete(f"/v1/dead-letters/{other.job_id}")) == (404, "unknown_dead_letter")


class TestEvents:
    @pytest.fixture
    def told(self, door: House) -> list[str]:
        """Places of four events: two cameras, two galleries."""
        where = (("front", "staff"), ("back", "staff"), ("front", "guests"), ("front", "staff"))
        number = next(_next)
        events = [
            Event(f"{number}-{index}", EventKind.NEW, gallery, now_ms(), camera=camera, subject="Ada")
            for index, (camera, gallery) in enumerate(where)
        ]
        return [tell(door.client.settings, each) for each in events]

    def test_they_are_paged_and_filtered(self, admin: httpx.Client, door: House, told: list[str]) -> None:
        before = _before(told[0])

        def places(caller: httpx.Client, **filters: Any) -> list[str]:
            page = good(caller.get("/v1/events", params={"after": before} | filters))
            return [each["entry_id"] for each in page["items"]]

        assert places(admin) == told
        assert places(admin, gallery="staff", camera="front") == [told[0], told[3]]
        assert places(admin, kind="end") == []
        assert places(admin, subject="Ada", limit=2) == told[:2]
        with door.caller(Scope.READ, galleries=("guests",)) as guest:
            assert places(guest) == [told[2]]

    def test_the_stream_tells_what_comes_and_what_was_missed(
        self, admin: httpx.Client, door: House, told: list[str]
    ) -> None:
        headers = {"last-event-id": told[1]}
        with admin.stream("GET", "/v1/events/stream", params={"gallery": "staff"}, headers=headers) as stream:
            lines = stream.iter_lines()
            assert _event(lines)[0] == told[3]
            live = tell(door.client.settings, Event("live", EventKind.END, "staff", now_ms()))
            entry_id, name, data = _event(lines)

        assert (entry_id, name) == (live, "event")
        assert json.loads(data)["event_id"] == "live"

    @pytest.mark.parametrize("how", ["header", "subprotocol"])
    def test_a_socket_tells_them_too(self, admin: httpx.Client, door: House, told: list[str], how: str) -> None:
        token = admin.headers["authorization"].partition(" ")[2]
        given: dict[str, Any] = (
            {"additional_headers": {"x-api-key": token}} if how == "header" else {"subprotocols": ["kith", token]}
        )
        with connect(f"{_socket(door)}?after={told[1]}&camera=front", **given) as socket:
            assert socket.subprotocol == (None if how == "header" else "kith")
            assert [json.loads(socket.recv(10))["entry_id"] for _ in range(2)] == told[2:]
            live = tell(door.client.settings, Event("live", EventKind.END, "staff", now_ms(), camera="front"))
            assert json.loads(socket.recv(10))["entry_id"] == live

    def test_a_socket_needs_a_key_with_the_scope(self, door: House) -> None:
        with door.caller(Scope.SUBMIT) as caller:
            key = caller.headers["authorization"].partition(" ")[2]
        for headers, status in ({}, 401), ({"x-api-key": key}, 403):
            with pytest.raises(InvalidStatus) as refused, connect(_socket(door), additional_headers=headers):
                pass
            assert refused.value.response.status_code == status
            assert json.loads(refused.value.response.body or b"")["status"] == status

    def test_no_more_listen_than_may(self, admin: httpx.Client, door: House) -> None:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(door.app.state.events, "_most", 0)
            answer = admin.get("/v1/events/stream")
            assert code(answer) == (503, "too_many_listeners")
            assert int(answer.headers["retry-after"]) > 0


def _escaped(name: str) -> str:
    return quote(name, safe="")


def _first_event(stream: httpx.Response) -> tuple[str, str, str]:
    return _event(stream.iter_lines())


def _event(lines: Iterator[str]) -> tuple[str, str, str]:
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if not line and "data" in fields:
            return fields["id"], fields["event"], fields["data"]
        fields[name] = value
    raise AssertionError("the stream ended")


def _before(place: str) -> str:
    ms, _, _ = place.partition("-")
    return f"{int(ms) - 1}-999999"


def _socket(door: House) -> str:
    return door.url.replace("http", "ws", 1) + "/v1/events/ws"

"""CompreFace's API driven by its own SDK, and as Double Take and Viseron drive it, on a real model with real faces."""

import base64
import io
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from PIL import Image

from kith.api_keys import Scope, issue
from tests import compreface_published as published
from tests.compreface_published import differences
from tests.http_door import House, house
from tests.shared_data import shared_data

pytestmark = pytest.mark.needs("shared data")

API = "/api/v1/recognition"


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("compreface"), shared_data() / "weights") as house_:
        yield house_


@pytest.fixture(scope="module")
def sdk() -> Any:
    # It pins requests-toolbelt 0.9.1, which imports a module that urllib3 2 has no more, for a cloud nobody here is in.
    gone = "urllib3.contrib.appengine"
    sys.modules.setdefault(gone, types.ModuleType(gone))
    import compreface  # noqa: PLC0415 (now it can be)

    return compreface


def face(name: str) -> Path:
    return shared_data() / "camera/real" / name


OBAMA, OBAMA_TOO, BIDEN = (face(f"enrol/{each}.jpg") for each in ("obama/obama", "obama/obama2", "biden/biden"))
TWO = face("two_people.jpg")


class Service:
    """A gallery of its own, with a key for it: what a user of CompreFace has as a service."""

    def __init__(self, door: House, sdk: Any, gallery: str, *scopes: Scope, **options: Any) -> None:
        key, self.token = issue(gallery, scopes or (Scope.ADMIN,), galleries=(gallery,))
        door.client.api_keys.add(key)
        domain, _, port = door.url.rpartition(":")
        face_ = sdk.CompreFace(domain, port, options)
        self.recognition = face_.init_face_recognition(self.token)
        self.detection = face_.init_face_detection(self.token)
        self.faces = self.recognition.get_face_collection()
        self.subjects = self.recognition.get_subjects()
        self.http = httpx.Client(base_url=door.url, headers={"x-api-key": self.token}, timeout=60)


@pytest.fixture
def service(door: House, sdk: Any, request: pytest.FixtureRequest) -> Iterator[Service]:
    """Empty: its gallery is not even there."""
    made = Service(door, sdk, request.node.name.removeprefix("test_")[:64].lower().replace("[", "-").strip("]"))
    with made.http:
        yield made


@pytest.fixture(scope="module")
def known(door: House, sdk: Any) -> Iterator[Service]:
    """One that knows two people."""
    made = Service(door, sdk, "known")
    with made.http:
        for name, file in (("Barack Obama", OBAMA), ("Joe Biden", BIDEN)):
            assert made.faces.add(file.read_bytes(), name)["subject"] == name
        yield made


def test_somebody_is_enrolled_recognised_and_deleted_by_the_sdk(service: Service) -> None:
    added = service.faces.add(OBAMA.read_bytes(), "Barack Obama")
    assert differences(added, published.EXAMPLE) == []
    assert str(UUID(added["image_id"])) == added["image_id"]

    told = service.recognition.recognize(OBAMA_TOO.read_bytes())
    assert differences(told, published.RECOGNIZED) == []
    [best] = told["result"][0]["subjects"]
    assert best["subject"] == "Barack Obama"
    assert best["similarity"] > 0.5

    listed = service.faces.list()
    assert differences(listed, published.EXAMPLES) == []
    assert listed == {"faces": [added], "page_number": 0, "page_size": 20, "total_pages": 1, "total_elements": 1}
    assert service.http.get(f"{API}/faces/{added['image_id']}/img").content == OBAMA.read_bytes()

    assert service.faces.delete(added["image_id"]) == added
    assert service.faces.list()["total_elements"] == 0
    assert service.recognition.recognize(OBAMA_TOO.read_bytes())["result"][0]["subjects"] == []
    assert service.subjects.list() == {"subjects": ["Barack Obama"]}
    assert service.subjects.delete("Barack Obama") == {"subject": "Barack Obama"}
    assert service.subjects.list() == {"subjects": []}


def test_a_stranger_is_less_similar_than_a_half_to_everybody(service: Service) -> None:
    service.faces.add(OBAMA.read_bytes(), "Barack Obama")

    [best] = service.recognition.recognize(BIDEN.read_bytes())["result"][0]["subjects"]

    # The nearest, as CompreFace has it; clients take the first without looking whether there is one.
    assert best["subject"] == "Barack Obama"
    assert best["similarity"] < 0.5


def test_options_of_the_sdk_do_what_they_say(known: Service) -> None:
    all_of_it = {
        "limit": 0, "det_prob_threshold": 0.5, "prediction_count": 2, "face_plugins": "landmarks,age", "status": True,
    }  # fmt: skip
    told = known.recognition.recognize(TWO.read_bytes(), all_of_it)
    assert differences(told, published.RECOGNIZED) == []
    assert len(told["result"]) == 2
    for each in told["result"]:
        assert len(each["landmarks"]) == 5
        assert [len(point) for point in each["landmarks"]] == [2] * 5
        assert {subject["subject"] for subject in each["subjects"]} == {"Barack Obama", "Joe Biden"}
        similarities = [subject["similarity"] for subject in each["subjects"]]
        assert similarities == sorted(similarities, reverse=True)
        assert each["execution_time"].keys() == {"detector", "calculator"}
    assert told["plugins_versions"].keys() == {"detector", "calculator"}

    [one] = known.recognition.recognize(TWO.read_bytes(), {"limit": 1})["result"]
    assert "landmarks" not in one
    assert len(one["subjects"]) == 1
    assert area(one) == max(area(each) for each in told["result"])
    assert known.recognition.recognize(TWO.read_bytes(), {"det_prob_threshold": 1.0})["code"] == 28


def area(result: dict[str, Any]) -> int:
    box = result["box"]
    return (box["x_max"] - box["x_min"]) * (box["y_max"] - box["y_min"])


def test_a_face_is_verified_against_the_subject_of_an_image(known: Service) -> None:
    image_id = next(each["image_id"] for each in known.faces.list()["faces"] if each["subject"] == "Barack Obama")

    right = known.faces.verify(OBAMA_TOO.read_bytes(), image_id, {"status": True, "face_plugins": "landmarks"})
    wrong = known.faces.verify(BIDEN.read_bytes(), image_id)

    assert differences(right, published.VERIFIED) == []
    assert differences(wrong, published.VERIFIED) == []
    assert right["result"][0]["similarity"] > 0.5 > wrong["result"][0]["similarity"]
    unknown = known.faces.verify(BIDEN.read_bytes(), "6b135f5b-a365-4522-b1f1-4c9ac2dd0728")
    assert (unknown["code"], unknown["message"]) == (44, "Image 6b135f5b-a365-4522-b1f1-4c9ac2dd0728 not found")


def test_faces_are_detected_without_a_name(known: Service) -> None:
    told = known.detection.detect(TWO.read_bytes(), {"face_plugins": "landmarks", "status": True, "limit": 0})

    assert differences(told, published.DETECTED) == []
    assert len(told["result"]) == 2


def test_subjects_are_added_renamed_made_one_and_deleted(service: Service) -> None:
    for name in ("Ada Lovelace", "Grace/Hopper"):
        added = service.subjects.add(name)
        assert differences(added, published.SUBJECT) == []
    again = service.subjects.add("Ada Lovelace")
    assert (again["code"], differences(again, published.ERROR)) == (43, [])
    service.faces.add(OBAMA.read_bytes(), "B. O.")

    assert service.subjects.update("B. O.", "Barack Obama") == {"updated": True}
    assert service.subjects.update("Barack Obama", "Barack Obama") == {"updated": False}
    assert service.subjects.update("Grace/Hopper", "Ada Lovelace") == {"updated": True}
    assert service.subjects.list() == {"subjects": ["Ada Lovelace", "Barack Obama"]}
    assert service.subjects.update("nobody", "Somebody")["code"] == 42
    assert service.subjects.delete("nobody")["code"] == 42
    assert service.http.get(f"{API}/subjects/").json() == service.subjects.list()
    deleted = service.subjects.delete_all()
    assert (deleted, differences(deleted, published.DELETED)) == ({"deleted": 2}, [])


def test_examples_are_listed_by_page_and_deleted_by_subject_and_by_id(service: Service) -> None:
    ids = [service.faces.add(file.read_bytes(), "Obama")["image_id"] for file in (OBAMA, OBAMA_TOO)]
    other = service.faces.add(BIDEN.read_bytes(), "Biden")["image_id"]

    second = service.http.get(f"{API}/faces", params={"page": 1, "size": 2}).json()
    assert {key: value for key, value in second.items() if key != "faces"} == {
        "page_number": 1, "page_size": 2, "total_pages": 2, "total_elements": 3,
    }  # fmt: skip
    assert len(second["faces"]) == 1
    of_one = service.http.get(f"{API}/faces", params={"subject": "Biden"}).json()
    assert of_one["faces"] == [{"image_id": other, "subject": "Biden"}]

    gone = service.http.post(f"{API}/faces/delete", json=[ids[0], other, "6b135f5b-a365-4522-b1f1-4c9ac2dd0728"]).json()
    assert differences(gone, [published.EXAMPLE]) == []
    assert {each["image_id"] for each in gone} == {ids[0], other}
    assert service.faces.delete_all("Obama") == {"deleted": 1}
    assert service.faces.delete(ids[0])["code"] == 44
    assert service.http.get(f"{API}/faces/{ids[0]}/img").content == b""
    # Added once more, an example is there again.
    assert service.faces.add(OBAMA.read_bytes(), "Obama")["image_id"] == ids[0]
    assert service.http.delete(f"{API}/faces").json() == {"deleted": 1}


def test_what_cannot_be_done_is_told_in_numbers_of_compreface(known: Service) -> None:
    def refused(answer: httpx.Response, status: int, code: int) -> str:
        body = answer.json()
        assert differences(body, published.ERROR) == []
        assert (answer.status_code, body["code"]) == (status, code), body
        message: str = body["message"]
        return message

    http, form = known.http, {"file": ("a.jpg", OBAMA.read_bytes())}
    assert "api-key" in refused(httpx.post(f"{http.base_url}{API}/recognize", files=form), 401, 20).lower()
    wrong = {"x-api-key": "6b135f5b-a365-4522-b1f1-4c9ac2dd0728"}
    refused(httpx.post(f"{http.base_url}{API}/recognize", files=form, headers=wrong), 401, 10)
    refused(http.post(f"{API}/recognize", files={"file": ("a.jpg", b"no picture")}), 400, 21)
    refused(http.post(f"{API}/recognize", files={"image": ("a.jpg", b"x")}), 400, 34)
    refused(http.post(f"{API}/recognize", json={"file": "%%%"}), 400, 26)
    refused(http.post(f"{API}/recognize", files=form, params={"limit": -1}), 400, 26)
    refused(http.post(f"{API}/recognize", files=form, params={"det_prob_threshold": 2}), 400, 26)
    refused(http.post(f"{API}/recognize", files={"file": _blank()}), 400, 28)
    refused(http.post(f"{API}/faces", files=form), 400, 33)
    two = {"file": ("two.jpg", TWO.read_bytes())}
    refused(http.post(f"{API}/faces", files=two, params={"subject": "Both"}), 400, 31)
    sure = {"subject": "Sure", "det_prob_threshold": 1}
    refused(http.post(f"{API}/faces", files=form, params=sure), 400, 28)
    assert http.get(f"{API}/faces", params={"subject": "Sure"}).json()["total_elements"] == 0
    refused(http.get(f"{API}/nothing"), 404, 0)
    refused(http.delete(f"{API}/faces/no-uuid"), 400, 26)


def _blank() -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def test_pictures_come_in_base64_as_well(known: Service) -> None:
    body = {"file": base64.encodebytes(OBAMA_TOO.read_bytes()).decode()}

    told = known.http.post(f"{API}/recognize", json=body).json()

    assert told["result"][0]["subjects"][0]["subject"] == "Barack Obama"


def test_a_key_may_do_what_its_scopes_say_and_for_one_gallery(door: House, sdk: Any, known: Service) -> None:
    reader = Service(door, sdk, "known", Scope.READ)
    with reader.http as http:
        assert reader.subjects.list() == known.subjects.list()
        refused = http.post(f"{API}/recognize", files={"file": OBAMA.read_bytes()})
        assert refused.status_code == 403
        assert "submit" in refused.json()["message"]
    key, token = issue("two", (Scope.ADMIN,), galleries=("known", "other"))
    door.client.api_keys.add(key)
    of_two = httpx.get(f"{door.url}{API}/subjects", headers={"x-api-key": token})
    assert of_two.status_code == 403
    assert "one gallery" in of_two.json()["message"]


def test_double_take_trains_recognises_and_removes(service: Service) -> None:
    http = service.http
    # api/src/util/detectors/compreface.js: what it calls, and what it makes of the answers.
    trained = http.post(f"{API}/faces", params={"subject": "obama"}, files={"file": OBAMA.read_bytes()})
    assert trained.status_code == 201
    told = http.post(
        f"{API}/recognize", params={"det_prob_threshold": 0.8}, files={"file": OBAMA_TOO.read_bytes()}
    ).json()
    [result] = told["result"]
    confidence = round(float(result["subjects"][0]["similarity"]) * 100, 2)
    assert confidence >= 60, "its own threshold for a match"
    assert result["box"]["x_max"] - result["box"]["x_min"] > 0
    assert http.delete(f"{API}/faces", params={"subject": "obama"}).json() == {"deleted": 1}
    assert http.delete(f"{API}/faces", params={"subject": "never-trained"}).json() == {"deleted": 0}


def test_viseron_trains_anew_at_each_start_and_takes_the_first_subject(door: House, sdk: Any) -> None:
    # viseron/components/compreface: the options it always sends, training at start, and how it reads an answer.
    options = {"limit": 0, "det_prob_threshold": 0.8, "prediction_count": 1, "status": False}
    viseron = Service(door, sdk, "viseron", **options)
    with viseron.http:
        for _ in range(2):
            for name, file in (("obama", OBAMA), ("biden", BIDEN)):
                assert "message" not in viseron.faces.delete_all(name)
                assert "message" not in viseron.faces.add(image_path=file.read_bytes(), subject=name)
        detections = viseron.recognition.recognize(OBAMA_TOO.read_bytes())
    subject = detections["result"][0]["subjects"][0]
    assert subject["subject"] == "obama"
    assert subject["similarity"] >= 0.5

"""`kith up` with webhooks, MQTT and Frigate: a person on Frigate's camera, recognised by real workers and told of."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from typer.testing import CliRunner

from kith import cli
from kith.client import Client
from kith.jobs import Outcome
from kith.packs.shipped import default_pack
from kith.settings import load
from kith.stack import Stack, local_settings
from kith.synthetic.model import load as load_model
from kith.synthetic.people import People
from kith.synthetic.photograph import jpeg
from tests.servers.mosquitto import Listener, Mosquitto
from tests.servers.receivers import Frigate, Got, Reply, Server, served

pytestmark = pytest.mark.needs("mosquitto")

PATIENCE_S = 120.0
EVENT = "1607123955.475377-mxklsc"


@dataclass
class House:
    """A stack that was told of a broker and a Frigate."""

    stack: Stack
    client: Client
    frigate: Frigate
    mqtt: Mosquitto
    people: People

    def picture(self, person: int, shot: int) -> bytes:
        return jpeg(self.people.picture(person, shot))

    def run(self, *arguments: str) -> str:
        asked = ["--home", str(self.stack.settings.home), *arguments]
        result = CliRunner().invoke(cli.app, asked, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    def until(self, done: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while not done():
            assert time.monotonic() < deadline_s, self.log()
            time.sleep(0.05)

    def log(self) -> str:
        file = self.stack.log_of("outward-1")
        return file.read_text() if file.exists() else "it was not started"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, mosquitto: Mosquitto) -> Iterator[House]:
    home = tmp_path_factory.mktemp("outward")
    frigate = Frigate()
    with served(frigate.answer) as server:
        given = load(
            model={"pack": default_pack()},
            worker={"heartbeat_s": 0.5},
            # Busy machines are no subject of this test.
            jobs={"live_expiry_s": 60.0},
            watch={"gap_s": 1.0},
            webhooks={"private": True, "retry_s": 0.05, "retry_max_s": 0.2},
            mqtt=mosquitto.settings(topic="kith-house", discovery=False, double_take=True),
            frigate={"url": server.url},
        )
        settings = local_settings(given, home / "kith")
        with pytest.MonkeyPatch.context() as patch, Stack(settings) as stack, Client.open(settings) as client:
            # The command line has settings of its own.
            patch.setenv("KITH_WEBHOOKS__PRIVATE", "true")
            yield House(stack, client, frigate, mosquitto, People(load_model()))


def message(kind: str, at_s: float) -> bytes:
    """As Frigate sends it."""
    after = {
        "id": EVENT, "camera": "front_door", "label": "person", "false_positive": False, "frame_time": at_s,
        "snapshot": {"frame_time": at_s, "box": [0, 0, 100, 200], "score": 0.8}, "has_snapshot": True,
    }  # fmt: skip
    return json.dumps({"type": kind, "before": after, "after": after}).encode()


def test_who_is_on_frigate_s_camera_is_named_there_by_mqtt_by_webhook_and_as_double_take_does(house: House) -> None:
    pictures = [house.picture(3, shot) for shot in range(5)]
    decisions = house.client.enrol("Ada", pictures[:2])
    assert [each.outcome for each in decisions] == [Outcome.ENROLLED] * 2
    with served() as receiver, Listener(house.mqtt) as heard:
        only = ("--on", "event.new", "--on", "event.update", "--subject", "Ada")
        added = json.loads(house.run("webhook", "add", "desk", receiver.url, *only, "--json"))
        assert added["secret"].startswith("whsec_")
        house.until(lambda: b"online" in heard.of("kith-house/available"))
        for number, picture in enumerate(pictures[2:]):
            house.frigate.snapshots[EVENT] = picture
            heard.say("frigate/events", message("new" if number == 0 else "update", 1_700_000_000.0 + number))
            wanted = number + 1
            house.until(lambda wanted=wanted: len(_of_frigate(house)) >= wanted)  # type: ignore[misc]
        house.until(lambda: EVENT in house.frigate.labels)
        heard.say("frigate/events", message("end", 1_700_000_009.0))
        house.until(lambda: any(each["kind"] == "end" for each in _events(heard)))
        house.until(lambda: bool(receiver.got))

    name, score = house.frigate.labels[EVENT]
    assert name == "Ada"
    assert 0 < score <= 1
    kinds = [(each["kind"], each.get("subject")) for each in _events(heard)]
    assert kinds[-1] == ("end", "Ada")
    assert any(kind in ("new", "update") and subject == "Ada" for kind, subject in kinds)
    assert receiver.got[0].json["type"] in ("event.new", "event.update")
    assert receiver.got[0].json["event"]["subject"] == "Ada"
    assert "Ada" not in house.run("webhook", "list", "--json")
    [double, *_] = heard.of("double-take/matches/Ada")
    assert json.loads(double)["id"] == EVENT


def test_the_command_line_adds_tries_lists_pauses_replays_and_removes(house: House) -> None:
    answers: list[int] = [200]

    def answer(_: Got) -> Reply:
        return Reply(answers[-1])

    with served(answer) as receiver:
        webhook_id = _added(house, receiver, "log")
        assert "it answered 200" in house.run("webhook", "test", webhook_id)
        assert receiver.got[-1].json["type"] == "test"
        house.run("webhook", "replay", webhook_id, "--from", "start")
        kept = house.client.events.count()
        house.until(lambda: len({got.json["delivery"] for got in receiver.got if got.json["type"] != "test"}) == kept)
        answers.append(422)
        house.run("webhook", "replay", webhook_id, "--from", "start")
        house.until(lambda: _shown(house, webhook_id)["progress"]["dead"] == kept)
        assert f"{kept}" in house.run("webhook", "list")
        assert len(_shown(house, webhook_id)["dead_letters"]) == kept
        assert "Ada" not in json.dumps(_shown(house, webhook_id)["dead_letters"])
        answers.append(200)
        assert f"{kept} dead letters" in house.run("webhook", "replay", webhook_id, "--dead")
        house.until(lambda: _shown(house, webhook_id)["progress"]["dead"] == 0)
        assert "is paused" in house.run("webhook", "pause", webhook_id)
        assert "paused" in house.run("webhook", "list")
        assert "goes on" in house.run("webhook", "resume", webhook_id)
        text = house.run("webhook", "list", "--json") + house.run("webhook", "show", webhook_id)
        assert "hunter2" not in text
        assert "is removed" in house.run("webhook", "remove", webhook_id)
        assert webhook_id not in house.run("webhook", "list")
    actions = [entry.deed.detail["what"] for entry in house.client.audit.latest(50) if "webhook" in entry.deed.detail]
    assert actions[-6:] == ["replayed", "replayed", "dead letters again", "paused", "resumed", "removed"]
    assert "hunter2" not in str(house.client.audit.latest(50))


def test_the_command_line_changes_what_is_named_and_leaves_the_rest(house: House) -> None:
    def change(*arguments: str) -> dict[str, Any]:
        changed: dict[str, Any] = json.loads(house.run("webhook", "change", webhook_id, *arguments, "--json"))
        return changed

    with served() as first, served() as second:
        webhook_id = _added(house, first, "log")
        renamed = change(
            "--name", "door", "--on", "event.new", "--on", "decision", "-g", "default", "--camera", "front"
        )
        assert renamed["name"] == "door"
        wanted = {"kinds": ["event.new", "decision"], "galleries": ["default"], "cameras": ["front"], "subjects": []}
        assert renamed["wanted"] == wanted
        [person] = change("--subject", "Ada")["wanted"]["subjects"]
        moved = change("--url", f"{second.url}/in/hunter2", "--every", "camera", "--every", "gallery")
        assert moved["wanted"] == {**wanted, "galleries": [], "cameras": [], "subjects": [person]}
        assert change("--every", "subject")["wanted"]["subjects"] == []
        assert "it answered 200" in house.run("webhook", "test", webhook_id)
        assert (len(first.got), len(second.got)) == (0, 1)
        text = house.run("webhook", "change", webhook_id, "--name", "desk")
        assert text.startswith(f"webhook {webhook_id} (desk) tells http://127.0.0.1")
        assert "hunter2" not in text + json.dumps(moved)
        house.run("webhook", "remove", webhook_id)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [((), "say what is to change"), (("--camera", "front", "--every", "camera"), "either --camera or --every")],
    ids=["nothing", "both"],
)
def test_a_change_of_nothing_or_of_both_is_refused(house: House, arguments: tuple[str, ...], says: str) -> None:
    asked = ["--home", str(house.stack.settings.home), "webhook", "change", "wh000000000000", *arguments]
    result = CliRunner().invoke(cli.app, asked)
    assert (result.exit_code, says in " ".join(result.output.split())) == (2, True), result.output


def test_nothing_of_address_and_secret_stands_in_redis(house: House) -> None:
    with served() as receiver:
        added = json.loads(house.run("webhook", "add", "x", f"{receiver.url}/in/hunter2", "--json"))
        found = [value for _, _, value in house.client.erasure.values()]
        assert any(added["webhook_id"].encode() in value for value in found)
        assert not [value for value in found if b"hunter2" in value or added["secret"].encode() in value]
        house.run("webhook", "remove", added["webhook_id"])


def _of_frigate(house: House) -> list[Any]:
    found = house.client.results.after("0", limit=10_000)
    return [entry.decision for entry in found if (entry.decision.label or "").startswith("frigate:")]


def _events(heard: Listener) -> list[dict[str, Any]]:
    return [json.loads(each) for each in heard.of("kith-house/front_door/event")]


def _added(house: House, receiver: Server, name: str) -> str:
    return str(json.loads(house.run("webhook", "add", name, f"{receiver.url}/in/hunter2", "--json"))["webhook_id"])


def _shown(house: House, webhook_id: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(house.run("webhook", "show", webhook_id, "--json"))
    return found

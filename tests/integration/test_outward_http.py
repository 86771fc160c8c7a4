"""Deliveries to real HTTP servers, and Frigate's API as it is asked."""

import dataclasses
import json
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from kith.errors import ImageTooLarge, Misconfigured
from kith.outward.errors import DeliveryRefused, ReceiverAway
from kith.outward.frigate_api import FrigateApi
from kith.outward.knobs import Frigate as FrigateKnobs
from kith.outward.knobs import Webhooks
from kith.outward.posting import Post
from kith.outward.seals import Receiver
from kith.outward.signatures import verified
from tests.servers.fixtures import missing
from tests.servers.receivers import Frigate, Reply, Server, served

SECRET, BODY = "whsec_" + "x" * 43, b'{"type":"test"}'
EVENT = "1607123955.475377-mxklsc"


def post(timeout_s: float = 5.0) -> Post:
    return Post(Webhooks(private=True, timeout_s=timeout_s))


def test_a_delivery_arrives_signed_and_its_answer_is_heard() -> None:
    with served(lambda _: Reply(202)) as server:
        assert post().send(Receiver(f"{server.url}/in?key=1", SECRET), {"Kith-Type": "test"}, BODY) == 202
        [got] = server.got

    assert (got.method, got.path, got.body) == ("POST", "/in?key=1", BODY)
    assert got.headers["Content-Type"] == "application/json"
    assert got.headers["Kith-Type"] == "test"
    assert verified(SECRET, got.headers["Kith-Timestamp"], got.headers["Kith-Signature"], got.body, time.time())


def test_a_redirection_is_not_followed() -> None:
    with served() as aim, served(lambda _: Reply(307, headers={"Location": f"{aim.url}/in"})) as server:
        with pytest.raises(ReceiverAway, match="307"):
            post().send(Receiver(server.url, SECRET), {}, BODY)
        assert aim.got == []


def test_a_receiver_that_does_not_answer_takes_no_longer_than_it_may() -> None:
    with served(lambda _: Reply(200, after_s=60)) as server:
        began_s = time.monotonic()
        with pytest.raises(ReceiverAway, match=r"within 0\.3 s"):
            post(0.3).send(Receiver(server.url, SECRET), {}, BODY)
        assert time.monotonic() - began_s < 30


def test_nor_does_one_that_sends_a_byte_at_a_time() -> None:
    done = threading.Event()

    def drip(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while not done.wait(0.05):
                try:
                    connection.sendall(b"x")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=drip, args=(listening,))
        thread.start()
        try:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
            with pytest.raises(ReceiverAway, match=r"within 0\.5 s"):
                post(0.5).send(Receiver(url, SECRET), {}, BODY)
        finally:
            done.set()
            thread.join()


def test_nobody_there_and_somebody_who_speaks_something_else_are_tried_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.sendall(b"220 smtp.example.org ESMTP\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(ReceiverAway, match="cannot be reached"):
            post().send(Receiver(url, SECRET), {}, BODY)
        thread.join()
    with pytest.raises(ReceiverAway, match="Connection refused"):
        post().send(Receiver(url, SECRET), {}, BODY)


def test_inner_addresses_are_not_spoken_to_unless_that_is_allowed() -> None:
    with served() as server:
        port = server.url.rpartition(":")[2]
        outside = Post(Webhooks(), resolve=lambda _, __: ["127.0.0.1"])
        with pytest.raises(ReceiverAway, match="public"):
            outside.send(Receiver(f"https://desk.example.org:{port}/in", SECRET), {}, BODY)
        assert server.got == []


class TestFrigate:
    def api(self, server: Server, **knobs: object) -> FrigateApi:
        return FrigateApi(FrigateKnobs.model_validate({"url": server.url, "timeout_s": 5.0, **knobs}), 1000)

    def test_a_snapshot_is_fetched_cut_out_and_without_drawings(self) -> None:
        frigate = Frigate()
        frigate.snapshots[EVENT] = b"picture"
        with served(frigate.answer) as server:
            api = self.api(server)
            assert api.snapshot(EVENT) == b"picture"
            assert api.snapshot("1607123955.1-gone") is None
        assert server.got[0].path == f"/api/events/{EVENT}/snapshot.jpg?crop=1&quality=95&bbox=0&timestamp=0"

    def test_a_snapshot_that_is_too_large_is_not_read_to_its_end(self) -> None:
        frigate = Frigate()
        frigate.snapshots[EVENT] = b"x" * 1001
        with served(frigate.answer) as server, pytest.raises(ImageTooLarge, match=r"1000"):
            self.api(server).snapshot(EVENT)

    def test_a_sub_label_is_set_with_a_score_that_it_takes(self) -> None:
        frigate = Frigate()
        frigate.snapshots[EVENT] = b"picture"
        with served(frigate.answer) as server:
            api = self.api(server)
            for score, kept in ((0.6149, 0.61), (-0.2, 0.01), (1.0001, 1.0)):
                api.set_sub_label(EVENT, "Ada", score)
                assert frigate.labels[EVENT] == ("Ada", kept)

    @pytest.mark.parametrize(("longest", "kept"), [(100, 100), (20, 20)])
    def test_a_name_that_is_too_long_is_cut_to_what_its_version_takes(self, longest: int, kept: int) -> None:
        frigate = Frigate()
        frigate.longest, frigate.snapshots[EVENT] = longest, b"picture"
        with served(frigate.answer) as server:
            self.api(server).set_sub_label(EVENT, "A" * 200, 0.5)
        assert frigate.labels[EVENT][0] == "A" * kept

    def test_an_event_that_is_no_more_is_given_up(self) -> None:
        with served(Frigate().answer) as server, pytest.raises(DeliveryRefused, match="404"):
            self.api(server).set_sub_label(EVENT, "Ada", 0.5)

    def test_where_it_asks_who_one_is_one_logs_in_once(self) -> None:
        frigate = Frigate({"kith": ("hunter2", "admin")})
        frigate.snapshots[EVENT] = b"picture"
        with served(frigate.answer) as server:
            api = self.api(server, username="kith", password="hunter2")
            for _ in range(2):
                assert api.snapshot(EVENT) == b"picture"
                api.set_sub_label(EVENT, "Ada", 0.5)
        assert [got.path for got in server.got].count("/api/login") == 1
        assert frigate.labels == {EVENT: ("Ada", 0.5)}

    @pytest.mark.parametrize(
        ("knobs", "said"), [({}, "401"), ({"username": "kith", "password": "wrong"}, "login")], ids=["nobody", "wrong"]
    )
    def test_who_may_not_is_told_what_to_mend(self, knobs: dict[str, object], said: str) -> None:
        with served(Frigate({"kith": ("hunter2", "admin")}).answer) as server, pytest.raises(ReceiverAway, match=said):
            self.api(server, **knobs).set_sub_label(EVENT, "Ada", 0.5)

    def test_who_is_no_admin_there_is_told_so(self) -> None:
        frigate = Frigate({"kith": ("hunter2", "viewer")})
        with served(frigate.answer) as server, pytest.raises(ReceiverAway, match="admin"):
            self.api(server, username="kith", password="hunter2").set_sub_label(EVENT, "Ada", 0.5)

    def test_an_address_that_is_none_is_a_fault_of_the_settings(self) -> None:
        with pytest.raises(Misconfigured, match=r"frigate\.url"):
            FrigateApi(FrigateKnobs.model_validate({"url": "http://"}), 1000)


def test_the_receiver_that_the_docs_show_takes_what_is_ours_and_nothing_else(repository: Path) -> None:
    """The Python of docs/outward.md, as it stands there, on a port of its own."""
    text = (repository / "docs" / "outward.md").read_text()
    program = text.partition("```python\n")[2].partition("```")[0]
    names: dict[str, object] = {}
    exec(compile(program, "docs/outward.md", "exec"), names)  # the document is ours
    is_ours = names["is_ours"]
    assert callable(is_ours)
    with served() as server:
        post().send(Receiver(server.url, SECRET), {}, BODY)
        [got] = server.got

    headers = dict(got.headers)
    assert is_ours(headers, got.body, SECRET)
    assert not is_ours(headers, got.body + b" ", SECRET)
    assert not is_ours(headers, got.body, SECRET + "x")
    assert not is_ours({**headers, "Kith-Timestamp": str(int(time.time()) - 301)}, got.body, SECRET)
    assert not is_ours({}, got.body, SECRET)


@pytest.mark.needs("node")
def test_so_does_the_one_in_node(repository: Path, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        missing("node", "not found; run tests/servers/install")
    program = (repository / "docs" / "outward.md").read_text().partition("```js\n")[2].partition("```")[0]
    with served() as server:
        post().send(Receiver(server.url, SECRET), {}, BODY)
        [got] = server.got
    headers = {name.lower(): value for name, value in got.headers.items()}
    asked = [
        (headers, got.body.decode(), SECRET),
        (headers, got.body.decode() + " ", SECRET),
        (headers, got.body.decode(), SECRET + "x"),
        ({**headers, "kith-timestamp": str(int(time.time()) - 301)}, got.body.decode(), SECRET),
        ({}, got.body.decode(), SECRET),
    ]
    ask = "console.log(JSON.stringify(JSON.parse(process.argv[1]).map((each) => isOurs(...each))));"
    done = subprocess.run([node, "-e", program + ask, json.dumps(asked)], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [True, False, False, False, False]


def test_what_a_delivery_holds_stands_in_the_docs(repository: Path) -> None:
    text = (repository / "docs" / "outward.md").read_text()
    example = json.loads(text.partition("```json\n")[2].partition("```")[0])
    from kith.outward.messages import Item, delivery  # noqa: PLC0415
    from kith.webhooks import Source, Wanted, Webhook  # noqa: PLC0415
    from tests.told import event  # noqa: PLC0415

    hook = Webhook("wh1", "desk", "https://desk", "sealed", Wanted(), 0, "cli:me@here")
    _, body = delivery(hook, Item(Source.EVENTS, "1700000000000-0", event(subject="Ada")), late=False)
    assert set(example) == set(json.loads(body))
    assert dataclasses.is_dataclass(hook)

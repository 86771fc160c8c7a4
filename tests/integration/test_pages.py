"""The pages on a real stack: what is done at them is done, stands in the audit log, and can be taken back."""

import json
import re
import time
from collections.abc import Callable, Iterator
from html import unescape
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from kith.api_keys import Scope
from kith.audit import Action
from kith.jobs import Content, Kind, Outcome, now_ms
from kith.watching.events import Event, EventKind, Proof
from tests.http_door import House, crop, house, tell

PLACES = (
    "/start",
    "/live",
    "/live?source=decisions",
    "/gallery/{}",
    "/gallery/{}/history",
    "/gallery/{}/person?name=Ada Lovelace",
    "/gallery/{}/change?do=merge&name=Ada Lovelace&to=Grace Hopper",
    "/gallery/{}/forget?name=Ada Lovelace",
    "/strangers/{}",
    "/review/{}",
    "/cutoff/{}",
    "/system",
)


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("pages"), watch={"gap_s": 0.5}) as house_:
        yield house_


class Browser:
    """Somebody who is signed in, without scripts."""

    def __init__(self, door: House, *scopes: Scope, galleries: tuple[str, ...] = ()) -> None:
        caller = door.caller(*scopes, galleries=galleries)
        self.token = caller.headers["authorization"].removeprefix("Bearer ")
        self.key_id = self.token.split("_")[1]
        caller.close()
        self.client = httpx.Client(base_url=door.url, timeout=60, headers={"origin": door.url}, follow_redirects=True)
        assert self.client.post("/sign-in", data={"key": self.token}).status_code == 200

    def page(self, place: str, status: int = 200) -> str:
        answer = self.client.get(place)
        assert answer.status_code == status, answer.text
        return answer.text

    def csrf(self) -> str:
        return self.page("/start").partition('data-csrf="')[2].partition('"')[0]

    def send(
        self, place: str, status: int = 200, files: Any = None, headers: Any = None, **form: Any
    ) -> httpx.Response:
        answer = self.client.post(place, data={"csrf": self.csrf(), **form}, files=files, headers=headers)
        assert answer.status_code == status, answer.text
        return answer


@pytest.fixture(scope="module")
def signed_in(door: House) -> Iterator[Callable[..., Browser]]:
    """Signs somebody in with a key of these scopes and galleries; admin without scopes."""
    browsers: list[Browser] = []

    def opened(*scopes: Scope, galleries: tuple[str, ...] = ()) -> Browser:
        browsers.append(Browser(door, *scopes, galleries=galleries))
        return browsers[-1]

    yield opened
    for each in browsers:
        each.client.close()


@pytest.fixture(scope="module")
def desk(signed_in: Callable[..., Browser]) -> Browser:
    return signed_in()


_next = iter(range(1000))


@pytest.fixture
def gallery(door: House) -> str:
    """One of each test's own, with Ada and Grace in it."""
    name = f"p{next(_next)}"
    for person, subject in ((1, "Ada Lovelace"), (2, "Grace Hopper")):
        pictures = [crop(person, shot) for shot in range(2)]
        door.client.enrol(subject, pictures, gallery=name, content=Content.ALIGNED)
    return name


def names(door: House, gallery: str) -> list[tuple[str, int]]:
    return [(each.name, each.templates) for each in door.client.galleries.subjects(gallery)]


def deeds(door: House, browser: Browser, gallery: str) -> list[str]:
    """What the browser's key did to a gallery, oldest first."""
    found = door.client.audit.latest(100)
    return [
        each.deed.action.value
        for each in found
        if each.deed.actor == f"key:{browser.key_id}" and each.deed.gallery == gallery
    ]


def text_of(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html.partition("<main")[2])).split())


@pytest.mark.parametrize("place", PLACES)
def test_every_page_opens_is_strict_and_light(desk: Browser, gallery: str, place: str) -> None:
    answer = desk.client.get(place.format(gallery))

    assert answer.status_code == 200, answer.text
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src")
    assert " style=" not in answer.text
    assert "<style" not in answer.text
    assert re.search(r"<script(?! type=\"module\" src=\"/static/)", answer.text) is None
    linked = set(re.findall(r'(?:src|href)="(/static/[^"]+)"', answer.text))
    shown = {unescape(each) for each in re.findall(r'src="(/pictures/[^"]+)"', answer.text)}
    fetched = [desk.client.get(each) for each in linked | shown]
    assert all(each.status_code == 200 for each in fetched)
    # page.js and camera.js are loaded by others.
    assert len(answer.content) + sum(len(each.content) for each in fetched) + 4_000 < 100_000


def test_nobody_is_known_at_first_and_that_is_where_one_starts(signed_in: Callable[..., Browser]) -> None:
    browser = signed_in(Scope.ENROL, Scope.READ, galleries=("empty-one",))

    assert browser.client.get("/").url.path == "/start"
    assert "Nobody is known here yet" in browser.page("/gallery/empty-one")


def test_pictures_that_were_dropped_are_templates_and_say_how_good_they_are(
    door: House, desk: Browser, gallery: str
) -> None:
    files = [("images", ("one.png", crop(3))), ("images", ("two.png", crop(3, 1))), ("images", ("no.txt", b"hello"))]
    answer = desk.send(f"/gallery/{gallery}/enrol", files=files, headers={"x-part": "1"}, name=" Emmy Noether ").json()

    assert answer["made"] == 2
    said = text_of("<main>" + answer["html"])
    assert "2 pictures of Emmy Noether enrolled, 1 picture could not be used" in said
    assert "This is no picture that can be read" in said
    assert answer["html"].count("sharpness") >= 2
    assert ("Emmy Noether", 2) in names(door, gallery)
    assert Action.SUBMITTED.value in deeds(door, desk, gallery)


def test_without_scripts_the_form_enrols_as_well_and_can_be_taken_back(
    door: House, desk: Browser, gallery: str
) -> None:
    page = desk.send(f"/gallery/{gallery}/enrol", files=[("images", ("one.png", crop(3)))], name="Emmy").text

    assert "Emmy: 1 template enrolled, a new subject." in text_of(page)
    sequence = re.findall(r'name="sequence" value="(\d+)"', page)[0]
    desk.send(f"/gallery/{gallery}/undo", sequence=sequence)
    assert "Emmy" not in [name for name, _ in names(door, gallery)]


def test_who_is_on_a_picture_is_answered_with_the_score(desk: Browser, gallery: str) -> None:
    def asked(person: int) -> tuple[str | None, str]:
        files = [("images", ("look.png", crop(person, 7)))]
        answer = desk.send(f"/gallery/{gallery}/look", files=files, headers={"x-part": "1"}).json()
        return answer["subject"], text_of("<main>" + answer["html"])

    subject, said = asked(1)
    assert subject == "Ada Lovelace"
    assert "above the cutoff, so it is a match" in said
    subject, said = asked(50)
    assert subject is None
    assert "Nobody we know" in said


class TestChanges:
    def confirmed(self, desk: Browser, gallery: str, **asked: Any) -> str:
        query = "&".join(f"{name}={quote(value)}" for name, value in asked.items())
        page = desk.page(f"/gallery/{gallery}/change?{query}")
        fields = re.findall(
            r'<input type="hidden" name="(\w+)" value="([^"]*)">', page.partition('class="row decide"')[2]
        )
        form: dict[str, Any] = {}
        for name, value in fields:
            form.setdefault(name, []).append(unescape(value))
        desk.send(f"/gallery/{gallery}/change", **{name: each for name, each in form.items() if name != "csrf"})
        return text_of(page)

    def undo(self, desk: Browser, door: House, gallery: str) -> None:
        sequence = door.client.galleries.info(gallery).sequence
        desk.send(f"/gallery/{gallery}/undo", sequence=sequence)

    def test_a_merge_says_first_whom_it_would_change_and_is_undone(
        self, door: House, desk: Browser, gallery: str
    ) -> None:
        door.client.identify([crop(1, 5)], gallery=gallery, content=Content.ALIGNED)
        before = names(door, gallery)
        said = self.confirmed(desk, gallery, do="merge", name="Ada Lovelace", to="Grace Hopper")

        assert "Of 1 face decided in the last 24 hours, 1 would be answered otherwise" in said
        assert names(door, gallery) == [("Grace Hopper", 4)]
        self.undo(desk, door, gallery)
        assert names(door, gallery) == before
        assert [each for each in deeds(door, desk, gallery) if each != "looked"] == ["moved", "undone"]

    def test_somebody_is_renamed(self, door: House, desk: Browser, gallery: str) -> None:
        self.confirmed(desk, gallery, do="rename", name="Ada Lovelace", to="Augusta <King> & co")

        assert ("Augusta <King> & co", 2) in names(door, gallery)
        assert "Augusta <King> & co" in text_of(desk.page(f"/gallery/{gallery}"))

    def test_templates_are_moved_and_removed(self, door: House, desk: Browser, gallery: str) -> None:
        [first, second] = door.client.galleries.show(gallery, "Ada Lovelace").templates
        self.confirmed(desk, gallery, do="move", name="Ada Lovelace", to="Emmy", t=first.template_id)
        assert names(door, gallery) == [("Ada Lovelace", 1), ("Emmy", 1), ("Grace Hopper", 2)]
        self.confirmed(desk, gallery, do="remove", name="Ada Lovelace", t=second.template_id)
        assert names(door, gallery) == [("Ada Lovelace", 0), ("Emmy", 1), ("Grace Hopper", 2)]
        said = text_of(desk.page(f"/gallery/{gallery}/history"))
        assert "1 template of Ada Lovelace moved to Emmy, a new subject" in said
        assert "Ada Lovelace: 1 template removed" in said

    def test_an_older_change_is_undone_from_the_history(self, door: House, desk: Browser, gallery: str) -> None:
        sequence = door.client.galleries.rename(gallery, "Ada Lovelace", "Augusta")
        said = self.confirmed(desk, gallery, do="undo", sequence=str(sequence))

        assert "Augusta called Ada Lovelace again" in said
        assert ("Ada Lovelace", 2) in names(door, gallery)

    @pytest.mark.parametrize(
        ("query", "status", "said"),
        [
            ("do=merge&name=Ada Lovelace&to=Nobody", 404, "Nobody"),
            ("do=merge&name=Ada Lovelace&to=Ada Lovelace", 409, "same subject"),
            ("do=rename&name=Ada Lovelace&to=Grace Hopper", 409, "Choose another name, or merge"),
            ("do=rename&name=Ada Lovelace&to=", 422, "The other name is missing"),
            ("do=move&name=Ada Lovelace&to=Emmy", 422, "No picture is ticked"),
            ("do=undo&sequence=9999", 409, "does not reach back"),
            ("do=undo&sequence=x", 422, "names no change"),
            ("do=explode", 422, "which change is meant"),
        ],
    )
    def test_what_cannot_be_done_is_said_before_it_is_asked_for(
        self, desk: Browser, gallery: str, query: str, status: int, said: str
    ) -> None:
        assert said in text_of(desk.page(f"/gallery/{gallery}/change?{query}", status))

    def test_forgetting_takes_the_name_and_gives_a_receipt(self, door: House, desk: Browser, gallery: str) -> None:
        wrong = desk.send(f"/gallery/{gallery}/forget", 422, name="Ada Lovelace", typed="Ada")
        assert "Nothing was erased" in wrong.text
        assert ("Ada Lovelace", 2) in names(door, gallery)

        done = desk.send(f"/gallery/{gallery}/forget", name="Ada Lovelace", typed="Ada Lovelace").text

        assert names(door, gallery) == [("Grace Hopper", 2)]
        receipt = json.loads(unescape(done.partition("readonly")[2].partition(">")[2].partition("</textarea>")[0]))
        assert receipt["kith_receipt"] == 1
        assert 'download="receipt.json"' in done
        assert "forgot" in deeds(door, desk, gallery)


def test_who_may_only_read_sees_no_button_and_can_change_nothing(
    door: House, signed_in: Callable[..., Browser], gallery: str
) -> None:
    reader = signed_in(Scope.READ, galleries=(gallery,))
    page = reader.page(f"/gallery/{gallery}/person?name=Ada Lovelace")

    assert "Rename" not in page
    assert 'href="/system"' not in page, "that is for keys of all galleries"
    assert 'type="file"' not in page
    for place, form in (
        ("change", {"do": "rename", "name": "Ada Lovelace", "to": "X"}),
        ("forget", {"name": "Ada Lovelace", "typed": "Ada Lovelace"}),
        ("enrol", {"name": "X"}),
    ):
        answer = reader.client.post(f"/gallery/{gallery}/{place}", data={"csrf": _csrf(page), **form})
        assert answer.status_code == 403
    assert reader.client.post(f"/cutoff/{gallery}", data={"csrf": _csrf(page), "how": "clear"}).status_code == 403
    assert names(door, gallery) == [("Ada Lovelace", 2), ("Grace Hopper", 2)]
    assert reader.client.get("/gallery/default").status_code == 403
    assert reader.client.get("/system").status_code == 403


class TestLive:
    def test_visits_are_there_and_filtered(self, door: House, desk: Browser, gallery: str) -> None:
        for number, (camera, subject) in enumerate((("front", "Ada Lovelace"), ("yard", None))):
            proof = Proof(2, (), "crops", nearest="Ada Lovelace", score=0.31 + number, cutoff=0.42)
            event = Event(
                f"{gallery}-{number}", EventKind.NEW, gallery, now_ms(), camera=camera, subject=subject,
                stranger=None if subject else "stranger-9", evidence=proof,
            )  # fmt: skip
            tell(door.client.settings, event)

        said = text_of(desk.page(f"/live?gallery={gallery}"))
        assert "Ada Lovelace is here front" in said
        assert "Stranger 9 is here yard" in said
        assert "0.31 / 0.42" in said
        assert "Ada Lovelace is here" not in text_of(desk.page(f"/live?gallery={gallery}&show=strangers"))
        assert "Stranger 9" not in text_of(desk.page(f"/live?gallery={gallery}&camera=front"))

    def test_what_comes_is_told_as_it_is_shown_and_what_was_missed_first(
        self, door: House, desk: Browser, gallery: str
    ) -> None:
        place = tell(door.client.settings, Event(f"{gallery}-a", EventKind.NEW, gallery, now_ms(), subject="Ada"))
        missed = tell(door.client.settings, Event(f"{gallery}-b", EventKind.NEW, gallery, now_ms(), subject="Grace"))
        with desk.client.stream("GET", f"/live/stream?gallery={gallery}&after={place}") as stream:
            lines = stream.iter_lines()
            assert _entry(lines) == (missed, "Grace")
            tell(door.client.settings, Event("x", EventKind.NEW, "other", now_ms(), subject="Nobody of ours"))
            live = tell(door.client.settings, Event(f"{gallery}-c", EventKind.END, gallery, now_ms(), subject="Emmy"))
            assert _entry(lines) == (live, "Emmy")

    def test_decisions_are_shown_as_well(self, door: House, desk: Browser, gallery: str) -> None:
        door.client.identify([crop(1, 5), crop(60)], gallery=gallery, content=Content.ALIGNED)

        said = text_of(desk.page(f"/live?source=decisions&gallery={gallery}"))
        assert "Nobody we know" in said
        assert said.count("Ada Lovelace") >= 1


class TestReview:
    def test_what_is_said_of_an_answer_near_the_cutoff_is_kept_and_taken_back(
        self, door: House, desk: Browser, gallery: str
    ) -> None:
        client = door.client
        [decision] = client.identify([crop(1, 5)], gallery=gallery, content=Content.ALIGNED)
        assert decision.face is not None
        assert decision.face.score is not None
        assert "Nothing to review" in desk.page(f"/review/{gallery}")
        settings = client.galleries.info(gallery).settings
        client.galleries.configure(gallery, type(settings)(cutoff=decision.face.score - 0.05))
        [near] = client.identify(
            [crop(1, 6)], gallery=gallery, content=Content.ALIGNED, min_sequence=client.galleries.info(gallery).sequence
        )
        assert near.outcome is Outcome.MATCH

        assert near.decision_id in desk.page(f"/review/{gallery}")
        page = desk.send(f"/review/{gallery}", decision=near.decision_id, verdict="right").text
        assert f'value="{near.decision_id}"' in page, "it can be taken back"
        [sample] = client.samples.samples(gallery)
        assert (sample.decision_id, sample.truth.value) == (near.decision_id, "mated")
        assert near.decision_id not in desk.page(f"/review/{gallery}")
        desk.send(f"/review/{gallery}", decision=near.decision_id, verdict="withdraw")
        assert client.samples.count(gallery) == 0
        wrong = {"decision": near.decision_id, "verdict": "wrong", "actually": "Grace Hopper"}
        desk.send(f"/review/{gallery}", headers={"x-part": "1"}, **wrong)
        assert client.samples.samples(gallery)[0].truth.value == "mistaken"
        assert deeds(door, desk, gallery).count("judged") == 3

    @pytest.mark.parametrize(
        ("form", "status"),
        [
            ({"decision": "x", "verdict": "right"}, 422),
            ({"decision": f"{'0' * 32}:0", "verdict": "right"}, 404),
            ({"decision": f"{'0' * 32}:0", "verdict": "maybe"}, 422),
            ({"decision": f"{'0' * 32}:0", "verdict": "wrong", "other": "yes"}, 422),
        ],
    )
    def test_what_says_nothing_is_refused(self, desk: Browser, gallery: str, form: dict[str, str], status: int) -> None:
        desk.send(f"/review/{gallery}", status, **form)


class TestCutoff:
    def test_it_is_tried_set_and_cleared(self, door: House, desk: Browser, gallery: str) -> None:
        door.client.identify([crop(1, 5)], gallery=gallery, content=Content.ALIGNED)
        page = desk.page(f"/cutoff/{gallery}")
        assert '<svg class="histogram"' in page
        assert "from 4 searches" in text_of(page)

        part = desk.client.get(f"/cutoff/{gallery}?at=0.9999", headers={"x-part": "1"}).text
        assert "1 would not be named any more" in text_of("<main>" + part)
        assert "<html" not in part
        assert "The cutoff is 0.5000 now" in text_of(desk.send(f"/cutoff/{gallery}", how="cutoff", cutoff="0,5").text)
        assert door.client.galleries.info(gallery).cutoff == 0.5
        desk.send(f"/cutoff/{gallery}", how="fpir", percent="10")
        assert door.client.galleries.info(gallery).settings.fpir == 0.1
        desk.send(f"/cutoff/{gallery}", how="clear")
        assert door.client.galleries.info(gallery).cutoff is None

    def test_a_gallery_nobody_is_in_yet_has_its_pages_all_the_same(self, desk: Browser) -> None:
        assert "Nobody is known here yet" in text_of(desk.page("/cutoff/nobodys"))
        assert "No changes are kept" in text_of(desk.page("/gallery/nobodys/history"))

    @pytest.mark.parametrize(
        "form", [{"how": "cutoff", "cutoff": "2"}, {"how": "fpir", "percent": "nan"}, {"how": "x"}, {}]
    )
    def test_what_it_cannot_be_is_refused(self, desk: Browser, gallery: str, form: dict[str, str]) -> None:
        desk.send(f"/cutoff/{gallery}", 422, **form)


def test_a_browser_at_an_address_with_nothing_is_told_in_words_and_a_program_in_json(desk: Browser) -> None:
    answer = desk.client.get("/nowhere", headers={"accept": "text/html,*/*;q=0.8"})
    assert answer.status_code == 404
    assert "There is nothing here" in text_of(answer.text)
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert desk.client.get("/v1/nowhere").json()["code"] == "not_found"


def test_an_address_that_cannot_be_is_refused_without_the_words_of_programs(desk: Browser) -> None:
    said = text_of(desk.page("/gallery/No!Such", 422))
    assert "the address or the form holds what cannot be: gallery" in said.replace("The address", "the address")
    assert "pattern" not in said
    assert "openapi" not in said


def test_a_page_beyond_the_last_is_the_last(desk: Browser, gallery: str) -> None:
    assert "Ada Lovelace" in text_of(desk.page(f"/gallery/{gallery}?page=99"))


def test_dead_letters_are_retried_and_deleted(door: House, desk: Browser, gallery: str) -> None:
    client = door.client
    job = client.intake.job(Kind.IDENTIFY, [client.put(crop(1))], gallery=gallery, model_id="nobodys")
    client.submit(job)
    _until(lambda: client.ledger.dead_count() == 1)
    said = text_of(desk.page("/system"))
    assert "Model mismatch" in said
    assert job.job_id in said

    answer = desk.send(f"/system/dead/{job.job_id}/retry")
    assert "Tried again" in answer.text
    _until(lambda: client.ledger.dead_count() == 1)
    desk.send("/system/dead/retry-all")
    _until(lambda: client.ledger.dead_count() == 1)
    assert "nothing was deleted" in desk.send(f"/system/dead/{job.job_id}/drop", 422).text
    assert client.ledger.dead_count() == 1
    assert "that job will not be done" in desk.send(f"/system/dead/{job.job_id}/drop", sure="yes").text
    assert client.ledger.dead_count() == 0
    assert "every job that was accepted was decided" in text_of(desk.page("/system"))
    actions = [each.deed.action.value for each in client.audit.latest(100) if each.deed.actor == f"key:{desk.key_id}"]
    assert actions.count("dead_retried") == 2
    assert actions.count("dead_dropped") == 1


def test_who_signs_out_hears_no_more(signed_in: Callable[..., Browser]) -> None:
    browser = signed_in(Scope.READ)
    cookie = browser.client.cookies["kith_session"]
    browser.client.post("/sign-out", data={"csrf": _csrf(browser.page("/live"))})

    browser.client.cookies.set("kith_session", cookie)
    assert browser.client.get("/live").url.path == "/sign-in"


def _csrf(page: str) -> str:
    return page.partition('data-csrf="')[2].partition('"')[0]


def _entry(lines: Iterator[str]) -> tuple[str, str]:
    """Place and name of the next one."""
    place = ""
    for line in lines:
        if line.startswith("id: "):
            place = line[4:]
        if line.startswith("data: "):
            html = json.loads(line[6:])["html"]
            return place, re.sub(r"<[^>]*>", "", html.partition('class="name">')[2].partition("<span")[0]).strip()
    raise AssertionError("the stream ended")


def _until(ready: Any) -> None:

    deadline_s = time.monotonic() + 30
    while not ready():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)

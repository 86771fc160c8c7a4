"""The pages by themselves: words, drawings, forged forms, sign-in. Nothing listens here, and no server answers."""

import asyncio
import io
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image

from kith.api_keys import ApiKey, Scope, issue, revoke
from kith.backends.api_keys_memory import MemoryApiKeys
from kith.backends.rates_memory import MemoryRates
from kith.backends.sessions_memory import MemorySessions
from kith.errors import ImageTooLarge, UnknownGallery
from kith.images import inspect
from kith.jobs import Decision, Face, Kind, Lane, Outcome, Quality
from kith.settings import Limits, Settings
from kith.watching.events import Event, EventKind
from producers.api.app import create_app
from producers.api.doors import Doors
from producers.api.pages import words
from producers.api.pages.distributions import Distributions, Rate, Weighted
from producers.api.pages.files import made_small
from producers.api.pages.gauges import bar, gauge
from producers.api.pages.histogram import Series, histogram
from producers.api.pages.live import Wanted
from producers.api.pages.newest import newest
from producers.api.pages.rendering import Pages
from producers.api.pages.signing import own_place
from producers.api.pages.visitors import COOKIE

NASTY = '"><script>alert(1)</script>'


class NoGalleries:
    """A store in which nobody is."""

    def galleries(self) -> list[Any]:
        return []

    def info(self, name: str) -> Any:
        raise UnknownGallery(f"there is no gallery {name}")

    subjects = info


@dataclass
class Desk:
    """An application without servers, and what it keeps."""

    app: FastAPI
    keys: MemoryApiKeys
    undone: list[tuple[str, int]]

    def key(self, *scopes: Scope, galleries: tuple[str, ...] = ()) -> tuple[ApiKey, str]:
        key, token = issue("desk", scopes or (Scope.ADMIN,), galleries=galleries)
        self.keys.add(key)
        return key, token

    def ask(self, method: str, path: str, **how: Any) -> httpx.Response:
        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://kith.test") as client:
                return await client.request(method, path, **how)

        return asyncio.run(asked())

    def post(self, path: str, form: dict[str, str], cookie: str = "", **headers: str) -> httpx.Response:
        said = {"origin": "http://kith.test"} | {name.replace("_", "-"): value for name, value in headers.items()}
        if cookie:
            said["cookie"] = f"{COOKIE}={cookie}"
        return self.ask("POST", path, data=form, headers={name: value for name, value in said.items() if value})

    def signed_in(self, token: str) -> str:
        """The cookie."""
        answer = self.post("/sign-in", {"key": token})
        assert answer.status_code == 303, answer.text
        return answer.cookies[COOKIE]

    def csrf(self, cookie: str) -> str:
        page = self.ask("GET", "/gallery/default", headers={"cookie": f"{COOKIE}={cookie}"})
        assert page.status_code == 200, page.text
        return page.text.partition('data-csrf="')[2].partition('"')[0]


@pytest.fixture(scope="module")
def one_desk() -> Desk:
    """Made once: an application takes longer to make than a test to run."""
    settings, keys, undone = Settings(), MemoryApiKeys(), list[tuple[str, int]]()

    class Galleries(NoGalleries):
        def undo(self, name: str, sequence: int) -> int:
            undone.append((name, sequence))
            return sequence + 1

    stream = SimpleNamespace(position=lambda: "0-0", after=lambda *_, **__: [])
    client: Any = SimpleNamespace(
        settings=settings, api_keys=keys, galleries=Galleries(), results=stream, events=stream, ledger=None,
        intake=SimpleNamespace(offer=None),
    )  # fmt: skip
    client.acting_as = lambda _: client
    return Desk(create_app(Doors(client, MemoryRates(), MemorySessions())), keys, undone)


@pytest.fixture
def desk(one_desk: Desk) -> Desk:
    one_desk.undone.clear()
    return one_desk


class TestSigningIn:
    def test_the_cookie_is_for_the_browser_alone(self, desk: Desk) -> None:
        _, token = desk.key()
        answer = desk.post("/sign-in", {"key": f" {token}\n", "next": "/gallery/staff"})

        assert (answer.status_code, answer.headers["location"]) == (303, "/gallery/staff")
        said = answer.headers["set-cookie"].lower()
        assert "httponly" in said
        assert "samesite=lax" in said
        assert "max-age=43200" in said
        assert "secure" not in said
        assert token not in answer.headers["set-cookie"]
        behind_tls = desk.post("/sign-in", {"key": token}, x_forwarded_proto="https")
        assert "secure" in behind_tls.headers["set-cookie"].lower()

    @pytest.mark.parametrize("wrong", ["", "kith_0123456789ab_" + "a" * 43, "hello", NASTY])
    def test_what_opens_nothing_is_said_in_the_form_and_not_repeated(self, desk: Desk, wrong: str) -> None:
        answer = desk.post("/sign-in", {"key": wrong})

        assert answer.status_code == 401
        assert 'role="alert"' in answer.text
        assert "set-cookie" not in answer.headers
        assert not wrong or wrong not in answer.text

    def test_who_tries_wrong_secrets_for_a_key_is_slowed_down(self, desk: Desk) -> None:
        key, _ = desk.key()
        answers = [desk.post("/sign-in", {"key": f"kith_{key.key_id}_{'b' * 43}"}).status_code for _ in range(12)]

        assert set(answers[:10]) == {401}
        assert answers[-1] == 429

    def test_a_session_ends_with_its_key_and_with_signing_out(self, desk: Desk) -> None:
        key, token = desk.key()
        first, second = desk.signed_in(token), desk.signed_in(token)

        assert desk.post("/sign-out", {"csrf": desk.csrf(first)}, first).headers["location"] == "/sign-in"
        assert self._where(desk, first) == "/sign-in?next=/gallery/default&why=time"
        assert desk.csrf(second)
        revoke(desk.keys, key.key_id)
        # A page asks for many things at once; each is told the same.
        for _ in range(2):
            assert self._where(desk, second) == "/sign-in?next=/gallery/default&why=ended"

    def test_who_is_not_signed_in_comes_back_to_where_they_were_going(self, desk: Desk) -> None:
        answer = desk.ask("GET", "/gallery/default?q=Ada&page=2")

        assert answer.headers["location"] == "/sign-in?next=/gallery/default%3Fq%3DAda%26page%3D2"
        part = desk.ask("GET", "/gallery/default", headers={"x-part": "1"})
        assert (part.status_code, part.json()["remedy"]) == (401, "Sign in again.")

    def test_no_token_of_the_api_opens_a_page_and_no_cookie_the_api(self, desk: Desk) -> None:
        _, token = desk.key()
        assert desk.ask("GET", "/gallery/default", headers={"x-api-key": token}).status_code == 303
        cookie = desk.signed_in(token)
        assert desk.ask("GET", "/v1/galleries", headers={"cookie": f"{COOKIE}={cookie}"}).status_code == 401

    @pytest.mark.parametrize(
        "elsewhere",
        [
            "//evil.example",
            "///evil.example",
            "https://evil.example",
            "/\\evil.example",
            "\\/evil",
            "javascript:alert(1)",
            "",
            "/a\nb",
            "x",
        ],
    )
    def test_nobody_is_sent_elsewhere_by_a_link_to_the_sign_in(self, elsewhere: str) -> None:
        assert own_place(elsewhere) == "/"
        assert own_place("/live?show=known") == "/live?show=known"

    def test_a_reason_that_somebody_wrote_into_the_address_is_not_repeated(self, desk: Desk) -> None:
        assert "Send your key to" not in desk.ask("GET", "/sign-in?why=Send your key to evil.example").text
        assert "signed out" in desk.ask("GET", "/sign-in?why=time").text

    def _where(self, desk: Desk, cookie: str) -> str:
        answer = desk.ask("GET", "/gallery/default", headers={"cookie": f"{COOKIE}={cookie}"})
        return answer.headers["location"]


class TestForgedForms:
    def test_a_form_of_our_own_page_is_taken(self, desk: Desk) -> None:
        cookie = desk.signed_in(desk.key()[1])
        answer = desk.post("/gallery/default/undo", {"csrf": desk.csrf(cookie), "sequence": "7"}, cookie)

        assert answer.headers["location"] == "/gallery/default?done=8"
        assert desk.undone == [("default", 7)]

    @pytest.mark.parametrize(
        ("headers", "said"),
        [
            ({"origin": "http://evil.example"}, "another site"),
            ({"origin": "null"}, "another site"),
            ({"origin": ""}, "does not say"),
            ({"sec_fetch_site": "cross-site"}, "another site"),
            ({"sec_fetch_site": "same-site"}, "another site"),
            ({"sec_fetch_site": "none"}, "another site"),
        ],
    )
    def test_one_that_another_site_sent_is_refused_even_with_the_word(
        self, desk: Desk, headers: dict[str, str], said: str
    ) -> None:
        cookie = desk.signed_in(desk.key()[1])
        answer = desk.post("/gallery/default/undo", {"csrf": desk.csrf(cookie), "sequence": "7"}, cookie, **headers)

        assert answer.status_code == 403
        assert said in answer.text
        assert not desk.undone
        assert desk.post("/sign-in", {"key": "x"}, **headers).status_code == 403

    @pytest.mark.parametrize("word", ["", "0" * 64, "other", "é"])
    def test_one_without_the_session_s_own_word_is_refused(self, desk: Desk, word: str) -> None:
        token = desk.key()[1]
        cookie, other = desk.signed_in(token), desk.signed_in(token)
        if word == "other":
            word = desk.csrf(other)
        answer = desk.post("/gallery/default/undo", {"csrf": word, "sequence": "7"}, cookie)

        assert answer.status_code == 403
        assert not desk.undone

    def test_behind_a_proxy_the_name_people_know_counts(self, desk: Desk) -> None:
        cookie = desk.signed_in(desk.key()[1])
        form = {"csrf": desk.csrf(cookie), "sequence": "7"}
        said = {"origin": "https://faces.example", "x_forwarded_host": "faces.example"}

        assert desk.post("/gallery/default/undo", form, cookie, **said).status_code == 303


class TestScopes:
    @pytest.mark.parametrize("scope", [Scope.READ, Scope.SUBMIT])
    def test_who_may_not_change_a_gallery_cannot(self, desk: Desk, scope: Scope) -> None:
        cookie = desk.signed_in(desk.key(Scope.READ, scope)[1])
        answer = desk.post("/gallery/default/undo", {"csrf": desk.csrf(cookie), "sequence": "7"}, cookie)

        assert answer.status_code == 403
        assert "Sign in with a key that has it." in answer.text
        assert not desk.undone

    def test_a_gallery_that_is_not_the_key_s_is_closed(self, desk: Desk) -> None:
        cookie = desk.signed_in(desk.key(Scope.READ, Scope.ENROL, galleries=("staff",))[1])
        headers = {"cookie": f"{COOKIE}={cookie}"}

        for place in ("/gallery/default", "/strangers/default", "/review/default", "/cutoff/default", "/system"):
            assert desk.ask("GET", place, headers=headers).status_code == 403, place
        page = desk.ask("GET", "/gallery/staff", headers=headers)
        assert page.status_code == 200
        csrf = page.text.partition('data-csrf="')[2].partition('"')[0]
        assert desk.post("/gallery/default/undo", {"csrf": csrf, "sequence": "7"}, cookie).status_code == 403
        assert not desk.undone

    def test_who_may_only_ask_is_shown_the_start(self, desk: Desk) -> None:
        headers = {"cookie": f"{COOKIE}={desk.signed_in(desk.key(Scope.SUBMIT)[1])}"}

        assert desk.ask("GET", "/", headers=headers).headers["location"] == "/start"
        assert "may not enrol" in desk.ask("GET", "/start", headers=headers).text
        assert desk.ask("GET", "/live", headers=headers).status_code == 403


class TestHeaders:
    @pytest.mark.parametrize("place", ["/sign-in", "/gallery/default", "/start", "/gallery/NO", "/pictures/zz/1"])
    def test_every_answer_keeps_browsers_strict(self, desk: Desk, place: str) -> None:
        cookie = desk.signed_in(desk.key()[1])
        answer = desk.ask("GET", place, headers={"cookie": f"{COOKIE}={cookie}"})

        policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == "'self'"
        assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "<style" not in answer.text
        assert " style=" not in answer.text
        assert "javascript:" not in answer.text
        assert answer.text.count("<script") == answer.text.count('<script type="module" src="/static/')

    def test_styles_and_scripts_are_kept_for_good_under_their_digest(self, desk: Desk) -> None:
        pages: Pages = desk.app.state.pages
        place = pages.assets.place("page.js")
        answer = desk.ask("GET", place)

        assert answer.headers["content-type"].startswith("text/javascript")
        assert "immutable" in answer.headers["cache-control"]
        assert desk.ask("GET", place.replace(pages.assets.version, "old")).headers["cache-control"] == "no-cache"
        assert desk.ask("GET", "/static/x/..%2Frendering.py").status_code == 404

    def test_a_fault_of_ours_is_told_as_one_and_nothing_else(
        self, desk: Desk, caplog: pytest.LogCaptureFixture
    ) -> None:
        cookie = desk.signed_in(desk.key()[1])
        part = {"cookie": f"{COOKIE}={cookie}", "x-part": "1"}
        answer = desk.ask("GET", "/cutoff/default", headers=part)
        assert answer.status_code == 404, "a gallery that is not there is no fault"

        answer = desk.ask("GET", "/strangers/default", headers={"cookie": f"{COOKIE}={cookie}"})
        assert answer.status_code == 500
        assert "AttributeError" not in answer.text
        assert answer.headers["x-request-id"] in answer.text
        assert "AttributeError" in caplog.text


class TestRendering:
    def test_a_name_is_text_whatever_it_holds(self) -> None:
        pages = Pages()
        event = Event("e", EventKind.NEW, "staff", 0, subject=NASTY, camera="front")
        decision = _decision(Outcome.MATCH, NASTY, 0.7, label=NASTY)
        for html in (
            pages.part("_event.html", event=event, picture="", score=0.5, cutoff=0.4, nearest=NASTY),
            pages.part("_decision.html", decision=decision, picture=""),
            pages.part("_looked.html", decision=decision, picture="", gallery="staff"),
            pages.part("_enrolled.html", cards=[(decision, "")], gallery="g", name=NASTY, made=0, place="/"),
        ):
            assert "<script" not in html
            assert "&lt;script&gt;" in html

    @pytest.mark.parametrize("kind", list(EventKind))
    def test_every_kind_of_event_is_said_in_words(self, kind: EventKind) -> None:
        event = Event("e", kind, "staff", 0, stranger="stranger-17", was="stranger-3", into="stranger-2", why="dark")

        said = f"{words.who(event)} {words.happened(event)}"
        assert said.startswith("Stranger 17 ")
        assert "None" not in said
        assert "stranger-" not in said

    def test_what_is_wrong_with_a_picture_is_advice(self) -> None:
        assert words.advice(Quality(0.9, 1, 1, 1, 1)) == []
        assert [said.split()[0] for said in words.advice(Quality(0.0, 0.1, 0.1, 0.1, 0.1))] == [
            "Come", "Hold", "Look", "Face",
        ]  # fmt: skip
        refused = _decision(Outcome.REJECTED, None, None, reason="several_faces: 3 faces of about one size")
        assert words.refusal(refused).startswith("Several faces")

    def test_a_picture_that_is_too_large_is_refused_with_the_figures_and_no_settings(self) -> None:
        limits = Limits(image_bytes=100_000, image_pixels=50)
        with pytest.raises(ImageTooLarge) as wrong:
            inspect(_jpeg(Image.new("RGB", (10, 6))), limits)
        reason = f"{wrong.value.code}: {wrong.value}"
        assert words.refusal(_decision(Outcome.REJECTED, None, None, reason=reason)) == (
            "The picture is too large: the image has 10 × 6 = 60 pixels, at most 50; scale it down."
        )

    def test_a_reason_has_no_words_of_the_trade(self) -> None:
        said = "from 2 templates, 28 independent non-mated searches; 1 objection"
        assert words.reason(said) == "From 2 templates, 28 independent searches of strangers; 1 answer called wrong."
        assert words.reason("1,001 objections") == "1,001 answers called wrong."

    def test_lengths_of_time_are_not_broken_across_lines(self) -> None:
        assert [words.ago(ms) for ms in (0, 6_400, 60_000, 7_200_000, 3 * 86_400_000)] == [
            "0\u00a0s", "6\u00a0s", "1\u00a0min", "2\u00a0h", "3\u00a0d",
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("value", "said"),
        [(None, "–"), (0.0, "0 %"), (0.00001, "below 0.01 %"), (0.0123, "1.2 %"), (0.5, "50 %"), (1.0, "100 %")],
    )
    def test_rates_are_read_as_people_read_them(self, value: float | None, said: str) -> None:
        assert words.share(value) == said


class TestDrawings:
    def test_a_gauge_says_what_it_shows(self) -> None:
        assert 'class="gauge over"' in gauge(0.5, 0.4)
        assert 'width="50.00"' in gauge(0.5, 0.4)
        assert 'aria-label="score 0.50, a match needs 0.40"' in gauge(0.5, 0.4)
        assert 'class="gauge under"' in gauge(-0.3, 0.4)
        assert 'width="0.00"' in gauge(-0.3, 0.4)
        assert 'aria-label="no score"' in gauge(None, None)
        assert "&lt;" in bar(0.5, "<b>")

    def test_bars_stand_where_the_scores_are_and_as_high_as_they_are_many(self) -> None:
        scores = np.array([0.11, 0.11, 0.11, 0.51, 5.0])
        drawn = histogram([Series("known", "known", scores, np.ones(5))], 0.4)
        heights = [float(part.split('"')[0]) for part in drawn.split('height="')[1:]]
        tallest = max(heights)

        assert sorted(heights) == pytest.approx([tallest / 3, tallest / 3, tallest], abs=0.1)
        assert drawn.count("<rect") == 3
        assert "0.40</text>" in drawn

    def test_what_a_cutoff_makes_of_the_scores_is_counted_by_weight(self) -> None:
        strangers = Weighted(np.array([0.1, 0.2, 0.6, 0.6]), np.array([1, 1, 0.5, 0.5]), 0)
        found = Distributions(strangers, Weighted(np.empty(0), np.empty(0), 0), whole=True)

        assert found.fpir(0.5) == Rate(1 / 3, 4)
        # A score that is equal to the cutoff is a match.
        assert found.fpir(0.6) == Rate(1 / 3, 4)
        assert found.fpir(0.7) == Rate(1.0, 4, below=True)
        assert found.fnir(0.5) == Rate(None, 0)


class TestNewest:
    def stream(self, *at_ms: int) -> Any:
        entries = [SimpleNamespace(entry_id=f"{ms}-0") for ms in at_ms]

        def after(last: str, limit: int) -> list[Any]:
            place = tuple(int(part) for part in last.split("-"))
            return [each for each in entries if (int(each.entry_id[:-2]), 0) > place][:limit]

        return after

    def test_the_newest_come_first_from_however_long_ago(self) -> None:
        now = 10**12
        after = self.stream(now - 8 * 86_400_000, now - 80_000_000, now - 100_000, now - 1, now)

        assert [int(each.entry_id[:-2]) - now for each in newest(after, now, lambda _: True, 10)] == [
            0, -1, -100_000, -80_000_000,
        ]  # fmt: skip
        assert len(newest(after, now, lambda _: True, 2)) == 2
        assert not newest(after, now, lambda _: False, 2)

    def test_none_is_told_twice_at_the_edge_of_two_windows(self) -> None:
        now = 10**12
        after = self.stream(*(now - ms for ms in (60_001, 60_000, 59_999, 5_001, 5_000, 4_999)))

        found = [each.entry_id for each in newest(after, now, lambda _: True, 100)]
        assert len(found) == len(set(found)) == 6
        assert found == sorted(found, reverse=True)


class TestPictures:
    def test_the_face_is_cut_out_and_made_small(self) -> None:
        image = Image.new("RGB", (1000, 800), (255, 255, 255))
        image.paste((200, 0, 0), (400, 300, 600, 500))
        small = Image.open(io.BytesIO(made_small(_jpeg(image), Limits(), 160, (400, 300, 200, 200))))

        assert max(small.size) == 160
        red, green, _ = small.convert("RGB").getpixel((80, 80))  # type: ignore[misc]
        assert red > 150
        assert green < 60

    def test_a_box_beyond_the_picture_shows_the_picture(self) -> None:
        image = Image.new("RGB", (100, 80))

        assert Image.open(io.BytesIO(made_small(_jpeg(image), Limits(), 640, (900, 900, 10, 10)))).size == (100, 80)

    def test_nothing_of_the_file_but_its_pixels_goes_out(self) -> None:
        exif = Image.Exif()
        exif[0x010E] = "taken at home"
        small = made_small(_jpeg(Image.new("RGB", (300, 200)), exif=exif), Limits(), 160)

        assert b"home" not in small

    def test_a_picture_past_the_limits_is_not_decoded(self) -> None:
        with pytest.raises(ImageTooLarge):
            made_small(_jpeg(Image.new("RGB", (300, 200))), Limits(image_pixels=1000), 160)


@pytest.mark.parametrize(
    ("show", "seen"),
    [("all", [True] * 4), ("known", [True, False, False, True]), ("strangers", [False, True, False, False])],
)
def test_filters_let_through_what_they_say(show: str, seen: list[bool]) -> None:
    wanted = Wanted("cameras", "", "", show)
    things: list[Event | Decision] = [
        Event("1", EventKind.NEW, "g", 0, subject="Ada"),
        Event("2", EventKind.NEW, "g", 0, stranger="stranger-1"),
        Event("3", EventKind.UNUSABLE, "g", 0),
        _decision(Outcome.MATCH, "Ada", 0.7),
    ]

    assert [wanted.shows(each) for each in things] == seen


def _decision(outcome: Outcome, subject: str | None, score: float | None, **parts: Any) -> Decision:
    face = Face(outcome, subject=subject, score=score, nearest=subject) if score is not None else None
    return Decision(
        decision_id=f"{'0' * 32}:0", job_id="0" * 32, index=0, kind=Kind.IDENTIFY, gallery="staff",
        lane=Lane.INTERACTIVE, image="00/" + "0" * 64, outcome=outcome, created_ms=0, decided_ms=5, face=face,
        cutoff=0.4, **parts,
    )  # fmt: skip


def _jpeg(image: Image.Image, **how: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **how)
    return buffer.getvalue()

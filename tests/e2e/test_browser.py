"""The pages in a real browser: what people do with a mouse, a keyboard, a webcam and a phone.

The tests share one house, and each finds who came in those before it: the first one, that nobody is known.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from kith.api_keys import Scope, issue, revoke
from kith.jobs import Content, Outcome
from tests.inhabited import GALLERY, STRANGER, Inhabited, inhabited
from tests.servers.browser import axe_script, chromium
from tests.servers.fixtures import missing
from tests.servers.processes import MissingComponent

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.needs("kith-small")]

#: Every page; the last one is not there.
PLACES = {
    "live": "/live",
    "decisions": "/live?source=decisions",
    "gallery": f"/gallery/{GALLERY}",
    "person": f"/gallery/{GALLERY}/person?name=Ada%20Lovelace",
    "change": f"/gallery/{GALLERY}/change?do=merge&name=Ada%20Lovelace&to=Grace%20Hopper",
    "forget": f"/gallery/{GALLERY}/forget?name=Ada%20Lovelace",
    "history": f"/gallery/{GALLERY}/history",
    "strangers": f"/strangers/{GALLERY}",
    "review": f"/review/{GALLERY}?hours=168",
    "cutoff": f"/cutoff/{GALLERY}",
    "system": "/system",
    "start": "/start",
    "nobody": f"/gallery/{GALLERY}/person?name=Nobody",
}
#: Widths and heights of a desk and of a phone.
DESK, PHONE = {"width": 1280, "height": 860}, {"width": 375, "height": 740}
#: What somebody at a busy machine waits for.
PATIENCE_MS = 60_000

Opened = Callable[..., Page]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inhabited]:
    with ExitStack() as stack:
        try:
            yield stack.enter_context(inhabited(tmp_path_factory.mktemp("inhabited")))
        except MissingComponent as absent:
            missing("kith-small", absent)


@pytest.fixture(scope="module")
def browser(home: Inhabited, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Its webcam shows somebody whom nobody has enrolled yet."""
    film = tmp_path_factory.mktemp("webcam") / "webcam.mjpeg"
    film.write_bytes(b"".join(home.photo(STRANGER - 1, shot) for shot in (0, 0, 0, 1)))
    with ExitStack() as stack:
        try:
            yield stack.enter_context(chromium(film))
        except MissingComponent as absent:
            missing("chromium", absent)


@pytest.fixture
def opened(home: Inhabited, browser: Browser) -> Iterator[Opened]:
    """Opens a page for somebody who has signed in. What the browser complains about fails the test."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def opened(place: str = "/", forgiven: str = "\0", token: str = "", **how: Any) -> Page:
        context = browser.new_context(**{"viewport": DESK, **how})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda said: (
                complaints.append(said.text)
                if said.type in ("error", "warning") and forgiven not in said.text
                else None
            ),
        )
        page.goto(f"{home.url}/sign-in?next={quote(place)}")
        page.fill("#key", token or home.token)
        page.press("#key", "Enter")
        page.wait_for_url(lambda url: "/sign-in" not in url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not complaints


def names(home: Inhabited) -> list[str]:
    return [each.name for each in home.client.galleries.subjects(GALLERY)]


def test_the_first_visit_ends_with_ones_own_name(home: Inhabited, opened: Opened) -> None:
    page = opened("/")
    assert page.url.endswith("/start"), "nobody is known yet"

    page.fill("#enrol-name", "Hypatia")
    page.click("form.enrol button.start")
    advice = page.locator("form.enrol .advice")
    # People who are drawn are a little soft.
    expect(advice).to_contain_text("Hold still", timeout=PATIENCE_MS)
    page.click("form.enrol .shoot")
    expect(page.locator(".results")).to_contain_text("1 picture of Hypatia enrolled", timeout=PATIENCE_MS)
    expect(page.locator(".results .quality")).to_be_visible()
    page.click("form.enrol .stop")

    page.click("form.look button.start")
    page.click("form.look .shoot")
    answer = page.locator(".answer")
    expect(answer.locator(".big")).to_have_text("Hypatia", timeout=PATIENCE_MS)
    expect(answer).to_contain_text("above the cutoff")
    assert names(home) == ["Hypatia"]


def test_the_advice_before_a_picture_is_taken_follows_light_and_sharpness(opened: Opened) -> None:
    page = opened("/start")
    place = page.locator("script[src*='/start.js']").get_attribute("src") or ""
    said = page.evaluate(
        """async script => {
            const { adviceFor } = await import(script);
            const drawn = (value, grain) =>
                Float32Array.from({ length: 112 * 112 }, (_, at) => value + grain * (((at * 7919) % 3) - 1));
            return [drawn(30, 20), drawn(230, 20), drawn(120, 1), drawn(120, 20), new Float32Array(0)].map(adviceFor);
        }""",
        place.replace("start.js", "camera.js"),
    )

    assert [each.partition(":")[0] for each in said] == [
        "It is dark", "It is very bright", "Hold still", "Good light, sharp picture. Fill the oval with your face.", "",
    ]  # fmt: skip


def test_pictures_are_dropped_and_come_back_with_their_quality(home: Inhabited, opened: Opened) -> None:
    home.enrol(4, each=3)
    page = opened(f"/gallery/{GALLERY}")
    page.fill("#enrol-name", "Lise Meitner")
    dropped = [
        {"name": f"{shot}.jpg", "type": "image/jpeg", "bytes": list(home.crop(6, shot))} for shot in range(2)
    ] + [{"name": "notes.txt", "type": "text/plain", "bytes": [104, 105]}]
    page.evaluate(
        """files => {
            const transfer = new DataTransfer();
            for (const { name, type, bytes } of files) {
                transfer.items.add(new File([new Uint8Array(bytes)], name, { type }));
            }
            const drop = document.querySelector(".drop");
            drop.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
        }""",
        dropped,
    )

    expect(page.locator(".results")).to_contain_text("2 pictures of Lise Meitner enrolled", timeout=PATIENCE_MS)
    expect(page.locator(".results")).to_contain_text("Left out: notes.txt. Use JPEG, PNG or WebP pictures.")
    assert page.locator(".shot.good").count() == 2
    page.click(".results a")
    expect(page.locator("h1")).to_have_text("Lise Meitner")
    assert page.locator(".templates li").count() == 2


def test_a_rename_by_keyboard_alone_is_shown_first_made_and_undone(home: Inhabited, opened: Opened) -> None:
    page = opened(f"/gallery/{GALLERY}/person?name=Lise%20Meitner")
    page.focus("#rename-to")
    page.keyboard.type("Elise Meitner")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Rename Lise Meitner to Elise Meitner?")
    page.focus("form.decide button")
    page.keyboard.press("Enter")

    expect(page.locator(".note")).to_contain_text("Lise Meitner renamed Elise Meitner.")
    assert "Elise Meitner" in names(home)
    page.locator(".note button").press("Enter")
    expect(page.locator(".note")).to_contain_text("Elise Meitner renamed Lise Meitner.")
    assert "Lise Meitner" in names(home)


def test_the_keyboard_reaches_the_content_first_and_sees_where_it_is(opened: Opened) -> None:
    page = opened(f"/gallery/{GALLERY}")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    focused = page.evaluate(
        "[document.activeElement.closest('main') !== null, getComputedStyle(document.activeElement).outlineStyle]"
    )
    assert focused == [True, "solid"]


def test_whoever_comes_appears_at_once_and_waits_while_it_is_paused(home: Inhabited, opened: Opened) -> None:
    home.cameras()
    page = opened("/live")
    expect(page.locator("#lamp")).to_have_text("Live", timeout=PATIENCE_MS)
    home.walk(0)
    # By the time we look they may have left again, which is another row.
    row = page.locator(".feed li", has_text="Ada Lovelace").filter(has_text="is here").first
    expect(row).to_be_visible(timeout=PATIENCE_MS)
    expect(row).to_contain_text("front")
    assert row.locator("svg.gauge.over").count() == 1
    assert row.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)") > 0

    page.click("#pause")
    home.walk(1)
    expect(page.locator("#waiting")).to_contain_text("new", timeout=PATIENCE_MS)
    assert page.locator(".feed li", has_text="Grace Hopper").count() == 0
    page.click("#waiting")
    expect(page.locator(".feed li", has_text="Grace Hopper").first).to_be_visible()
    expect(page.locator("#lamp")).to_have_text("Live")

    page.select_option("#show", "strangers")
    page.wait_for_url("**show=strangers*")
    expect(page.locator(".feed li", has_text="Ada Lovelace")).to_have_count(0)


def test_a_stranger_is_named_and_is_known_then(home: Inhabited, opened: Opened) -> None:
    before = home.strangers()
    home.walk(STRANGER)
    home.walk(STRANGER + 1, "yard")
    home.until(lambda: home.strangers() == before + 2, "two strangers")
    page = opened(f"/strangers/{GALLERY}")
    card = page.locator(".strangers > li").first
    assert card.locator(".strip img").count() >= 2
    card.locator("input[name=subject]").fill("Vera Rubin")
    card.locator("button.main").click()

    expect(page.locator("h1")).to_have_text("Vera Rubin", timeout=PATIENCE_MS)
    assert "Vera Rubin" in names(home)
    page.goto(f"{home.url}/strangers/{GALLERY}")
    assert page.locator(".strangers > li").count() == before + 1
    page.locator(".strangers summary").first.click()
    page.click("text=Ignore")
    expect(page.locator(".note")).to_contain_text("told of no more")


def test_the_slider_moves_the_cutoff_and_says_what_would_change(home: Inhabited, opened: Opened) -> None:
    assert all(each.outcome is Outcome.MATCH for each in home.ask(0, 1, 2, 3))
    page = opened(f"/cutoff/{GALLERY}")
    mark = page.locator(".h-cutoff text")
    before = mark.text_content()
    page.focus("#at")
    page.keyboard.press("End")

    expect(mark).to_have_text("1.00")
    assert before != "1.00"
    expect(page.locator("#tried")).to_contain_text("would not be named any more", timeout=PATIENCE_MS)
    expect(page.locator("#by-hand")).to_have_value("1.000")
    assert home.client.galleries.info(GALLERY).cutoff is None, "nothing is set by trying"


def test_an_answer_is_judged_without_leaving_the_page_and_taken_back(home: Inhabited, opened: Opened) -> None:
    [decision] = home.ask(0, shot=11)
    assert decision.face is not None
    assert decision.face.score is not None
    settings = home.client.galleries.info(GALLERY).settings
    home.client.galleries.configure(GALLERY, type(settings)(cutoff=round(decision.face.score - 0.02, 4)))
    home.until(lambda: home.ask(0, shot=11)[0].cutoff == round((decision.face.score or 0) - 0.02, 4), "the cutoff")
    page = opened(f"/review/{GALLERY}")
    card = page.locator(".doubt", has_text="Answered Ada Lovelace").first
    card.get_by_role("button", name="Right", exact=True).click()

    expect(page.locator(".doubt.done")).to_contain_text("Noted: Right.", timeout=PATIENCE_MS)
    expect(page.locator("#kept")).to_have_text("1 judgement is kept")
    assert home.client.samples.count(GALLERY) == 1
    page.click(".doubt.done button")
    expect(page.locator(".doubt.done")).to_have_count(0, timeout=PATIENCE_MS)
    assert home.client.samples.count(GALLERY) == 0
    home.client.galleries.configure(GALLERY, settings)


def test_live_comes_back_after_a_server_that_answered_with_an_error(home: Inhabited, opened: Opened) -> None:
    page = opened(f"/gallery/{GALLERY}", "502")
    # As a proxy answers while what is behind it restarts; a browser takes that for the end of the stream.
    page.route("**/live/stream*", lambda route: route.fulfill(status=502, body="bad gateway"))
    page.goto(f"{home.url}/live")
    lamp = page.locator("#lamp")
    expect(lamp).to_have_text("Reconnecting …")
    page.unroute("**/live/stream*")

    expect(lamp).to_have_text("Live", timeout=PATIENCE_MS)
    page.click("#pause")
    expect(lamp).to_have_text("Paused")


def test_whose_key_ends_in_the_middle_is_told_so_and_comes_back_to_the_page(home: Inhabited, opened: Opened) -> None:
    key, token = issue("gone soon", (Scope.READ, Scope.ENROL))
    home.client.api_keys.add(key)
    page = opened(f"/gallery/{GALLERY}", "401", token=token)
    revoke(home.client.api_keys, key.key_id)
    page.fill("#enrol-name", "Somebody")
    page.set_input_files("#enrol-files", {"name": "1.jpg", "mimeType": "image/jpeg", "buffer": home.crop(0, 1)})

    expect(page.locator("#why")).to_contain_text("was revoked", timeout=PATIENCE_MS)
    page.fill("#key", home.token)
    page.press("#key", "Enter")
    page.wait_for_url(f"**/gallery/{GALLERY}")


def test_pictures_that_were_chosen_before_the_name_wait_for_it(home: Inhabited, opened: Opened) -> None:
    page = opened(f"/gallery/{GALLERY}")
    page.set_input_files("#enrol-files", {"name": "1.jpg", "mimeType": "image/jpeg", "buffer": home.crop(8, 1)})
    expect(page.locator(".chosen")).to_have_text("1 picture chosen. Say who it is, then enrol.")
    assert page.evaluate("document.activeElement.id") == "enrol-name"
    page.keyboard.type("Dorothy Hodgkin")
    page.keyboard.press("Enter")

    expect(page.locator(".results")).to_contain_text("1 picture of Dorothy Hodgkin enrolled", timeout=PATIENCE_MS)
    expect(page.locator(".chosen")).to_have_text("")


def test_the_system_is_looked_at_again_by_itself(home: Inhabited, opened: Opened) -> None:
    page = opened("/system")
    expect(page.locator("#system")).to_contain_text("connection refused")
    frame = page.get_by_alt_text("what front saw last")
    assert frame.evaluate("image => image.decode().then(() => image.naturalWidth)") == 640
    home.client.cameras.pause("yard", "being cleaned")
    expect(page.locator("#system")).to_contain_text("being cleaned", timeout=PATIENCE_MS)
    assert page.locator("#lamp").get_attribute("class") == "lamp scripted on"


def test_a_wrong_key_is_said_where_it_was_typed(home: Inhabited, browser: Browser) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{home.url}/gallery/{GALLERY}")
    page.fill("#key", "kith_0123456789ab_wrong")
    page.press("#key", "Enter")

    expect(page.locator("#why")).to_contain_text("no API key")
    assert page.get_attribute("#key", "aria-invalid") == "true"
    assert context.cookies() == []
    context.close()


def test_without_scripts_people_are_found_enrolled_and_renamed_all_the_same(home: Inhabited, opened: Opened) -> None:
    page = opened(f"/gallery/{GALLERY}", java_script_enabled=False)
    page.fill("#enrol-name", "Mary Cartwright")
    page.set_input_files("#enrol-files", {"name": "1.jpg", "mimeType": "image/jpeg", "buffer": home.crop(10, 1)})
    page.click("button.send")
    expect(page.locator("h1")).to_have_text("Mary Cartwright")
    page.fill("#rename-to", "M. Cartwright")
    page.click("text=Rename…")
    page.click("form.decide button.main")
    expect(page.locator("h1")).to_have_text("M. Cartwright")
    page.goto(f"{home.url}/gallery/{GALLERY}?q=cartw")
    expect(page.locator(".people li")).to_have_count(1)


@pytest.mark.needs("axe-core")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault_on_any_page(opened: Opened, home: Inhabited, scheme: str) -> None:
    try:
        script = axe_script()
    except MissingComponent as absent:
        missing("axe-core", absent)
    faults = []
    # Its own script comes by the driver: no page of ours would let it in.
    page = opened("/live", "404", color_scheme=scheme, bypass_csp=True, reduced_motion="reduce")
    for name, place in (PLACES | {"sign in": "/sign-in"}).items():
        page.goto(home.url + place)
        for each in page.locator("details").all():
            each.evaluate("details => { details.open = true }")
        page.evaluate(script)
        found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
        faults += [
            (name, each["id"], each["impact"], each["nodes"][0]["html"][:200])
            for each in found["violations"]
            if each["impact"] in ("serious", "critical")
        ]
    assert not faults, json.dumps(faults, indent=1)


def test_every_page_fits_a_phone_and_can_be_touched(opened: Opened, home: Inhabited) -> None:
    # Of another gallery as well, so that there is a choice of them, and one with a long name.
    long = "night-shift-of-the-warehouse-at-the-north-entrance"
    home.client.enrol("Hubert Wolfeschlegelsteinhausenbergerdorff", [home.crop(11, 1)], gallery=long,
                      content=Content.ALIGNED, timeout_s=120)  # fmt: skip
    page = opened("/live", "404", viewport=PHONE, has_touch=True, is_mobile=True)
    for name, place in (PLACES | {"long": f"/gallery/{long}"}).items():
        page.goto(home.url + place)
        wide, cut, small = page.evaluate(
            """() => [
                document.documentElement.scrollWidth > document.documentElement.clientWidth,
                [...document.querySelectorAll(".scroll")].filter(each => each.scrollWidth > each.clientWidth).length,
                [...document.querySelectorAll("nav a, main button, main select")]
                    .filter(each => each.checkVisibility())
                    .map(each => [each, each.getBoundingClientRect()])
                    .filter(([, box]) => box.height < 40 || box.width < 24)
                    .map(([each]) => each.outerHTML.slice(0, 120)),
            ]"""
        )
        assert not wide, f"{name} is wider than a phone"
        assert not cut, f"{name} has a table with columns out of sight"
        # WCAG 2.2, 2.5.8 asks for 24 pixels; a thumb for more.
        assert not small, name


def test_the_choice_of_galleries_closes_as_menus_do(opened: Opened) -> None:
    page = opened(f"/gallery/{GALLERY}")
    picker = page.locator(".picker")
    page.click(".picker summary")
    page.keyboard.press("Escape")
    assert picker.get_attribute("open") is None
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
    page.click(".picker summary")
    page.click("h1")
    assert picker.get_attribute("open") is None


def test_a_first_view_is_light_and_nothing_jumps(opened: Opened, home: Inhabited) -> None:
    for name, place in PLACES.items():
        page = opened(place, "404")
        page.wait_for_load_state("networkidle") if name not in ("live", "decisions") else page.wait_for_timeout(500)
        weight, shift, blocking = page.evaluate(
            """() => new Promise(done => {
                const weight = ["navigation", "resource"]
                    .flatMap(kind => performance.getEntriesByType(kind))
                    .reduce((sum, each) => sum + each.transferSize, 0);
                const blocking = [...document.scripts].filter(each => each.type !== "module" || !each.src).length;
                let shift = 0;
                new PerformanceObserver(list => {
                    for (const each of list.getEntries()) shift += each.value;
                }).observe({ type: "layout-shift", buffered: true });
                setTimeout(() => done([weight, shift, blocking]), 100);
            })"""
        )
        assert 500 < weight < 100_000, f"{name} weighs {weight:,} bytes"
        assert shift < 0.05, f"{name} jumps by {shift:.3f}"
        assert blocking == 0, name
        page.context.close()

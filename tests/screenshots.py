"""python -m tests.screenshots FILE.png [FOLDER]: the picture of the documentation, of people who do not exist.

FILE shows two pages side by side, light and dark, small enough for a repository. With FOLDER every page is put there as
well, on a desk and on a phone, for whoever wants to look at them.
"""

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page

from tests.inhabited import GALLERY, STRANGER, Inhabited, inhabited
from tests.servers.browser import chromium

PAGES = {
    "start": "/start",
    "live": "/live",
    "gallery": f"/gallery/{GALLERY}",
    "person": f"/gallery/{GALLERY}/person?name=Ada%20Lovelace",
    "merge": f"/gallery/{GALLERY}/change?do=merge&name=Ada%20Lovelace&to=Grace%20Hopper",
    "strangers": f"/strangers/{GALLERY}",
    "review": f"/review/{GALLERY}",
    "cutoff": f"/cutoff/{GALLERY}",
    "system": "/system",
}
_SIZES = {"desk": (1180, 720), "phone": (375, 760)}
#: Colours of the picture: faces, text and few shades need no more.
_COLOURS = 200


def main(file: Path, folder: Path | None) -> None:
    with tempfile.TemporaryDirectory() as home, inhabited(Path(home)) as house:
        _people(house)
        with chromium() as browser:
            light, dark = (_shots(house, browser, scheme, ["live", "cutoff"])[page] for scheme, page in
                           (("light", "live"), ("dark", "cutoff")))  # fmt: skip
            both = Image.new("RGB", (light.width + dark.width, light.height))
            both.paste(light, (0, 0))
            both.paste(dark, (light.width, 0))
            half = both.resize((both.width * 5 // 8, both.height * 5 // 8), Image.Resampling.LANCZOS)
            half.quantize(_COLOURS, dither=Image.Dither.NONE).save(file, optimize=True)
            print(f"{file}: {file.stat().st_size:,} bytes")
            for scheme in ("light", "dark") if folder is not None else ():
                for size in _SIZES:
                    for name, image in _shots(house, browser, scheme, list(PAGES), size).items():
                        image.save((folder or Path()) / f"{name}-{size}-{scheme}.png")


def _people(house: Inhabited) -> None:
    house.enrol(12, each=3)
    house.cameras()
    house.ask(*range(12), shot=9)
    for person, camera in ((0, "front"), (STRANGER, "yard"), (4, "front"), (STRANGER + 2, "front"), (9, "front")):
        before = house.client.events.position()
        house.walk(person, camera)
        house.until(lambda before=before: house.client.events.after(before), "an event")  # type: ignore[misc]
    house.until(lambda: house.strangers() >= 2, "two strangers")


def _shots(
    house: Inhabited, browser: Browser, scheme: str, names: list[str], size: str = "desk"
) -> dict[str, Image.Image]:
    width, height = _SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(f"{house.url}/sign-in")
    page.fill("#key", house.token)
    page.press("#key", "Enter")
    page.wait_for_url(lambda url: "/sign-in" not in url)
    found = {name: _shot(page, house.url + PAGES[name]) for name in names}
    context.close()
    return found


def _shot(page: Page, url: str) -> Image.Image:
    page.goto(url)
    page.evaluate("Promise.all([...document.images].map(each => each.decode().catch(() => {})))")
    page.wait_for_timeout(700)
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)

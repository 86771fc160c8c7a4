"""A real browser for the pages: Debian's Chromium, driven by Playwright over its own pipe; and axe-core, from npm."""

import hashlib
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests.servers.processes import MissingComponent, need

_CHROMIUM = "/usr/bin/chromium"

#: What tests/servers/install fetches, and its digest.
AXE = Path(__file__).resolve().parents[2] / "build" / "browser" / "axe-core-4.10.3.tgz"
_AXE_SHA256 = "0f2b4d7dcdf7d1219df8d1959ad68e565f51d14c3f0d88bb71cd59abeb956292"


@contextmanager
def chromium(camera: Path | None = None) -> Iterator[Browser]:
    """Headless. camera: pictures (MJPEG) that its webcam shows for ever. Raises MissingComponent."""
    need(_CHROMIUM, package="chromium")
    arguments = [
        # Tests run as root in containers, where Chromium's own sandbox cannot be set up; the pages are ours.
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
    ]
    if camera is not None:
        arguments.append(f"--use-file-for-fake-video-capture={camera}")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=_CHROMIUM, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


def axe_script() -> str:
    """axe-core's source, to be put into a page. Raises MissingComponent."""
    if not AXE.is_file():
        raise MissingComponent(f"{AXE.name} was not fetched; run tests/servers/install")
    data = AXE.read_bytes()
    assert hashlib.sha256(data).hexdigest() == _AXE_SHA256, f"{AXE} is not what was published"
    with tarfile.open(AXE) as archive:
        member = archive.extractfile("package/axe.min.js")
        assert member is not None
        return member.read().decode()

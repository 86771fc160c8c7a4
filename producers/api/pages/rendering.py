"""From a template and values to a response. Everything that is put in is escaped (jinja2, autoescape)."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from kith.api_keys import Scope
from kith.errors import UnknownGallery
from kith.subjects import GalleryInfo
from producers.api.pages import words
from producers.api.pages.assets import Assets
from producers.api.pages.gauges import bar, gauge
from producers.api.pages.portraits import pictured
from producers.api.pages.visitors import Visitor

_HERE = Path(__file__).parent
#: Names in a list to choose from: more would be a page of its own.
_OFFERED = 500


class Pages:
    """Templates and assets, read once; made by the application."""

    def __init__(self) -> None:
        self.assets = Assets(_HERE / "static")
        self._jinja = Environment(
            loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined,
            trim_blocks=True, lstrip_blocks=True, auto_reload=False,
        )  # fmt: skip
        self._jinja.globals |= {"asset": self.assets.place, "gauge": gauge, "bar": bar, "words": words}
        self._jinja.globals["pictured"] = pictured
        self._jinja.filters |= {"iso": _iso, "clock": _clock, "date": _date, "day": _day, "share": words.share}
        # Once, and there for all of them: imported by each, they would be compiled in each.
        self._jinja.globals["m"] = self._jinja.get_template("_macros.html").module

    def page(
        self,
        request: Request,
        template: str,
        visitor: Visitor,
        *,
        here: str,
        gallery: str | None = None,
        galleries: list[GalleryInfo] | None = None,
        code: int = 200,
        **values: Any,
    ) -> HTMLResponse:
        """A whole page. here: its place in the menu; gallery: which one it is about. code: HTTP status."""
        known = galleries_of(visitor) if galleries is None else galleries
        frame = {
            "request": request,
            "visitor": visitor,
            "csrf": visitor.csrf,
            "here": here,
            "galleries": known,
            "gallery": gallery or home_of(visitor, known),
            "whole": not visitor.caller.key.galleries,
        }
        return HTMLResponse(self._jinja.get_template(template).render({**frame, **values}), code)

    def home(self, visitor: Visitor) -> str:
        """The gallery that is shown to whoever names none."""
        return home_of(visitor, galleries_of(visitor))

    def names(self, visitor: Visitor, gallery: str) -> list[str]:
        """Names that are offered while one is typed."""
        try:
            return [each.name for each in visitor.client.galleries.subjects(gallery)[:_OFFERED]]
        except UnknownGallery:
            return []

    def part(self, template: str, **values: Any) -> str:
        """A part of a page, for a script to put in."""
        return self._jinja.get_template(template).render(values)

    def outside(self, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        """A page for whoever is not signed in."""
        return HTMLResponse(self._jinja.get_template(template).render(values), status)

    def error(
        self, request: Request, status: int, detail: str, remedy: str, headers: Mapping[str, str]
    ) -> HTMLResponse:
        """What went wrong, in words."""
        back = request.headers.get("referer", "")
        # Only to where somebody has been on this very site.
        same = back.startswith(f"{request.url.scheme}://{request.url.netloc}/")
        body = self._jinja.get_template("error.html").render(
            status=status, detail=detail, remedy=remedy, request_id=request.state.trace.request_id,
            back=back if same and back != str(request.url) else "/",
        )  # fmt: skip
        return HTMLResponse(body, status, dict(headers))


def galleries_of(visitor: Visitor) -> list[GalleryInfo]:
    """Those of the visitor's key, by name; none for a key that may not read."""
    if not visitor.caller.key.may(Scope.READ):
        return []
    return [each for each in visitor.client.galleries.galleries() if visitor.caller.key.sees(each.name)]


def home_of(visitor: Visitor, galleries: list[GalleryInfo]) -> str:
    """The gallery that is shown to whoever names none: the installation's default where it is the key's, else the
    first."""
    default = visitor.client.settings.gallery.default
    names = [each.name for each in galleries]
    if default in names or not names:
        return default if visitor.caller.key.sees(default) else (visitor.caller.key.galleries or (default,))[0]
    return names[0]


def _iso(unix_ms: int) -> str:
    return datetime.fromtimestamp(unix_ms / 1000, UTC).isoformat(timespec="milliseconds")


def _clock(unix_ms: int) -> str:
    """For whoever has no scripts; else times are shown in the browser's own zone."""
    at = datetime.fromtimestamp(unix_ms / 1000, UTC)
    return at.strftime("%H:%M:%S UTC" if at.date() == datetime.now(UTC).date() else "%Y-%m-%d %H:%M UTC")


def _day(unix_ms: int) -> str:
    return datetime.fromtimestamp(unix_ms / 1000, UTC).strftime("%Y-%m-%d UTC")


def _date(unix_ms: int) -> str:
    return datetime.fromtimestamp(unix_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")

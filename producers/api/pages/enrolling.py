"""Enrolling from a page: pictures that were dropped or taken, and at once how good each was."""

from anyio import to_thread
from fastapi import APIRouter
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from kith.errors import KithError, NoAnswerYet
from kith.images import inspect
from kith.jobs import Content, Decision, Kind, Lane, Outcome
from kith.names import subject_name
from producers.api.accepting import Accepting
from producers.api.callers import Caller
from producers.api.completions import Completions
from producers.api.pages.gallery import person_url
from producers.api.pages.page_route import PageRoute, by_script
from producers.api.pages.portraits import picture_url
from producers.api.pages.rendering import Pages
from producers.api.pages.visitors import Enrolling, Posted, Submitting
from producers.api.problems import Problem
from producers.api.shapes import GalleryPath
from producers.api.submissions import Shown, Submission, Wishes, judge_picture

router = APIRouter(route_class=PageRoute, include_in_schema=False)

#: How long somebody looks at a page that waits for the workers.
_PATIENCE_S = 30.0
#: Width and height of a crop that is aligned already, as cameras make them; `kith migrate` takes it so, too.
_CROP_PX = (112, 112)


@router.post("/gallery/{gallery}/enrol")
async def enrol(request: Request, gallery: GalleryPath, posted: Enrolling) -> Response:
    """Remember somebody by some pictures. For a script: a card for each picture, with its quality and what to do."""
    name = subject_name(posted.text("name"))
    pictures = await pictures_in(posted)
    decisions = await decided(request, posted.caller, Wishes(kind=Kind.ENROL, gallery=gallery, subject=name), pictures)
    made = [each for each in decisions if each.outcome is Outcome.ENROLLED]
    sequence = max((each.gallery_version or 0 for each in made), default=0)
    if not by_script(request):
        return RedirectResponse(person_url(gallery, name, sequence) if made else f"/gallery/{gallery}", 303)
    pages: Pages = request.app.state.pages
    cards = [(each, picture_url(each.image, 240, each.face)) for each in decisions]
    html = await to_thread.run_sync(
        lambda: pages.part(
            "_enrolled.html", cards=cards, gallery=gallery, name=name, made=len(made), place=person_url(gallery, name)
        )
    )
    return JSONResponse({"html": html, "made": len(made), "name": name, "place": person_url(gallery, name)})


@router.post("/gallery/{gallery}/look")
async def look(request: Request, gallery: GalleryPath, posted: Submitting) -> Response:
    """Who is on a picture? For scripts: a card with the answer."""
    pictures = await pictures_in(posted)
    [decision, *_] = await decided(request, posted.caller, Wishes(gallery=gallery), pictures[:1])
    pages: Pages = request.app.state.pages
    html = pages.part(
        "_looked.html", decision=decision, picture=picture_url(decision.image, 240, decision.face), gallery=gallery
    )
    return JSONResponse({"html": html, "subject": decision.subject, "outcome": decision.outcome.value})


async def pictures_in(posted: Posted) -> list[tuple[str, bytes]]:
    """Names and bytes of the files of a form. Raises Problem where there is none."""
    files = [each for each in posted.form.getlist("images") if isinstance(each, UploadFile) and each.size]
    if not files:
        raise Problem(
            422, "invalid_request", "there is no picture", field="images", remedy="choose at least one picture"
        )
    return [(each.filename or "", await each.read()) for each in files]


async def decided(
    request: Request, caller: Caller, wishes: Wishes, pictures: list[tuple[str, bytes]]
) -> list[Decision]:
    """Hand pictures in as the API does, and wait for what is decided of each, in their order.

    Pictures that no worker could read are answered here, in the same form: one of them spoils no other. Raises Problem,
    NoAnswerYet, and what handing in does.
    """
    completions: Completions = request.app.state.completions
    accepting: Accepting = request.app.state.accepting
    caller.gallery(wishes.gallery)
    photos, crops, refused = await to_thread.run_sync(_sorted, caller, wishes, pictures)
    found: dict[int, Decision] = dict(refused)
    for content, some in ((Content.PHOTO, photos), (Content.ALIGNED, crops)):
        if not some:
            continue
        asked = Submission(wishes.model_copy(update={"content": content}), tuple(shown for _, shown in some))
        [receipt] = await accepting.accept(caller, [asked])
        state = await completions.wait(receipt.job_id, _PATIENCE_S)
        if state.state != "done":
            raise NoAnswerYet(state.reason or "the workers have not answered yet; they go on, look again in a moment")
        entries = await to_thread.run_sync(caller.client.results.fetch, state.entries)
        for each in entries:
            found[some[each.decision.index][0]] = each.decision
    return [found[index] for index in sorted(found)]


Some = list[tuple[int, Shown]]


def _sorted(
    caller: Caller, wishes: Wishes, pictures: list[tuple[str, bytes]]
) -> tuple[Some, Some, list[tuple[int, Decision]]]:
    photos: Some = []
    crops: Some = []
    refused: list[tuple[int, Decision]] = []
    limits = caller.settings.limits
    for index, (label, data) in enumerate(pictures):
        shown = Shown(data, subject=wishes.subject, label=label[:1024] or None)
        try:
            judge_picture(data, limits, f"images.{index}")
            (crops if inspect(data, limits) == _CROP_PX else photos).append((index, shown))
        except Problem as wrong:
            refused.append((index, _refused(caller, wishes, label, wrong)))
        except KithError:
            photos.append((index, shown))
    return photos, crops, refused


def _refused(caller: Caller, wishes: Wishes, label: str, wrong: Problem) -> Decision:
    return Decision(
        decision_id="", job_id="", index=0, kind=wishes.kind, gallery=caller.gallery(wishes.gallery),
        lane=Lane.INTERACTIVE, image="", outcome=Outcome.REJECTED, created_ms=0, decided_ms=0, label=label,
        reason=f"{wrong.code}: {wrong.detail}",
    )  # fmt: skip

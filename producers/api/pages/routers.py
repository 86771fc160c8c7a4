"""The pages, as the application takes them in."""

from fastapi import APIRouter

from producers.api.pages import (
    changes,
    cutoff,
    enrolling,
    files,
    gallery,
    live,
    review,
    signing,
    start,
    strangers,
    system,
)

router = APIRouter()
for _page in (signing, files, start, live, gallery, changes, enrolling, strangers, review, cutoff, system):
    router.include_router(_page.router)

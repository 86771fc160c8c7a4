"""What this API is made of. It is not in Kith's own description of itself: its description is CompreFace's."""

from fastapi import APIRouter

from producers.api.compreface import faces, recognition, subjects
from producers.api.compreface.refusals import PREFIX

router = APIRouter(prefix=PREFIX.rstrip("/"), include_in_schema=False)
for part in (subjects, faces, recognition):
    router.include_router(part.router)

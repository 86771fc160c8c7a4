"""Idempotency keys: the same key with the same body is the same job; with another body it is a mistake."""

import hmac
import json
from collections.abc import Sequence
from hashlib import sha256

from kith.jobs import ImageRef
from producers.api.callers import Caller
from producers.api.submissions import Submission, Wishes

#: What a job's own key (its gallery), its images and nothing else say.
_TOLD_OTHERWISE = {"gallery", "subject"}


def own_key(caller: Caller, idempotency_key: str | None, index: int | None) -> str | None:
    """The caller's key as nobody else's: two callers who count their orders from 1 must not meet. index: the place of
    the job among those that were sent with the key; None for a single one."""
    if idempotency_key is None:
        return None
    return f"{caller.key.key_id}:{idempotency_key}" + ("" if index is None else f":{index}")


def asked_of(submission: Submission, images: Sequence[ImageRef], key: str | None) -> str | None:
    """What is asked, as a digest: submissions under one key that differ in a word, a name or a picture differ in it.

    images: those of the submission, stored. A picture counts by its content, in whichever form it came; one that was
    fetched counts by its address, since another one may be there next time. The digest is made with the key, so that
    what is kept of a job that ended tells nothing to who does not know that.
    """
    if key is None:
        return None
    wishes = submission.wishes.model_dump(mode="json", include=set(Wishes.model_fields) - _TOLD_OTHERWISE)
    pictures = [
        [shown.url or image.key, image.subject, image.label]
        for shown, image in zip(submission.images, images, strict=True)
    ]
    text = json.dumps([wishes, pictures], sort_keys=True)
    return hmac.new(key.encode(), text.encode(), sha256).hexdigest()[:32]

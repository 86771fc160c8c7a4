"""What pages say of decisions, of pictures and of time: words for people who run a door, not a database."""

import re

from kith.jobs import Decision, Outcome, Quality
from kith.watching.events import Event, EventKind

#: Part of a quality, below which it is worth saying something, and what.
_ADVICE = (
    ("size", 0.6, "Come closer: the face is small."),
    ("sharpness", 0.8, "Hold still, or clean the lens: the picture is blurred."),
    ("pose", 0.7, "Look straight at the camera."),
    ("brightness", 0.8, "Face a window or a lamp: the light is poor."),
)

#: Why a picture was not used → what to do about it. The word is the error's (kith.errors).
_REFUSED = {
    "no_face": "No face was found. Use a picture that shows the whole face, not too small.",
    "low_quality": "The face cannot be recognised well enough.",
    "several_faces": "Several faces are in the picture. Cut it so that one remains.",
    "not_an_image": "This is no picture that can be read. Use JPEG, PNG or WebP.",
    "empty_image": "The file is empty.",
    "truncated_image": "The file is cut short. Send it again.",
    "animated_image": "The picture is animated. Use a still one.",
    "missing_image": "The picture is no longer there.",
}

_UNUSABLE = {
    "too_small": "too far away",
    "blurred": "blurred",
    "turned_away": "turned away",
    "dark": "too dark",
    "late": "seen too late",
}

_UPDATED = {
    "named": "is recognised",
    "stranger": "has a number now",
    "changed_mind": "it is after all",
    "withdrawn": "is not sure any more",
    "better_crop": "shows a better picture",
}


def advice(quality: Quality | None) -> list[str]:
    """How the next picture could be better; nothing for a good one."""
    if quality is None:
        return []
    return [said for part, enough, said in _ADVICE if getattr(quality, part) < enough]


def grade(value: float) -> str:
    """Good, fair or poor."""
    return "good" if value >= 0.6 else "fair" if value >= 0.3 else "poor"


def refusal(decision: Decision) -> str:
    """Why a picture made no template."""
    code, _, said = (decision.reason or decision.outcome.value).partition(":")
    if code == "image_too_large":
        # With its figures, but for the settings: whoever shows a picture has no hand in them.
        said = re.sub(r"limits\.\w+ allows", "at most", said).replace(" or raise the setting", "")
        return f"The picture is too large:{said}."
    return _REFUSED.get(code, (said or code.replace("_", " ")).strip().capitalize())


def verdict(decision: Decision) -> str:
    """Who it is, in a word or two."""
    if decision.subject is not None:
        return decision.subject
    if decision.outcome is Outcome.UNKNOWN:
        return "Nobody we know"
    return {
        Outcome.NO_FACE: "No face",
        Outcome.LOW_QUALITY: "Not good enough to tell",
        Outcome.REJECTED: "No usable picture",
        Outcome.EXPIRED: "Too late to count",
    }.get(decision.outcome, decision.outcome.value.replace("_", " ").capitalize())


def who(event: Event) -> str:
    """Whom an event is about."""
    if event.subject is not None:
        return event.subject
    if event.stranger is not None:
        return event.stranger.replace("-", " ").capitalize()
    return "Somebody"


def happened(event: Event) -> str:
    """What an event says of them."""
    match event.kind:
        case EventKind.NEW:
            return "is here"
        case EventKind.UPDATE:
            return _UPDATED.get(event.why or "", "seen again")
        case EventKind.END:
            return "has left"
        case EventKind.UNUSABLE:
            why = _UNUSABLE.get(event.why or "")
            return f"passed, no usable picture: {why}" if why else "passed, no usable picture"
        case EventKind.MERGED:
            return f"is the same as {(event.into or '').replace('-', ' ')}"
        case EventKind.RENAMED:
            return f"was {(event.was or event.stranger or 'a stranger').replace('-', ' ')}"


def share(value: float | None) -> str:
    """A rate as a person reads it: 1.2 %, below 0.01 %."""
    if value is None:
        return "–"
    percent = 100 * value
    if 0 < percent < 0.01:
        return "below 0.01 %"
    return f"{percent:.2g} %" if percent < 10 else f"{percent:.0f} %"


def ago(ms: int) -> str:
    """A length of time in its largest unit."""
    seconds = max(0, ms) / 1000
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f}\u00a0{unit}"
    return f"{seconds:.0f}\u00a0s"


def count(number: int, one: str, many: str | None = None) -> str:
    """`3 templates`, `1 template`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def kept(judgements: int) -> str:
    """How many judgements a gallery has, as half a sentence."""
    return f"{count(judgements, 'judgement')} {'is' if judgements == 1 else 'are'} kept"


def reason(why: str) -> str:
    """Why a cutoff is what it is, for whoever has not met the words of the trade, as sentences."""
    said = why.replace("non-mated searches", "searches of strangers")
    said = re.sub(r"\b1 objections?\b", "1 answer called wrong", said).replace("objections", "answers called wrong")
    return said[:1].upper() + said[1:] + "."

"""A decision in words, for a person at a terminal."""

from datetime import datetime
from typing import TYPE_CHECKING

from kith.jobs import Decision, Kind, Outcome

if TYPE_CHECKING:
    from kith.receipts import Receipt


def line_of(decision: Decision) -> str:
    """One line: which image, who it is, how sure, and why not."""
    return f"{decision.label or decision.image}: {verdict_of(decision)}"


def verdict_of(decision: Decision) -> str:
    """What was decided, with the score beside the cutoff it had to reach."""
    face = decision.face
    if decision.outcome is Outcome.ENROLLED and face is not None:
        quality = f"quality {face.quality.value:.2f}, " if face.quality else ""
        return f"{face.subject} enrolled ({quality}change {decision.gallery_version})"
    if face is None or decision.outcome not in (Outcome.MATCH, Outcome.UNKNOWN):
        return decision.reason or decision.outcome.value.replace("_", " ")
    score = score_of(decision)
    if decision.kind is Kind.VERIFY:
        if face.nearest is None:
            return decision.reason or "nobody to compare with"
        return f"{face.nearest} ({score})" if decision.subject else f"not {face.nearest} ({score})"
    if decision.subject is not None:
        return f"{decision.subject} ({score})"
    return f"nobody we know ({score})" if face.score is not None else "nobody we know (nobody is enrolled)"


def score_of(decision: Decision) -> str:
    """`0.62 of 0.45`: the score, and what a match needs."""
    if decision.face is None or decision.face.score is None:
        return "no score"
    needed = "" if decision.cutoff is None else f", a match needs {decision.cutoff:.2f}"
    return f"score {decision.face.score:.2f}{needed}"


def time_of(unix_ms: int) -> str:
    """Local time of day for lists, with the date."""
    return datetime.fromtimestamp(unix_ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def age_of(ms: int) -> str:
    """A duration as a person says it."""
    seconds = max(0, ms // 1000)
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


#: Of a receipt's lines, those that are no erasure.
_BLOTTED = {
    "named": "decisions about others in which the name was blotted out",
    "named_events": "events of others in which the name was blotted out",
}


def receipt_lines(receipt: "Receipt") -> list[str]:
    """A receipt of forgetting in words."""
    who = f"subject {receipt.subject_id}" if receipt.subject_id else "everybody"
    lines = [
        f"{who} of gallery {receipt.gallery} was forgotten on {time_of(receipt.at_ms)} by {receipt.by} "
        f"(change {receipt.sequence})"
    ]
    lines += [
        f"{each.count:>8} {_BLOTTED.get(each.kind.value, each.kind.replace('_', ' ') + ' erased')}"
        for each in receipt.erased
        if each.count
    ]
    if receipt.replicas:
        lines.append(f"{len(receipt.replicas):>8} workers confirmed: no search finds it, no vector is in memory")
    if receipt.silent:
        lines.append(f"{len(receipt.silent):>8} workers or jobs had not confirmed: {', '.join(receipt.silent)}")
    lines += [f"   not reached: {each}" for each in receipt.beyond]
    return lines

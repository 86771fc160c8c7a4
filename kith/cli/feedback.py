"""kith feedback: say whether a decision was right, so that the gallery's cutoff learns from it."""

from enum import StrEnum
from typing import Annotated

import typer

from kith import wire
from kith.calibration_samples import SearchSample, Truth
from kith.cli.exits import Exit
from kith.cli.terminal import Json, answer, answer_json, client_for, say
from kith.cli.wording import line_of
from kith.errors import NoFeedback
from kith.feedback import Feedback
from kith.jobs import Decision

app = typer.Typer()

_MEANT = {
    Truth.MATED: "a search for somebody enrolled who was the nearest",
    Truth.NONMATED: "a search for a stranger",
    Truth.MISTAKEN: "a search for somebody enrolled who was not the nearest",
}


class Said(StrEnum):
    """What a person says of a decision."""

    RIGHT = "right"
    WRONG = "wrong"
    STRANGER = "stranger"
    NOTHING = "nothing"


@app.command(rich_help_panel="Decisions")
def feedback(
    context: typer.Context,
    named: Annotated[
        str, typer.Argument(metavar="DECISION_ID", help="Or the id of a job: all of its decisions.", show_default=False)
    ],
    said: Annotated[Said, typer.Argument(help="What it was; nothing takes back what was said.", show_default=False)],
    actually: Annotated[
        str | None, typer.Option("--actually", metavar="NAME", help="With wrong: who it was, if somebody enrolled.")
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(help="Any word; searches with the same word are of one stranger or track, and count as one."),
    ] = None,
    sampled: Annotated[
        bool,
        typer.Option("--sampled", help="It was picked whatever its answer, as in a review. Of a job, it always is."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Say whether a decision was right. `kith results --json` has the ids.

    \b
    kith feedback 5f0e…:0 right                  it was whom it named, or rightly nobody
    kith feedback 5f0e…:0 wrong                  not this person
    kith feedback 5f0e…:0 wrong --actually "Ada Lovelace"
    kith feedback 5f0e… stranger                 a whole job: nobody on its pictures is enrolled
    kith feedback 5f0e…:0 nothing                take it back

    Upkeep derives the cutoff anew from what was said, for galleries that carry a target rate (kith cutoff). Objections
    show how high strangers come; how often they do, only searches show that were picked whatever their answer.
    """
    if actually is not None and said is not Said.WRONG:
        raise typer.BadParameter("--actually says who it was in place of whom it named; it goes with wrong")
    with client_for(context) as client:
        decisions = client.feedback.find(named)
        whole_job = [each.decision_id for each in decisions] != [named]
        if whole_job and said in (Said.RIGHT, Said.WRONG):
            # One word for many answers would be right for some and wrong for others.
            raise NoFeedback(f"{named} is a job of {len(decisions)} decisions; of all of them say stranger or nothing")
        kept, refused = 0, 0
        for each in decisions:
            try:
                sample = _judge(client.feedback, each, said, actually, group, sampled or whole_job)
            except NoFeedback as why:
                if not whole_job:
                    raise
                refused += 1
                say(f"kith: passed over: {why}")
                continue
            kept += 1
            _show(each, sample, as_json)
    if refused and not kept:
        raise typer.Exit(Exit.FAILED)


def _judge(
    feedback: Feedback, decision: Decision, said: Said, actually: str | None, group: str | None, sampled: bool
) -> SearchSample | None:
    if said is Said.NOTHING:
        feedback.withdraw(decision)
        return None
    if said is Said.RIGHT:
        return feedback.confirm(decision, group=group, sampled=sampled)
    if said is Said.WRONG:
        return feedback.refute(decision, actually=actually, group=group, sampled=sampled)
    return feedback.stranger(decision, group=group, sampled=sampled)


def _show(decision: Decision, sample: SearchSample | None, as_json: bool) -> None:
    if as_json:
        answer_json({"decision_id": decision.decision_id, "sample": None if sample is None else wire.to_dict(sample)})
    elif sample is None:
        answer(f"{line_of(decision)}: nothing is said of it any more")
    else:
        answer(f"{line_of(decision)}: kept as {_MEANT[sample.truth]}")

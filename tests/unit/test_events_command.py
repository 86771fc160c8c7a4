"""What `kith events` says of each kind of event."""

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from kith import cli
from kith.cli.events import line_of
from kith.watching.events import Event, EventKind, Proof, schema

NAMED = Proof(3, (), "crops", "Ada", 0.61, 0.466, votes=2)
EVENT = Event(
    "front.r.1:1", EventKind.NEW, "door", 1000, visit="front.r.1", camera="front", cameras=("front",), started_ms=1000
)  # fmt: skip
ADA = replace(EVENT, subject="Ada", evidence=NAMED)
END = replace(ADA, kind=EventKind.END, camera=None, cameras=("front", "hall"), ended_ms=13_400)


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (EVENT, "front: somebody is there [front.r.1]"),
        (ADA, "front: Ada is there (3 crops, 2 match, together 0.61 of 0.47) [front.r.1]"),
        (replace(EVENT, stranger="stranger-7"), "front: stranger-7 is there [front.r.1]"),
        (
            replace(ADA, kind=EventKind.UPDATE, why="changed_mind", was="Bob", evidence=None),
            "front: it is Ada, not Bob [front.r.1]",
        ),
        (replace(ADA, kind=EventKind.UPDATE, why="better_crop"), "front: a better picture of Ada [front.r.1]"),
        (END, "front, hall: Ada is gone after 12 s (3 crops, 2 match, together 0.61 of 0.47) [front.r.1]"),
        (
            replace(END, late=True, evidence=None),
            "front, hall: Ada is gone after 12 s, too late to be announced [front.r.1]",
        ),
        (
            Event("t:u", EventKind.UNUSABLE, "door", 1, camera="front", track="front.r.2", why="too_small"),
            "front: somebody passed, too small [front.r.2]",
        ),
        (replace(ADA, kind=EventKind.MERGED, into="hall.r.1"), "Ada is on visit hall.r.1 [front.r.1]"),
        (
            Event("s:m", EventKind.MERGED, "door", 1, stranger="stranger-2", into="stranger-1", why="said"),
            "stranger-2 and stranger-1 are one",
        ),
        (replace(ADA, kind=EventKind.RENAMED, was="stranger-1"), "stranger-1 was Ada [front.r.1]"),
    ],
)
def test_a_line_says_what_happened_to_whom_and_where(event: Event, line: str) -> None:
    assert line_of(event) == line


def test_the_schema_is_printed_where_nothing_runs() -> None:
    result = CliRunner().invoke(cli.app, ["events", "--schema"])
    assert (result.exit_code, json.loads(result.stdout)) == (0, schema())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--from", "yesterday"], "start, now or an entry's id"), (["--consumer", "a"], "names a member of a --group")],
)
def test_what_no_stream_can_be_read_by_is_refused(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(cli.app, ["events", *arguments], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())


def test_a_stranger_is_a_number() -> None:
    result = CliRunner().invoke(cli.app, ["strangers", "show", "Ada"], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert "Ada is no stranger" in result.output

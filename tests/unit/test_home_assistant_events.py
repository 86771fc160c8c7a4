"""What Home Assistant makes of an event, by the template it is given."""

import json

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from kith import wire
from kith.outward.discovery import Discovery
from kith.outward.topics import Topics
from kith.watching.events import Event, EventKind
from tests.told import event


@pytest.fixture
def sandbox() -> ImmutableSandboxedEnvironment:
    """As Home Assistant renders (its helpers/template.py): what is missing is undefined, and `to_json` refuses
    the undefined."""
    made = ImmutableSandboxedEnvironment()
    made.filters["to_json"] = json.dumps
    return made


@pytest.mark.parametrize(
    ("said", "has"),
    [
        (event(), {"event_type": "new", "visit": "v1"}),
        (event(subject="Ada"), {"event_type": "new", "visit": "v1", "subject": "Ada"}),
        (
            event(EventKind.UPDATE, stranger="stranger-1", why="stranger", snapshot="ab/cd"),
            {"event_type": "update", "visit": "v1", "stranger": "stranger-1", "why": "stranger", "snapshot": "ab/cd"},
        ),
        (event(EventKind.UNUSABLE, visit=None, why="blurred"), {"event_type": "unusable", "why": "blurred"}),
    ],
    ids=["nobody known", "somebody known", "a stranger", "no picture fit"],
)
def test_every_event_becomes_one_there_and_what_it_does_not_have_is_none(
    sandbox: ImmutableSandboxedEnvironment, said: Event, has: dict[str, str]
) -> None:
    configs = [json.loads(message.payload) for message in Discovery("ha", Topics("kith", 5_000)).camera("front")]
    [template] = [config["value_template"] for config in configs if "event_types" in config]
    payload = wire.to_json(said)
    shown = json.loads(sandbox.from_string(template).render(value=payload, value_json=json.loads(payload)))
    assert shown == dict.fromkeys(("subject", "stranger", "visit", "why", "snapshot")) | has

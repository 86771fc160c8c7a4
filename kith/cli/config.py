"""kith config: the settings as they are in force."""

import json
from typing import Any
from urllib.parse import urlsplit

import typer
from pydantic import BaseModel, SecretStr

from kith.addresses import address_of
from kith.cli.terminal import Json, answer, answer_json, settings_for
from kith.settings import Settings

app = typer.Typer()
_group = typer.Typer(no_args_is_help=True, help="The settings as they are in force.")
app.add_typer(_group, name="config", rich_help_panel="System")

_MASK = "********"


@_group.command()
def show(context: typer.Context, as_json: Json = False) -> None:
    """Every setting a command run here and now would use, secrets masked."""
    settings = settings_for(context)
    if as_json:
        answer_json(masked(settings))
        return
    for knob, value in _flat("", masked(settings)):
        answer(f"{knob} = {'not set' if value is None else json.dumps(value, ensure_ascii=False)}")


def masked(settings: Settings) -> dict[str, Any]:
    """All settings as plain JSON types. Of a URL the password alone is masked: where it leads is what one looks for."""
    return {name: _plain(getattr(settings, name)) for name in type(settings).model_fields}


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return {name: _plain(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, SecretStr):
        return _without_password(value.get_secret_value())
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value if isinstance(value, bool | int | float | None) else str(value)


def _without_password(secret: str) -> str:
    if not secret:
        return ""
    try:
        url = urlsplit(secret)
        if url.scheme and "://" in secret:
            user = f"{url.username or ''}:{_MASK}@" if url.password else (f"{url.username}@" if url.username else "")
            return address_of(secret, user)
    except ValueError:
        pass
    return _MASK


def _flat(prefix: str, value: Any) -> list[tuple[str, Any]]:
    if not isinstance(value, dict):
        return [(prefix, value)]
    return [pair for name, inner in value.items() for pair in _flat(f"{prefix}.{name}" if prefix else name, inner)]

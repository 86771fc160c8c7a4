"""The command line. `main` is the console script `kith`; each noun has its file, and none of them loads torch."""

import sys
import traceback
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from kith.cli import (
    api,
    apikeys,
    audit,
    calibrate,
    camera,
    config,
    cutoff,
    dead,
    demo,
    evaluate,
    events,
    extend,
    faces,
    feedback,
    forget,
    gallery,
    images,
    keys,
    migrate,
    models,
    pack,
    receipts,
    results,
    status,
    strangers,
    subjects,
    submit,
    synth,
    train,
    up,
    webhook,
)
from kith.cli.exits import MEANINGS, Exit, exit_of
from kith.cli.terminal import Globals, say
from kith.errors import KithError

_HELP = """Recognise the people you know, and keep recognising as the list grows.

Start the system on this machine with `kith up`, then, in another terminal:

\b
  kith enrol "Ada Lovelace" ada1.jpg ada2.jpg   remember a person
  kith identify somebody.jpg                    who is this, or nobody we know?
  kith submit photos/                           thousands of images, resumable
  kith results --follow                         every decision as it comes
  kith status                                   what runs, what waits

Commands talk to the stack of `kith up` in ~/.kith (another home: --home, KITH_HOME), unless a Redis is named
(KITH_REDIS__URL, or redis.url in the configuration). With --json, standard output holds JSON and nothing else.
"""

_EPILOG = "\b\nExit status\n" + "\n".join(f"{code.value:>5}  {meaning}" for code, meaning in MEANINGS.items())

app = typer.Typer(
    name="kith",
    help=_HELP,
    epilog=_EPILOG,
    no_args_is_help=True,
    rich_markup_mode="rich",
    # `main` answers for errors: one line each, not a page of frames.
    pretty_exceptions_enable=False,
)

_SYSTEM = (
    *(up, api, apikeys, demo, faces, submit, results, feedback, camera, events, strangers),
    *(subjects, forget, gallery, cutoff, migrate, audit, keys, receipts, images, webhook, status, dead, config),
)
_LEARNING = (train, pack, extend, evaluate, calibrate, models, synth)

for _part in (*_SYSTEM, *_LEARNING):
    app.add_typer(_part.app)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"kith {version('kith')}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    config_file: Annotated[
        Path | None,
        typer.Option("--config", help="TOML file with settings (or KITH_CONFIG); config/default.toml explains them."),
    ] = None,
    home: Annotated[
        Path | None,
        typer.Option("--home", help="Home of a local stack (or KITH_HOME; default ~/.kith). Beats KITH_REDIS__URL."),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    _: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    context.obj = Globals(config_file, home, debug)


def main() -> int:
    """Entry point; the exit status."""
    # A file name that is no text, or a terminal that cannot show a name, must not end a command half-way.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        app(prog_name="kith")
    except KithError as wrong:
        _explain(wrong, str(wrong))
        return exit_of(wrong)
    except OSError as fault:
        # A home that may not be written, a full disk: the system's own words, with the path in them, are the best.
        _explain(fault, str(fault))
        return Exit.FAILED
    except Exception as bug:  # noqa: BLE001 (the last resort: one line and a status of its own)
        _explain(bug, f"unexpected {type(bug).__name__}: {bug} (kith --debug … shows where)")
        return Exit.BUG
    return Exit.OK


def _explain(error: Exception, line: str) -> None:
    # The context is gone with the command that failed; the word on the command line is what remains of it.
    if "--debug" in sys.argv:
        traceback.print_exception(error)
    say(f"kith: {line}")

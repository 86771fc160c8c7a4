"""kith api: the HTTP door, as a process of its own."""

import os
import sys
from typing import Annotated

import typer

from kith.applications import application_root, process_environment
from kith.cli.terminal import settings_for
from kith.installation import check_running

app = typer.Typer()


@app.command(rich_help_panel="System")
def api(
    context: typer.Context,
    host: Annotated[str | None, typer.Option(help="Where to listen (default: the setting api.host).")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65_535, help="On which port (default: api.port).")] = None,
) -> None:
    """Serve Kith over HTTP until Ctrl-C; needs the extra `api`. `kith up` serves it too, unless told not to.

    Callers need a key (kith apikeys create). TLS is for a proxy in front of it; docs/api.md says more.
    """
    settings = settings_for(context)
    check_running(settings)
    root, environment = application_root(), process_environment(settings)
    said = [*(["--host", host] if host else []), *([] if port is None else ["--port", str(port)])]
    sys.stdout.flush()
    os.chdir(root)
    # In our place: signals and exit statuses are its own.
    os.execve(sys.executable, [sys.executable, "-m", "producers.api", *said], environment)  # noqa: S606 (no shell)

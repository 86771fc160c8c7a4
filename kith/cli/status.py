"""kith status: the system at a glance."""

from dataclasses import asdict

import typer

from kith.cli.galleries import show_galleries
from kith.cli.terminal import Json, answer, answer_json, answer_table, client_for, plain_table
from kith.cli.wording import age_of
from kith.jobs import PUBLISH_QUEUE, now_ms
from kith.status import Status

app = typer.Typer()


@app.command(rich_help_panel="System")
def status(context: typer.Context, as_json: Json = False) -> None:
    """What runs, what waits: queues and lanes, workers with model and batch fill, galleries, dead letters."""
    with client_for(context) as client:
        found = client.status()
        home = client.settings.home
    if as_json:
        answer_json(asdict(found))
        return
    lanes = "  ".join(
        f"{lane} {'?' if depth is None else depth}" for lane, depth in found.lanes.items() if lane != PUBLISH_QUEUE
    )
    publish = found.lanes.get(PUBLISH_QUEUE)
    answer(f"home       {home}")
    answer(f"waiting    {lanes}  {PUBLISH_QUEUE} {'?' if publish is None else publish}")
    if None in found.lanes.values():
        answer("           the broker does not answer; jobs are accepted and sent when it is back")
    answer(f"open jobs  {found.open_jobs}")
    answer(f"dead       {found.dead_letters}{'  (kith dead list)' if found.dead_letters else ''}")
    answer(f"results    {found.results} kept")
    answer("")
    _show_workers(found)
    answer("")
    if found.galleries:
        show_galleries(found.galleries)
    else:
        answer("no galleries yet: kith enrol SUBJECT IMAGE… makes the first")


def _show_workers(found: Status) -> None:
    if not found.workers:
        answer("no workers: jobs wait until one starts (kith up)")
        return
    table = plain_table(
        *("worker", "model", "runtime", "batch", "fill", "jobs", "images", "memory", "up"),
        right=("batch", "fill", "jobs", "images", "memory", "up"),
    )
    for beat in found.workers:
        model = f"{beat.model_name} {beat.model_id}" if beat.model_id else beat.role
        fill = "" if beat.batch_fill is None else f"{beat.batch_fill:.0%}"
        size = "" if beat.batch_size is None else str(beat.batch_size)
        memory = "" if beat.rss_mb is None else f"{beat.rss_mb:.0f} MB"
        up = age_of(now_ms() - beat.started_ms)
        table.add_row(
            beat.worker_id, model, beat.runtime or "", size, fill, str(beat.jobs), str(beat.images), memory, up
        )
    answer_table(table)

"""kith migrate: a gallery moves to another model while it goes on answering."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from kith.checkpoints import Pack, load_pack
from kith.cli.counting import counting
from kith.cli.exits import Exit
from kith.cli.migrate_screen import show_shadow, show_state, show_unable
from kith.cli.migrate_shadow import Shadow, shadow_of
from kith.cli.terminal import Json, answer, answer_json, client_for, say
from kith.client import Client
from kith.errors import CannotMigrate
from kith.migrating import Migrator
from kith.migration import Migration
from kith.packs.shipped import default_pack, imported_packs, resolve_pack, shipped_packs

app = typer.Typer()


@app.command(rich_help_panel="Galleries")
def migrate(
    context: typer.Context,
    gallery: Annotated[str, typer.Argument(help="The gallery.")],
    to: Annotated[str | None, typer.Option("--to", metavar="PACK", help="The model pack, by folder or name.")] = None,
    switch: Annotated[bool, typer.Option("--switch", help="Answer by the new model from now on.")] = False,
    rollback: Annotated[bool, typer.Option("--rollback", help="Answer by the former model again.")] = False,
    abandon: Annotated[
        bool, typer.Option("--abandon", help="Erase the other model's vectors; after a switch, there is no way back.")
    ] = False,
    status: Annotated[bool, typer.Option("--status", help="Where it stands, and which pictures failed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --to: switch as soon as nothing is missing.")] = False,
    drop_failed: Annotated[
        bool, typer.Option("--drop-failed", help="At the switch, remove templates whose picture failed.")
    ] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try pictures that failed once more.")] = False,
    shadow: Annotated[
        int, typer.Option("--shadow", min=0, metavar="N", help="Ask the N latest searches of both models; needs torch.")
    ] = 0,
    timeout: Annotated[float, typer.Option(min=1, help="Give up when so many seconds bring no progress.")] = 120.0,
    as_json: Json = False,
) -> None:
    """Move a gallery to another model without a pause: it answers by the old one until all is ready, then by the new.

    \b
    kith migrate staff --to packs/new                embed every enrolment picture anew; stops before the switch
    kith migrate staff --to packs/new --shadow 200   … and say which recent answers would change
    kith migrate staff --switch                      all workers at one change of the gallery
    kith migrate staff --rollback                    the former model, with the cutoff it had
    kith migrate staff --abandon                     erase the vectors of the model that is not in use

    Workers need both models meanwhile: model.also = ["packs/new"]. Interrupted at any point, the same command goes on.
    """
    verbs = [bool(to), switch, rollback, abandon, status]
    if sum(verbs) != 1:
        raise typer.BadParameter("one of --to PACK, --switch, --rollback, --abandon and --status")
    with client_for(context) as client:
        run = _Run(client, gallery, timeout, as_json)
        if to:
            run.to(to, yes=yes, drop=drop_failed, again=retry_failed, shadow=shadow)
        elif switch:
            run.switch(drop_failed)
        elif rollback:
            run.roll_back(drop_failed)
        elif abandon:
            client.migrations.end(gallery)
        run.report(after=abandon)


class _Run:
    """One command."""

    def __init__(self, client: Client, gallery: str, timeout_s: float, as_json: bool) -> None:
        self._client = client
        self._gallery = gallery
        self._as_json = as_json
        self._said: dict[str, Any] = {}
        self._migrator = Migrator(
            *(client.galleries, client.migrations, client.intake, client.ledger, gallery), patience_s=timeout_s
        )

    def to(self, named: str, *, yes: bool, drop: bool, again: bool, shadow: int) -> None:
        """Embed what is missing, and say what a switch would do, or do it."""
        pack = _pack(self._client, named)
        info = self._client.galleries.info(self._gallery)
        if info.model_id == pack.model_id:
            raise CannotMigrate(f"gallery {self._gallery} is of model {pack.model_id} ({named}) already")
        self._client.migrations.begin(
            self._gallery, model_id=pack.model_id, dimension=pack.dimension, pack=str(pack.path)
        )
        if again:
            self._client.migrations.retry(self._gallery)
        self._embed(pack.model_id)
        if shadow:
            found = self._shadow(pack, shadow)
            self._said["shadow"] = asdict(found)
            if not self._as_json:
                show_shadow(found)
        if yes:
            self.switch(drop)
        elif not self._as_json:
            answer(f"nothing has been switched; kith migrate {self._gallery} --switch does it")

    def switch(self, drop: bool) -> None:
        """Switch to what is ready; the workers must hold it."""
        state = self._state()
        holding, lacking = self._migrator.workers(state.model_id)
        if not holding:
            raise CannotMigrate(
                f'no embed worker holds model {state.model_id}: start them with model.also = ["{state.pack}"] first'
            )
        for beat in lacking:
            say(f"kith: worker {beat.worker_id} lacks the model and will put jobs of {self._gallery} off")
        settings = self._migrator.settings_for(self._default(state), said=self._client.settings.decisions.cutoff)
        if state.switched:
            say("kith: this goes back to the former model; --rollback also brings back the cutoff it had")
        self._said["change"] = self._migrator.switch(state.model_id, settings, drop_unable=drop)
        self._tell_switched(state.model_id)

    def roll_back(self, drop: bool) -> None:
        """Go back, with what was enrolled since."""
        state = self._state()
        with counting(self._as_json) as count:
            change = self._migrator.roll_back(_counted(count), drop_unable=drop)
        self._said["change"] = change
        self._tell_switched(state.model_id)

    def report(self, *, after: bool) -> None:
        """Where it stands now."""
        state = None if after else self._client.migrations.state(self._gallery)
        unable = {} if state is None else self._client.migrations.unable(self._gallery)
        info = self._client.galleries.info(self._gallery)
        if self._as_json:
            plain = None if state is None else {**asdict(state), "missing": state.missing}
            answer_json(
                {"gallery": self._gallery, "model_id": info.model_id, "other": plain, "failed": unable, **self._said}
            )
        else:
            show_state(info, state)
            show_unable(unable)
        if state is not None and (state.missing or unable) and not state.switched:
            raise typer.Exit(Exit.FAILED)

    def _embed(self, model_id: str) -> None:
        with counting(self._as_json) as count:
            self._migrator.embed(model_id, _counted(count))

    def _state(self) -> Migration:
        state = self._client.migrations.state(self._gallery)
        if state is None:
            raise CannotMigrate(f"gallery {self._gallery} is not moving to another model: kith migrate … --to PACK")
        return state

    def _default(self, state: Migration) -> float:
        return _pack(self._client, state.pack).default_cutoff

    def _tell_switched(self, model_id: str) -> None:
        if not self._as_json:
            answer(f"gallery {self._gallery} answers by model {model_id} since change {self._said['change']}")

    def _shadow(self, pack: Pack, count: int) -> Shadow:
        info = self._client.galleries.info(self._gallery)
        own = _pack_of_model(self._client, info.model_id)
        settings = self._migrator.settings_for(pack.default_cutoff)
        with counting(self._as_json) as tell:
            return shadow_of(self._client, self._gallery, (own, pack), settings, count, np.random.default_rng(0), tell)


def _counted(count: Any) -> Any:
    def tell(state: Migration) -> None:
        count("embedded", state.embedded + state.unable, state.templates)

    return tell


def _pack(client: Client, named: str) -> Pack:
    return load_pack(resolve_pack(named, client.settings.home))


def _pack_of_model(client: Client, model_id: str) -> Pack:
    settings = client.settings
    known: list[Path | None] = [*shipped_packs().values(), *imported_packs(settings.home).values(), default_pack()]
    named = [settings.model.pack, *map(Path, settings.model.also)]
    known += [resolve_pack(each, settings.home) for each in named if each is not None]
    for folder in known:
        if folder is not None and (pack := _pack(client, str(folder))).model_id == model_id:
            return pack
    raise CannotMigrate(f"the pack of model {model_id} is not on this machine; --shadow needs both")

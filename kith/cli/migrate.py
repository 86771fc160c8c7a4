"""kith migrate: a gallery moves to another model while it goes on answering."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from kith.checkpoints import Pack, load_pack
from kith.cli.counting import counting
from kith.cli.exits import Exit
from kith.cli.migrate_screen import show_left_behind, show_shadow, show_state
from kith.cli.migrate_shadow import shadow_of
from kith.cli.terminal import Json, answer, answer_json, client_for, say
from kith.client import Client
from kith.errors import CannotMigrate
from kith.gallery_settings import GallerySettings
from kith.left_behind import told
from kith.migrating import Migrator
from kith.migration import Migration
from kith.packs.shipped import default_pack, imported_packs, resolve_pack, shipped_packs

app = typer.Typer()

#: Searches compared by a preview.
_SHADOW = 200


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
    yes: Annotated[
        bool,
        typer.Option(
            "--yes", "-y", help="With --to: switch as soon as nothing is missing; with --abandon: do not ask."
        ),
    ] = False,
    leave_behind: Annotated[
        bool, typer.Option("--leave-behind", help="At the switch, remove templates that cannot move, for good.")
    ] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try pictures that failed once more.")] = False,
    shadow: Annotated[
        int | None,
        typer.Option("--shadow", min=0, metavar="N", help="Ask the N latest searches of both models; needs torch."),
    ] = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="With --switch, --rollback: only show what it would do (--shadow 200).")
    ] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Give up when so many seconds bring no progress.")] = 120.0,
    as_json: Json = False,
) -> None:
    """Move a gallery to another model without a pause: it answers by the old one until all is ready, then by the new.

    \b
    kith migrate staff --to packs/new                embed every enrolment picture anew; stops before the switch
    kith migrate staff --to packs/new --shadow 200   … and say which recent answers would change
    kith migrate staff --switch --preview            who would be left behind, which recent answers would change
    kith migrate staff --switch                      all workers at one change of the gallery
    kith migrate staff --rollback                    the former model, with the cutoff it had
    kith migrate staff --abandon                     erase the vectors of the model that is not in use

    Workers need both models meanwhile: model.also = ["packs/new"]. Interrupted at any point, the same command goes on.
    """
    verbs = [bool(to), switch, rollback, abandon, status]
    if sum(verbs) != 1:
        raise typer.BadParameter("one of --to PACK, --switch, --rollback, --abandon and --status")
    if preview and not (switch or rollback):
        raise typer.BadParameter("--preview goes with --switch or --rollback; --to … --shadow compares beforehand")
    idle = {
        "--yes": yes and not (to or abandon),
        "--retry-failed": retry_failed and not to,
        "--shadow": shadow is not None and not (to or preview),
        "--leave-behind": leave_behind and not (switch or rollback or (to and yes)),
    }
    for option in (name for name, given in idle.items() if given):
        # It would be believed to have done something.
        raise typer.BadParameter(f"{option} means nothing here; kith migrate --help says what it goes with")
    with client_for(context) as client:
        run = _Run(client, gallery, timeout, as_json)
        if to:
            run.to(to, yes=yes, leave=leave_behind, again=retry_failed, shadow=shadow or 0)
        elif preview:
            run.preview(back=rollback, shadow=_SHADOW if shadow is None else shadow)
        elif switch:
            run.switch(leave_behind)
        elif rollback:
            run.roll_back(leave_behind)
        elif abandon:
            run.abandon(ask=not yes)
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

    def abandon(self, *, ask: bool) -> None:
        """Erase what is there of the model that is not in use."""
        state = self._client.migrations.state(self._gallery)
        if ask and state is not None:
            _ask(self._gallery, state)
        self._client.migrations.end(self._gallery)

    def to(self, named: str, *, yes: bool, leave: bool, again: bool, shadow: int) -> None:
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
        if not leave and (lost := self._migrator.left_behind()):
            # Before the hours that all the others may take.
            say(f"kith: {told(self._gallery, lost)}")
        self._embed(pack.model_id)
        if shadow:
            self._shadow(pack, self._migrator.settings_for(pack.default_cutoff), shadow)
        if yes:
            self.switch(leave)
        elif not self._as_json:
            answer(f"nothing has been switched; kith migrate {self._gallery} --switch does it")

    def preview(self, *, back: bool, shadow: int) -> None:
        """What a switch, or the way back, would do; nothing is switched."""
        state = self._state()
        if back and state.settings is None:
            raise CannotMigrate(f"gallery {self._gallery} was not switched to another model that it could go back from")
        self._said["applied"] = False
        if shadow:
            pack = _pack_of_model(self._client, state.model_id)
            settings = state.settings if back else None
            self._shadow(pack, settings or self._migrator.settings_for(pack.default_cutoff), shadow)
        if not self._as_json:
            verb = "--rollback" if back else "--switch"
            answer(f"nothing has been switched; kith migrate {self._gallery} {verb} does it")

    def switch(self, leave: bool) -> None:
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
        self._said["change"] = self._migrator.switch(state.model_id, settings, leave_behind=leave)
        self._tell_switched(state.model_id)

    def roll_back(self, leave: bool) -> None:
        """Go back, with what was enrolled since."""
        state = self._state()
        with counting(self._as_json) as count:
            change = self._migrator.roll_back(_counted(count), leave_behind=leave)
        self._said["change"] = change
        self._tell_switched(state.model_id)

    def report(self, *, after: bool) -> None:
        """Where it stands now."""
        state = None if after else self._client.migrations.state(self._gallery)
        unable = {} if state is None else self._client.migrations.unable(self._gallery)
        lost = self._migrator.left_behind() if unable else []
        info = self._client.galleries.info(self._gallery)
        if self._as_json:
            plain = None if state is None else {**asdict(state), "missing": state.missing}
            failed = {"failed": unable, "left_behind": [asdict(each) for each in lost]}
            answer_json({"gallery": self._gallery, "model_id": info.model_id, "other": plain, **failed, **self._said})
        else:
            show_state(info, state)
            show_left_behind(self._gallery, lost)
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
        pack = _pack(self._client, state.pack)
        # After a switch the move began with the pack of the gallery, and it is the former model that is beside it.
        if pack.model_id != state.model_id:
            pack = _pack_of_model(self._client, state.model_id)
        return pack.default_cutoff

    def _tell_switched(self, model_id: str) -> None:
        if not self._as_json:
            answer(f"gallery {self._gallery} answers by model {model_id} since change {self._said['change']}")

    def _shadow(self, pack: Pack, settings: GallerySettings, count: int) -> None:
        info = self._client.galleries.info(self._gallery)
        own = _pack_of_model(self._client, info.model_id)
        with counting(self._as_json) as tell:
            found = shadow_of(self._client, self._gallery, (own, pack), settings, count, np.random.default_rng(0), tell)
        self._said["shadow"] = asdict(found)
        if not self._as_json:
            show_shadow(found)


def _ask(gallery: str, state: Migration) -> None:
    if not sys.stdin.isatty():
        raise typer.BadParameter("nobody can be asked here; add --yes")
    back = ": there is no way back to it then" if state.switched else ""
    what = f"the {state.embedded:,} vectors of model {state.model_id} beside gallery {gallery}"
    if not typer.confirm(f"Erase {what}{back}?", err=True):
        say("nothing was changed")
        raise typer.Exit(Exit.FAILED)


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

"""kith gallery export, import, restore: galleries as files."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kith.cli.counting import counting
from kith.cli.exits import Exit
from kith.cli.terminal import Json, answer, answer_json, client_for, say
from kith.client import Client

if TYPE_CHECKING:
    from kith.portable import Restored
    from kith.sealing import Sealer

app = typer.Typer()

_Name = Annotated[str, typer.Argument(metavar="GALLERY", show_default=False)]
_File = Annotated[Path, typer.Argument(metavar="FILE", show_default=False)]
_Images = Annotated[bool, typer.Option("--images", help="The pictures of the templates as well.")]
#: Refusals shown to a person; --json has them all.
_MOST_LINES = 20
_TABLES = (".csv", ".npy", ".npz")


@app.command()
def export(
    context: typer.Context,
    gallery: _Name,
    file: _File,
    images: _Images = False,
    seal: Annotated[
        bool, typer.Option("--seal", help="Vectors sealed by the gallery's key, which the reader then needs.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write a gallery to one file, as it is at one change, while everything runs."""
    from kith.portable import export_gallery  # noqa: PLC0415

    with client_for(context) as client, counting(quiet=as_json) as tell:
        sealer = _sealer(client, gallery) if seal else None
        store = client.store if images else None
        manifest = export_gallery(client.galleries, gallery, file, images=store, sealer=sealer, tell=tell)
    if as_json:
        answer_json({**asdict(manifest), "parts": len(manifest.parts), "file": str(file)})
    else:
        pictures = f" and {manifest.images:,} pictures" if images else ""
        answer(
            f"{file}: gallery {gallery} at change {manifest.sequence}, "
            f"{manifest.subjects:,} subjects with {manifest.templates:,} templates{pictures}"
        )
    if not seal:
        say("the vectors stand in it in the clear: whoever has the file can search by it; --seal encrypts them")


@app.command("import")
def import_(
    context: typer.Context,
    gallery: _Name,
    file: _File,
    normalise: Annotated[bool, typer.Option("--normalise", help="Bring vectors of a table to length 1.")] = False,
    model: Annotated[
        str | None, typer.Option("--model", metavar="ID", help="Model of a table's vectors, if not the gallery's.")
    ] = None,
    names: Annotated[
        Path | None, typer.Option("--names", metavar="CSV", help="Beside vectors as .npy: whose they are.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="From the first row, not from where it was broken off.")
    ] = False,
    images: _Images = False,
    as_json: Json = False,
) -> None:
    """Bring people into a gallery: from an exported file, or from a table of vectors (.csv, .npy with --names, .npz).

    \b
    kith gallery import staff staff.kith                 an exported gallery; people are met by id or name
    kith gallery import staff vectors.csv                columns subject, v0, v1, …, or subject, vector (base64)
    kith gallery import staff v.npy --names names.csv    a row of names.csv for each vector

    Interrupted, the same command goes on where it was. Rows that are refused are listed; the others are not harmed.
    """
    kind = file.suffix.lower()
    if kind in _TABLES:
        _refuse({"--images": images}, "exported galleries")
    else:
        of_tables = {"--normalise": normalise, "--model": model, "--again": again}
        _refuse(of_tables, f"tables, which end in {', '.join(_TABLES)}")
    if kind != ".npy":
        _refuse({"--names": names}, "vectors that end in .npy")
    with client_for(context) as client, counting(quiet=as_json) as tell:
        if kind not in _TABLES:
            _restore(client, gallery, file, False, images, tell, as_json)
            return
        from kith.table_import import import_table  # noqa: PLC0415
        from kith.tables import open_table  # noqa: PLC0415

        with open_table(file, names, normalise=normalise) as table:
            done = import_table(client.galleries, gallery, table, model_id=model, again=again, tell=tell)
    if as_json:
        answer_json(asdict(done))
    else:
        answer(f"{done.enrolled:,} templates enrolled, {done.before:,} by an earlier run")
        _say_refused({f"row {row}": why for row, why in done.refused.items()}, done.refused_count)
    if done.refused_count:
        raise typer.Exit(Exit.FAILED)


def _refuse(options: Mapping[str, object], what: str) -> None:
    for option in (name for name, given in options.items() if given):
        # It would be believed to have done something.
        raise typer.BadParameter(f"{option} is for {what}")


@app.command()
def restore(
    context: typer.Context,
    gallery: _Name,
    file: _File,
    images: _Images = False,
    as_json: Json = False,
) -> None:
    """Bring an exported gallery back, into a new or empty one: ids, names, notes, pictures' names and dates stay."""
    with client_for(context) as client, counting(quiet=as_json) as tell:
        _restore(client, gallery, file, True, images, tell, as_json)


def _restore(
    client: Client,
    gallery: str,
    file: Path,
    into_empty: bool,
    images: bool,
    tell: Callable[[str, int, int], None],
    as_json: bool,
) -> None:
    from kith.portable import Archive, restore  # noqa: PLC0415

    with Archive(file) as archive:
        manifest = archive.manifest
        # The keys are those of the gallery it was exported from.
        sealer = _sealer(client, manifest.gallery) if manifest.sealed else None
        done = restore(
            *(client.galleries, archive, gallery),
            audit=client.audit,
            by=client.by,
            into_empty=into_empty,
            images=client.store if images else None,
            sealer=sealer,
            tell=tell,
        )
    if as_json:
        answer_json(asdict(done))
    else:
        _show(done, gallery, manifest.gallery, manifest.sequence)
    if done.refused:
        raise typer.Exit(Exit.FAILED)


def _show(done: "Restored", gallery: str, former: str, sequence: int) -> None:
    answer(
        f"gallery {gallery} has what {former} had at change {sequence}: {done.subjects:,} subjects "
        f"({done.new_subjects:,} new) with {done.templates:,} templates ({done.new_templates:,} new)"
    )
    _say_refused(done.refused, len(done.refused))


def _say_refused(refused: dict[str, str], count: int) -> None:
    for what, why in list(refused.items())[:_MOST_LINES]:
        say(f"  {what} is refused: {why}")
    if count > _MOST_LINES:
        say(f"  … {count:,} are refused in all (--json lists more)")


def _sealer(client: Client, gallery: str) -> "Callable[[str, int], Sealer]":
    from kith.sealing import Sealer  # noqa: PLC0415

    ring = client.keys.ring(gallery)
    return lambda epoch, dimension: Sealer(ring, epoch, dimension)

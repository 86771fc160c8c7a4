"""kith evaluate: how well a model pack recognises, in figures that say how far they could be off."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kith.checkpoints import load_pack
from kith.cli.counting import counting
from kith.cli.extras import needs_training
from kith.cli.terminal import Aligned, Json, answer, answer_json, answer_table, folder, plain_table, say, settings_for
from kith.packs.shipped import resolve_pack

if TYPE_CHECKING:
    from kith.evaluation.run import Evaluation

app = typer.Typer()

#: Lines about single pictures for a person; evaluation.json and --json have them all.
_MOST_LINES = 10


def existing(text: str) -> Path:
    """An argument that names a file, for typer."""
    path = Path(text).expanduser()
    if not path.is_file():
        raise typer.BadParameter(f"{path} is not a file")
    return path


@app.command(rich_help_panel="Learning")
def evaluate(
    context: typer.Context,
    pack: Annotated[
        str, typer.Argument(metavar="PACK", help="The model pack, a folder or a name.", show_default=False)
    ],
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", parser=folder, help="Faces: a folder SUBJECT/IMAGE.jpg.")
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(
            "--pairs", metavar="FILE", parser=existing, help="CSV: identity1,image1,identity2,image2,same[,fold]."
        ),
    ] = None,
    gallery_csv: Annotated[
        Path | None,
        typer.Option("--gallery-csv", metavar="FILE", parser=existing, help="CSV: identity,image of who is enrolled."),
    ] = None,
    probes_known: Annotated[
        Path | None,
        typer.Option("--probes-known", metavar="FILE", parser=existing, help="CSV: other pictures of those enrolled."),
    ] = None,
    probes_unknown: Annotated[
        Path | None,
        typer.Option("--probes-unknown", metavar="FILE", parser=existing, help="CSV: pictures of strangers."),
    ] = None,
    split: Annotated[
        bool, typer.Option("--split", help="Draw pairs and strangers, also where lists lie beside the folder.")
    ] = False,
    templates: Annotated[int, typer.Option(min=1, help="Pictures enrolled per subject, where drawn.")] = 2,
    aligned: Aligned = False,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where the network runs.")] = "auto",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads of the network; 0: half the cores.")] = 0,
    runtime: Annotated[str, typer.Option(help="What runs the network, as model.runtime names it.")] = "auto",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write report.html, plots and evaluation.json there.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed draws the same.")] = 0,
    as_json: Json = False,
) -> None:
    """Measure a model pack: verification and open-set identification, each figure with its 95 % interval.

    \b
    kith evaluate PACK --data faces/ --out report/   a folder, and a page of it
    kith evaluate PACK --pairs pairs.csv             listed pairs alone

    A folder is split into people known and strangers, and pairs are drawn. Where pairs.csv, or gallery.csv,
    probes_known.csv and probes_unknown.csv, lie beside it and name its pictures, it is done as they say.

    Faces are found, aligned and embedded as the service does it, in the runtime that would serve. A rate that the
    pictures are too few for is refused, with the number it takes. Pictures that cannot be used are skipped and listed.
    """
    with needs_training():
        from kith.evaluation.plan import Given, plan  # noqa: PLC0415
        from kith.evaluation.record import plain  # noqa: PLC0415
        from kith.evaluation.report import write_report  # noqa: PLC0415
        from kith.evaluation.run import run  # noqa: PLC0415
        from kith.evaluation.serving import open_serving  # noqa: PLC0415
    model = load_pack(resolve_pack(pack, settings_for(context).home))
    planned = plan(Given(data, pairs, gallery_csv, probes_known, probes_unknown, beside=not split))
    embedder, reader = open_serving(model, aligned, device, threads, runtime)
    with counting(quiet=as_json) as tell:
        found = run(
            model,
            embedder,
            reader,
            planned,
            templates=templates,
            seed=seed,
            tell=lambda done: tell("faces embedded", done, len(planned.images)),
            say=lambda step: say(f"kith: {step} …"),
        )
    files = write_report(found, reader, out.expanduser()) if out is not None else ()
    if as_json:
        answer_json(plain(found))
        return
    _show(found)
    for file in files:
        answer(f"wrote {file}")


def _show(found: "Evaluation") -> None:
    from kith.evaluation.record import cutoff_text, share_text, tables  # noqa: PLC0415

    embedded = found.embedded
    answer(
        f"{found.pack.manifest.name} ({found.pack.model_id}) on {found.runtime}: {len(embedded.images):,} pictures of "
        f"{len(set(embedded.subjects.tolist())):,} people in {found.seconds:.1f} s"
    )
    for table in tables(found):
        answer(f"\n{table.title} ({table.measured_on})")
        shown = plain_table("", "share (95 % interval)", "cutoff")
        for row in table.rows:
            refused = share_text(row.figure).startswith("refused")
            cutoff = "" if row.cutoff is None or refused else cutoff_text(row.cutoff)
            shown.add_row(f"  {row.what}", share_text(row.figure), cutoff)
        answer_table(shown)
    for words, lines in (
        ("pictures skipped", [f"{label}: {why}" for label, why in sorted(found.skipped.items())]),
        ("pictures under two names", [" = ".join(pair) for pair in embedded.duplicates]),
    ):
        if lines:
            answer(f"\n{len(lines)} {words}")
            for line in lines[:_MOST_LINES]:
                answer(f"  {line}")
            if len(lines) > _MOST_LINES:
                answer(f"  … and {len(lines) - _MOST_LINES} more (--json lists all)")

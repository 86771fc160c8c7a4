"""kith calibrate: the cutoff that lets in as few strangers as asked, at the size of a gallery."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer

from kith.amending import amend_settings
from kith.calibration import AtSize, Calibration, calibrate_gallery
from kith.calibration import calibrate as calibrate_people
from kith.checkpoints import Pack, load_pack
from kith.cli.counting import counting
from kith.cli.exits import Exit
from kith.cli.extras import needs_training
from kith.cli.terminal import (
    Aligned,
    Json,
    answer,
    answer_json,
    answer_table,
    client_for,
    folder,
    plain_table,
    say,
    settings_for,
)
from kith.client import Client
from kith.deriving import aiming_at, derived
from kith.errors import Rejected
from kith.evaluation.bootstrap import Estimate, Refused, percent
from kith.gallery_cutoff import Derived, grows_to
from kith.gallery_settings import Scoring
from kith.packs.shipped import resolve_pack

app = typer.Typer()

#: Skipped pictures shown to a person; --json has them all.
_MOST_LINES = 10


@dataclass(frozen=True, slots=True)
class _Faces:
    """What is calibrated on. words: for people."""

    vectors: Any
    labels: Any
    model_id: str
    words: str
    skipped: dict[str, str]


@app.command(rich_help_panel="Learning")
def calibrate(
    context: typer.Context,
    pack: Annotated[
        str | None, typer.Argument(metavar="PACK", help="The model pack, a folder or a name; with --data.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="DIR", parser=folder, help="Faces nobody trained on: SUBJECT/IMAGE.jpg."),
    ] = None,
    gallery: Annotated[
        str | None, typer.Option("--gallery", "-g", help="A live gallery, in place of PACK and --data.")
    ] = None,
    fpir: Annotated[float, typer.Option(help="Share of strangers' searches that may be given a name.")] = 0.001,
    subjects: Annotated[
        int | None,
        typer.Option(min=1, help="With --data: size of the gallery (default: the largest the data can show)."),
    ] = None,
    templates: Annotated[int, typer.Option(min=1, help="With --data: pictures enrolled per subject.")] = 2,
    apply: Annotated[
        bool, typer.Option("--apply", help="With --gallery: a cutoff that holds this rate as it grows, from now on.")
    ] = False,
    aligned: Aligned = False,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where the network runs.")] = "auto",
    seed: Annotated[int, typer.Option(min=0, help="The same seed draws the same.")] = 0,
    as_json: Json = False,
) -> None:
    """Find the cutoff for a false-positive identification rate, and how it moves as the gallery grows 10× and 100×.

    \b
    kith calibrate PACK --data faces/ --subjects 200   galleries drawn from it
    kith calibrate --gallery staff --fpir 0.01         by its own templates
    kith calibrate --gallery staff --fpir 0.01 --apply aim at it from now on, as kith cutoff --fpir does

    Measured in 3 / FPIR searches at least; at sizes the faces do not reach, extrapolated by a rule, and marked so.
    Status 1 when the cutoff at the size asked for could not be measured.
    """
    if (data is None) == (gallery is None):
        raise typer.BadParameter("calibrate on faces, with PACK --data DIR, or on a gallery, with --gallery NAME")
    if data is not None and pack is None:
        raise typer.BadParameter("--data needs the model pack that turns its faces into vectors: PACK --data DIR")
    if gallery is not None and (pack is not None or subjects is not None):
        raise typer.BadParameter("a gallery has its own model and size; leave out PACK and --subjects")
    if apply and gallery is None:
        raise typer.BadParameter("--apply needs --gallery, whose cutoff it sets")
    if not 0 < fpir < 1:
        raise typer.BadParameter(f"a rate lies between 0 and 1; --fpir 0.001 is one in a thousand, not {fpir:g}")
    random = np.random.default_rng(seed)
    try:
        if data is not None and pack is not None:
            faces = _of_folder(
                load_pack(resolve_pack(pack, settings_for(context).home)), data, aligned, device, as_json
            )
            found = calibrate_people(faces.vectors, faces.labels, fpir, random, subjects, templates)
        else:
            faces = _of_gallery(context, gallery)
            found = calibrate_gallery(faces.vectors, faces.labels, fpir, random)
    except ValueError as why:
        raise Rejected(str(why)) from None
    cutoff = found.cutoff.cutoff
    applied = None
    if apply and isinstance(cutoff, Estimate):
        with client_for(context) as client:
            applied = _apply(client, gallery or "", fpir, seed)
    if as_json:
        answer_json(
            {
                "model_id": faces.model_id,
                "calibrated_on": faces.words,
                "skipped": faces.skipped,
                "applied": applied and applied.cutoff,
                **_plain(found),
            }
        )
    else:
        _show(found, faces, applied, gallery)
    if isinstance(cutoff, Refused):
        raise typer.Exit(Exit.FAILED)


def _apply(client: Client, gallery: str, fpir: float, seed: int) -> Derived:
    """Make `fpir` the gallery's target, with the cutoff that upkeep would derive for it, and say what that rests on."""
    found = derived(client, gallery, fpir, seed)
    amend_settings(client.galleries, gallery, lambda info: aiming_at(info, found))
    return found


def _of_folder(model: Pack, data: Path, aligned: bool, device: str, quiet: bool) -> _Faces:
    with needs_training():
        from kith.evaluation.embedding import embed_folder  # noqa: PLC0415
        from kith.evaluation.serving import open_serving  # noqa: PLC0415
    embedder, reader = open_serving(model, aligned, device)
    with counting(quiet=quiet) as tell:
        found = embed_folder(embedder, reader, data, lambda done, of: tell("faces embedded", done, of))
    words = f"{len(found.images):,} pictures of {len(set(found.subjects.tolist())):,} people in {data}"
    return _Faces(found.vectors, found.subjects, model.model_id, words, found.skipped)


def _of_gallery(context: typer.Context, gallery: str | None) -> _Faces:
    with client_for(context) as client:
        snapshot = client.snapshot(gallery)
    if snapshot.settings.scoring is not Scoring.BEST:
        scored = f"gallery {snapshot.name} scores by {snapshot.settings.scoring}, this table by the best template"
        say(f"kith: {scored}; kith cutoff {snapshot.name} --fpir derives what it needs")
    vectors, owners = snapshot.templates()
    words = f"gallery {snapshot.name}: {len(vectors):,} templates of {len(set(owners.tolist())):,} subjects"
    return _Faces(vectors, owners, snapshot.model_id, words, {})


def _plain(found: Calibration) -> dict[str, Any]:
    def size(each: AtSize) -> dict[str, Any]:
        cutoff = {"refused": each.cutoff.reason} if isinstance(each.cutoff, Refused) else asdict(each.cutoff)
        return {"subjects": each.subjects, "how": each.how, "trials": each.trials, "cutoff": cutoff}

    return {
        "fpir": found.fpir,
        "templates_per_subject": found.templates_per_subject,
        "at_size": size(found.cutoff),
        "by_rule_at_size": size(found.rule),
        "smaller": [size(each) for each in found.smaller],
        "growth": [size(each) for each in found.growth],
        "fpir_if_kept": {str(factor): rate for factor, rate in found.fpir_if_kept.items()},
    }


def _show(found: Calibration, faces: _Faces, applied: Derived | None, gallery: str | None) -> None:
    answer(f"{faces.words}; {found.templates_per_subject:.3g} templates a subject, model {faces.model_id}")
    at = found.cutoff
    answer(f"\nFPIR {percent(found.fpir)} at {at.subjects:,} subjects: {_words(at)}")
    table = plain_table("subjects", "cutoff (95 % interval)", "how", right=("subjects",))
    for each in (*found.smaller, at, found.rule, *found.growth):
        table.add_row(f"{each.subjects:,}", _figure(each), _how(each))
    answer_table(table)
    kept = ", ".join(
        f"{percent(float(f'{rate:.2g}'))} at {factor}× the subjects" for factor, rate in found.fpir_if_kept.items()
    )
    answer(f"The same cutoff kept: by rule, FPIR {kept}. Calibrate again when the gallery has grown by half.")
    for label, why in sorted(faces.skipped.items())[:_MOST_LINES]:
        answer(f"  skipped {label}: {why}")
    if len(faces.skipped) > _MOST_LINES:
        answer(f"  … and {len(faces.skipped) - _MOST_LINES} more skipped (--json lists all)")
    if applied is not None:
        holds = "" if applied.record.how == "default" else f" up to {grows_to(applied.record.subjects):,} subjects"
        answer(f"gallery {gallery} now has the cutoff {applied.cutoff:.4f}, for FPIR {percent(found.fpir)}{holds}")
        answer(f"  {applied.record.how} {applied.record.why}")


def _words(at: AtSize) -> str:
    if isinstance(at.cutoff, Refused):
        return f"refused: {at.cutoff.reason}"
    return f"cutoff {_figure(at)}, from {at.trials:,} searches"


def _figure(each: AtSize) -> str:
    if isinstance(each.cutoff, Refused):
        return "refused"
    return f"{each.cutoff.value:.3f} ({each.cutoff.low:.3f} to {each.cutoff.high:.3f})"


def _how(each: AtSize) -> str:
    if isinstance(each.cutoff, Refused):
        return each.cutoff.reason
    if each.how == "measured":
        return f"measured in {each.trials:,} non-mated searches"
    return f"extrapolated: FPIR(N) = 1 − (1 − FMR)^N, from {each.trials:,} comparisons of two people"

"""kith models: model packs that are here, made of other people's models, or pulled."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from kith import wire
from kith.cli.extras import needs_training
from kith.cli.models_screen import (
    confirm,
    documents_of,
    downloading,
    show_entry,
    show_list,
    show_pack,
    size_text,
)
from kith.cli.terminal import Json, answer, answer_json, say, settings_for
from kith.errors import Misconfigured
from kith.packs import catalogue
from kith.packs.conventions import Conventions, template, three
from kith.packs.listing import list_packs, manifest_of, terms_of
from kith.packs.shipped import resolve_pack

if TYPE_CHECKING:
    from kith.packs.verifying import Verified

app = typer.Typer()
_group = typer.Typer(no_args_is_help=True, help="Model packs: list, show, verify, import, pull.")
app.add_typer(_group, name="models", rich_help_panel="Learning")

_Pack = Annotated[str, typer.Argument(metavar="NAME|DIR", help="A pack by its name or its folder.", show_default=False)]
_Name = Annotated[str | None, typer.Option("--name", help="Name of the pack (default: the source's).")]
_Channels = Annotated[Literal["RGB", "BGR"] | None, typer.Option("--channels", help="Order of the network's input.")]
_Scale = Annotated[float | None, typer.Option("--scale", help="Value = (pixel · scale − mean) / std; default 1/255.")]
_Mean = Annotated[str | None, typer.Option("--mean", metavar="M[,M,M]", help="One number, or one for each channel.")]
_Std = Annotated[str | None, typer.Option("--std", metavar="S[,S,S]", help="One number, or one for each channel.")]
_Template = Annotated[
    str | None,
    typer.Option("--template", help="Where the landmarks lie: arcface (the default), or five points as JSON."),
]
_Network = Annotated[str | None, typer.Option("--network", help="For weights of torch: the network's name in Kith.")]
_Dimension = Annotated[int | None, typer.Option("--dimension", help="Length of the vectors; found by running it.")]
_Detector = Annotated[
    str | None,
    typer.Option("--detector", metavar="FILE|PACK", help="YuNet or SCRFD in ONNX, or a pack that lends its."),
]
_Cutoff = Annotated[float | None, typer.Option("--cutoff", min=-1, max=1, help="Cosine a match needs; default 0.5.")]
_CutoffNote = Annotated[str | None, typer.Option("--cutoff-note", help="How it was found.")]
_Licence = Annotated[str | None, typer.Option("--licence", help="The weights' terms, as their publisher states them.")]
_Source = Annotated[str | None, typer.Option("--source", help="Where the weights come from.")]
_Replace = Annotated[bool, typer.Option("--replace", help="Replace an imported pack of the same name.")]


@_group.command("list")
def list_(context: typer.Context, as_json: Json = False) -> None:
    """Packs that shipped, that were imported, and that can be pulled; with --json one line each."""
    packs = list_packs(settings_for(context).home)
    if as_json:
        for pack in packs:
            answer_json(asdict(pack) | {"path": None if pack.path is None else str(pack.path)})
    else:
        show_list(packs)


@_group.command()
def show(context: typer.Context, pack: _Pack, as_json: Json = False) -> None:
    """A pack's model card, manifest and figures; of one in the catalogue, where it comes from and on what terms."""
    entry = catalogue.entry_of(pack)
    try:
        path = resolve_pack(pack, settings_for(context).home)
    except Misconfigured:
        if entry is None:
            raise
        answer_json(wire.to_dict(entry)) if as_json else show_entry(entry)
        return
    plain: dict[str, Any] = {"manifest": wire.to_dict(manifest_of(path)), **documents_of(path)}
    answer_json(plain) if as_json else show_pack(path, plain)


@_group.command()
def verify(context: typer.Context, pack: _Pack, as_json: Json = False) -> None:
    """Check every hash of a pack, load its networks and embed a picture."""
    with needs_training():
        from kith.packs import verifying  # noqa: PLC0415
    _report(verifying.verify(resolve_pack(pack, settings_for(context).home)), "OK", as_json)


@_group.command("import")
def import_(
    context: typer.Context,
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="A weights file, a folder or a .zip of them.", show_default=False)
    ],
    name: _Name = None,
    channels: _Channels = None,
    scale: _Scale = None,
    mean: _Mean = None,
    std: _Std = None,
    template_: _Template = None,
    network: _Network = None,
    dimension: _Dimension = None,
    detector: _Detector = None,
    cutoff: _Cutoff = None,
    cutoff_note: _CutoffNote = None,
    licence: _Licence = None,
    origin: _Source = None,
    replace: _Replace = False,
    as_json: Json = False,
) -> None:
    """Make a model pack of a face model, in torch or ONNX.

    \b
    kith models import buffalo_l.zip                    InsightFace's format is recognised as it is
    kith models import weights/                         so are files known by their hash
    kith models import net.onnx --name mine --channels RGB --scale 1 --mean 127.5 --std 127.5 \\
        --detector kith-small --licence "MIT, as stated by its publisher"

    Nothing in the source is executed. Without a measured cutoff a cautious one stands in; `kith calibrate` finds yours.
    """
    with needs_training():
        from kith.packs.importing import Wish, import_pack  # noqa: PLC0415
    home = settings_for(context).home
    said = Conventions(
        channels=channels,
        scale=scale,
        mean=None if mean is None else three(mean, "--mean"),
        std=None if std is None else three(std, "--std"),
        template=None if template_ is None else template(template_),
        network=network,
        dimension=dimension,
        cutoff=cutoff,
        cutoff_note=cutoff_note,
        licence=licence,
        source=origin,
    )
    lender = None if detector is None else _lender(detector, home)
    _report(import_pack(source, home, Wish(said, name, lender, replace)), "imported", as_json)


@_group.command()
def pull(
    context: typer.Context,
    what: Annotated[
        str, typer.Argument(metavar="NAME|URL", help="An entry of the catalogue, or an address.", show_default=False)
    ],
    sha256: Annotated[str | None, typer.Option("--sha256", help="What the file at URL must hash to.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="The terms are read and accepted; do not ask.")] = False,
    name: _Name = None,
    replace: _Replace = False,
    as_json: Json = False,
) -> None:
    """Download a public model, checked against a pinned SHA-256, and import it. Its licence is shown first.

    \b
    kith models pull opencv-sface
    kith models pull https://example.org/buffalo_l.zip --sha256 80ff…

    Interrupted, the same command goes on where it was. A network whose conventions have to be named is kept for
    `kith models import`.
    """
    with needs_training():
        from kith.packs.importing import Wish  # noqa: PLC0415
        from kith.packs.pulling import pull_entry, pull_url  # noqa: PLC0415
    home, wish = settings_for(context).home, Wish(name=name, replace=replace)
    entry = catalogue.entry_of(what)
    if entry is None and "://" not in what:
        known = (
            ", ".join(each.name for each in catalogue.CATALOGUE) or "nothing: no address with its hash is established"
        )
        raise typer.BadParameter(f"{what} is neither an address nor in the catalogue, which holds {known}")
    if entry is None and not re.fullmatch(r"[0-9a-f]{64}", sha256 or ""):
        raise typer.BadParameter(
            "an address needs --sha256, 64 hexadecimal digits: what the publisher says it hashes to"
        )
    if entry is not None:
        size = size_text(sum(file.size for file in entry.files))
        say(f"{entry.name}, {size}, from {entry.source}\nlicence: {terms_of(entry.licence)}")
    else:
        say(f"{what}\nlicence: as its publisher states it; Kith does not know this address")
    confirm("Download it on these terms?", yes)
    with downloading(as_json) as tell:
        verified = pull_entry(entry, home, wish, tell) if entry else pull_url(what, sha256 or "", home, wish, tell)
    _report(verified, "pulled", as_json)


def _lender(detector: str, home: Path) -> Path:
    """The file or the folder of a pack that --detector names."""
    file = Path(detector).expanduser()
    return file if file.is_file() else resolve_pack(detector, home)


def _report(verified: "Verified", word: str, as_json: bool) -> None:
    pack, manifest = verified.pack, verified.pack.manifest
    if as_json:
        golden = [round(float(number), 4) for number in verified.golden]
        facts = {"name": manifest.name, "model_id": pack.model_id, "path": str(pack.path), "licence": manifest.licence}
        answer_json(facts | {"runtime": verified.runtime, "files": verified.files, "golden": golden})
        return
    answer(f"{manifest.name}: {pack.path}")
    for file, sha256 in verified.files.items():
        answer(f"  {file:<24} SHA-256 {sha256}")
    answer(f"  {'terms':<24} {terms_of(manifest.licence)}")
    answer(f"  {'cutoff':<24} {manifest.default_cutoff:.2f}, {manifest.cutoff_note}")
    if manifest.detector is None:
        answer(f"  {'detector':<24} none: it takes aligned crops; --detector kith-small lends one at an import")
    numbers = " ".join(f"{number:.3f}" for number in verified.golden[:6])
    answer(f"  {'golden picture':<24} {numbers} … on {verified.runtime}")
    answer(f"{pack.model_id} {word}")

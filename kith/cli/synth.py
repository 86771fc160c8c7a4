"""kith synth: pictures of people who do not exist."""

from pathlib import Path
from typing import Annotated

import typer

from kith.cli.counting import counting
from kith.cli.extras import needs_training
from kith.cli.terminal import Json, answer, answer_json, folder, globals_of, say
from kith.cli.up import pack_of, with_pack
from kith.settings import load

app = typer.Typer()


@app.command(rich_help_panel="Learning")
def synth(
    context: typer.Context,
    out: Annotated[
        Path | None, typer.Argument(metavar="[OUT]", help="Folder for the pictures, SUBJECT/IMAGE.jpg.")
    ] = None,
    subjects: Annotated[int, typer.Option("--subjects", min=1, help="How many people.")] = 50,
    images: Annotated[int, typer.Option("--images", min=1, help="Pictures of each.")] = 20,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Other seeds, other people.")] = 0,
    variation: Annotated[
        float, typer.Option("--variation", min=0, max=3, help="How much pictures of one person differ.")
    ] = 1.0,
    aligned: Annotated[bool, typer.Option("--aligned", help="Write 112×112 aligned crops.")] = False,
    add: Annotated[bool, typer.Option("--add", help="Add people to those in OUT.")] = False,
    model: Annotated[
        Path | None, typer.Option("--model", help="Model of people, a .npz file (default: the shipped one).")
    ] = None,
    crops: Annotated[
        Path | None,
        typer.Option(
            "--learn", metavar="DIR", parser=folder, help="Learn MODEL from DIR/SUBJECT/IMAGE.jpg, aligned crops."
        ),
    ] = None,
    photos: Annotated[
        Path | None,
        typer.Option(
            "--photos", metavar="DIR", parser=folder, help="With --learn: photographs that show hair and shoulders."
        ),
    ] = None,
    pack: Annotated[
        Path | None, typer.Option("--pack", help="With --learn: whose detector and embedder look (as for kith up).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make synthetic people: for demos and load tests without anybody's biometrics.

    \b
    kith synth --subjects 50 --images 20 people/
    kith synth --subjects 50 --add people/         fifty more, unlike the first
    kith synth --learn aligned/ --photos photos/ --model my-people.npz

    They are drawn from a statistical model of research photographs; no person is shown. The same seed makes the same
    people. OUT/README.txt says what they are and on what terms.
    """
    if crops is not None:
        if photos is None or model is None or out is not None:
            raise typer.BadParameter("--learn takes --photos DIR and --model FILE, and no OUT")
        _learn(context, crops, photos, model, pack, seed, as_json)
        return
    if out is None:
        raise typer.BadParameter("name the folder for the pictures: kith synth OUT")
    # Pillow is loaded when it is needed: the command line starts without it.
    from kith.synthetic.album import write  # noqa: PLC0415
    from kith.synthetic.model import load as load_model  # noqa: PLC0415
    from kith.synthetic.people import People  # noqa: PLC0415

    people = People(load_model(model), seed, variation)
    with counting(as_json) as tell:
        numbers = write(
            people, out, subjects, images, aligned, add, tell=lambda done: tell("pictures", done, subjects * images)
        )
    if as_json:
        answer_json({"directory": str(out), "subjects": len(numbers), "images": len(numbers) * images, "seed": seed})
        return
    answer(f"{len(numbers)} synthetic people with {images} pictures each are in {out}; its README.txt has the terms")


def _learn(
    context: typer.Context, crops: Path, photos: Path, out: Path, pack: Path | None, seed: int, as_json: bool
) -> None:
    with needs_training():
        from kith.training.portraits import learn_from  # noqa: PLC0415

    chosen = pack_of(with_pack(load(globals_of(context).config), pack))
    with counting(as_json) as tell:
        learned = learn_from(crops, photos, chosen, seed, tell)
    learned.model.save(out)
    for note in learned.notes:
        say(f"kith: {note}")
    size = out.stat().st_size
    if as_json:
        answer_json({"model": str(out), "bytes": size, "notes": learned.notes})
        return
    answer(f"a model of people is in {out} ({size / 1000:.0f} kB)")

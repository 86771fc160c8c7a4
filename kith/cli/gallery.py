"""kith gallery: what galleries there are, how they are set, and what is noted of people."""

from dataclasses import asdict, replace
from typing import Annotated, Any

import typer

from kith.amending import amend_description, amend_settings
from kith.cli import gallery_corrections, gallery_files, gallery_forgetting, gallery_journal
from kith.cli.galleries import show_galleries
from kith.cli.gallery_corrections import done
from kith.cli.terminal import Json, answer, answer_json, client_for, say
from kith.cli.wording import time_of
from kith.gallery_settings import GallerySettings, Scoring
from kith.subjects import SubjectDetail

app = typer.Typer()
_group = typer.Typer(
    no_args_is_help=True,
    help="Galleries: their settings, corrections of who is who, their history, and moving them as files.",
)
app.add_typer(_group, name="gallery", rich_help_panel="Galleries")
for _part in (gallery_corrections, gallery_journal, gallery_files, gallery_forgetting):
    _group.add_typer(_part.app)

Name = Annotated[str, typer.Argument(metavar="GALLERY", show_default=False)]
_Subject = Annotated[str, typer.Argument(metavar="SUBJECT", help="The person's name.", show_default=False)]
_Margin = Annotated[float | None, typer.Option(min=0, max=2, help="How far the nearest must be ahead of the next.")]
_Scoring = Annotated[Scoring | None, typer.Option(help="How the templates of a subject make one score.")]
_Probes = Annotated[float | None, typer.Option(min=0, metavar="DAYS", help="Erase what was asked; 0: as installed.")]
_Decisions = Annotated[float | None, typer.Option(min=0, metavar="DAYS", help="Erase decisions; 0: as installed.")]
_Strangers = Annotated[float | None, typer.Option(min=0, metavar="DAYS", help="Erase strangers; 0: as installed.")]


@_group.command("list")
def list_(context: typer.Context, as_json: Json = False) -> None:
    """All galleries by name; with --json one line each."""
    with client_for(context) as client:
        found, going = client.galleries.galleries(), client.gone.all()
    if as_json:
        for each in found:
            answer_json(asdict(each))
    else:
        show_galleries(found)
    for name in going:
        say(f"{name} is being forgotten; should that have been broken off, kith gallery forget {name} goes on with it")


@_group.command()
def show(context: typer.Context, gallery: Name, as_json: Json = False) -> None:
    """One gallery: sizes, model, settings."""
    with client_for(context) as client:
        info = client.galleries.info(gallery)
    if as_json:
        answer_json(asdict(info))
        return
    answer(f"{info.name}: {info.subjects:,} subjects with {info.templates:,} templates, at change {info.sequence}")
    answer(f"  model {info.model_id}, {info.dimension} numbers a template; since {time_of(info.created_ms)}")
    for line in settings_lines(info.settings):
        answer(f"  {line}")


@_group.command()
def create(
    context: typer.Context,
    gallery: Name,
    model: Annotated[str, typer.Option("--model", metavar="ID", help="The model's id (kith models show).")],
    dimension: Annotated[int, typer.Option(min=1, help="Numbers in a template.")],
    margin: _Margin = None,
    scoring: _Scoring = None,
    as_json: Json = False,
) -> None:
    """Make an empty gallery. (Whoever enrols first makes one too, for the model that workers have.)"""
    settings = GallerySettings(margin=margin, scoring=scoring or Scoring.BEST)
    with client_for(context) as client:
        info = client.galleries.create(gallery, model_id=model, dimension=dimension, settings=settings)
    if as_json:
        answer_json(asdict(info))
    else:
        answer(f"gallery {gallery} is there, for model {model}")


@_group.command("set")
def set_(
    context: typer.Context,
    gallery: Name,
    margin: _Margin = None,
    scoring: _Scoring = None,
    keep_probes: _Probes = None,
    keep_decisions: _Decisions = None,
    keep_strangers: _Strangers = None,
    as_json: Json = False,
) -> None:
    """Change settings; those that are not named stay. (kith cutoff sets where a match begins.)"""
    kept = {"probes": keep_probes, "decisions": keep_decisions, "strangers": keep_strangers}
    changes: dict[str, Any] = {
        f"keep_{what}_s": max(1, round(days * 86_400)) if days else None
        for what, days in kept.items()
        if days is not None
    }
    changes |= {key: value for key, value in (("margin", margin), ("scoring", scoring)) if value is not None}
    if not changes:
        raise typer.BadParameter("name a setting to change; kith gallery show has them all")
    with client_for(context) as client:
        settings, sequence = amend_settings(client.galleries, gallery, lambda info: replace(info.settings, **changes))
    done(f"gallery {gallery} is set: {'; '.join(settings_lines(settings))}", sequence, as_json)


@_group.command()
def describe(
    context: typer.Context,
    gallery: Name,
    subject: _Subject,
    external_id: Annotated[str | None, typer.Option("--external-id", metavar="X", help="'' takes it away.")] = None,
    metadata: Annotated[
        list[str] | None, typer.Option("--metadata", "-m", metavar="KEY=VALUE", help="KEY= takes it away; repeat it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Set what you call a person elsewhere, and notes; what is not named stays."""
    notes = dict(_pair(each) for each in metadata or ())
    if external_id is None and not notes:
        raise typer.BadParameter("name an --external-id or --metadata")
    with client_for(context) as client:

        def noted(known: SubjectDetail) -> tuple[str | None, dict[str, str]]:
            said = {key: value for key, value in {**known.metadata, **notes}.items() if value}
            return known.external_id if external_id is None else external_id or None, said

        sequence = amend_description(client.galleries, gallery, subject, noted)
    done(f"{subject} is described", sequence, as_json)


@_group.command()
def find(
    context: typer.Context,
    gallery: Name,
    external_id: Annotated[str, typer.Option("--external-id", metavar="X", show_default=False)],
    as_json: Json = False,
) -> None:
    """Who has this external id?"""
    with client_for(context) as client:
        name = client.galleries.by_external_id(gallery, external_id)
    if as_json:
        answer_json({"external_id": external_id, "subject": name})
    else:
        answer(name)


def settings_lines(settings: GallerySettings) -> list[str]:
    """The settings in words."""
    lines = [
        "the installation's or the model's cutoff" if settings.cutoff is None else f"cutoff {settings.cutoff:.4f}",
        "the installation's margin" if settings.margin is None else f"margin {settings.margin:g}",
        f"scoring {settings.scoring}",
    ]
    for what in ("probes", "decisions", "strangers"):
        kept = getattr(settings, f"keep_{what}_s")
        if kept is not None:
            lines.append(f"{what} are kept for {kept / 86_400:g} days")
    return lines


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise typer.BadParameter(f"{text!r} is not KEY=VALUE")
    return key, value

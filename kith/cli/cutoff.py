"""kith cutoff: where a gallery's cutoff stands, what it rests on, and what another one would change."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from kith.amending import amend_settings
from kith.calibration_samples import Truth
from kith.cli.extras import needs_training
from kith.cli.recent import HOURS, Hours, Preview
from kith.cli.terminal import Json, answer, answer_json, client_for
from kith.cli.wording import line_of, time_of
from kith.client import Client
from kith.decision import Rule
from kith.default_cutoff import default_cutoff
from kith.deriving import aiming_at, derived
from kith.evaluation.bootstrap import percent
from kith.gallery_cutoff import LEAST_FPIR, Derived, grows_to, is_of_such_scores, is_stale, rate_now
from kith.gallery_settings import CutoffRecord, GallerySettings
from kith.preview import WouldChange, would_change
from kith.recent import recent, rule_of
from kith.subjects import GalleryInfo

app = typer.Typer()

#: Changed decisions shown to a person; --json has them all.
_MOST_LINES = 10


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the command line asks for."""

    cutoff: float | None
    fpir: float | None
    clear: bool
    margin: float | None

    @property
    def anything(self) -> bool:
        return self.clear or any(each is not None for each in (self.cutoff, self.fpir, self.margin))


@app.command(rich_help_panel="Galleries")
def cutoff(
    context: typer.Context,
    gallery: Annotated[str | None, typer.Argument(help="Default: the setting gallery.default.")] = None,
    by_hand: Annotated[
        float | None, typer.Option("--set", min=-1, max=1, help="This cosine, kept until somebody changes it.")
    ] = None,
    fpir: Annotated[
        float | None, typer.Option(help="Aim at this share of strangers' searches given a name, and keep it up.")
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Back to the installation's or the model's.")] = False,
    margin: Annotated[
        float | None, typer.Option(min=0, max=2, help="How far the nearest must be ahead of the next subject.")
    ] = None,
    preview: Preview = False,
    hours: Hours = HOURS,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the scores of judged searches and the cutoff, as PNG.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed derives the same.")] = 0,
    as_json: Json = False,
) -> None:
    """Where the cutoff of a gallery stands: its interval, the rate it aims at, what it was derived from and when.

    \b
    kith cutoff staff                          where it stands
    kith cutoff staff --fpir 0.01              aim at one stranger in a hundred, now and as the gallery grows
    kith cutoff staff --set 0.5 --preview      which recent decisions would that have changed?
    kith cutoff staff --plot cutoff.png        judged searches on both sides of it

    Derived from searches that were judged (kith feedback), else from the gallery's own templates; with too little of
    both a conservative default applies, and what is missing is said.
    """
    asked = _Asked(by_hand, fpir, clear, margin)
    if (by_hand is not None) + (fpir is not None) + clear > 1:
        raise typer.BadParameter("a cutoff is --set, derived for an --fpir, or --clear-ed; only one of them")
    if fpir is not None and not 0 < fpir < 1:
        raise typer.BadParameter(f"a rate lies between 0 and 1; --fpir 0.001 is one in a thousand, not {fpir:g}")
    if fpir is not None and fpir < LEAST_FPIR:
        needed = (
            f"{3 / LEAST_FPIR:,.0f} judged searches of strangers to show {LEAST_FPIR:g}, the least that can be asked"
        )
        raise typer.BadParameter(f"--fpir {fpir:g} is a rate that nobody could show: it takes {needed}")
    if preview and not asked.anything:
        raise typer.BadParameter("--preview of what? add --set, --fpir, --clear or --margin")
    with client_for(context) as client:
        name = gallery or client.settings.gallery.default
        info = client.galleries.info(name)
        said: dict[str, Any] = {}
        if asked.anything:
            found = None if fpir is None else derived(client, name, fpir, seed)
            wanted = _wanted(info, asked, found)
            decisions = recent(client, name, info.model_id, hours)
            now = rule_of(client, info.settings, info.model_id, decisions)
            # What workers used so far says nothing of a gallery whose own cutoff is taken away.
            new = rule_of(client, wanted, info.model_id, decisions if _same(info, wanted) else [])
            change = would_change(decisions, now, new)
            said = {"preview": _plain(change), "applied": not preview}
            if not as_json:
                _show_preview(change, now, new, hours)
            if preview:
                # Where it would stand.
                info = replace(info, settings=wanted)
            else:
                amend_settings(client.galleries, name, lambda info: _wanted(info, asked, found))
                info = client.galleries.info(name)
        if plot is not None:
            _draw(client, info, plot, seed)
        judged = client.samples.count(name)
    if as_json:
        answer_json({**_standing(info, judged), **said})
    else:
        _show(info, judged)


def _wanted(info: GalleryInfo, asked: _Asked, found: Derived | None) -> GallerySettings:
    settings = info.settings
    if asked.margin is not None:
        settings = replace(settings, margin=asked.margin)
    if asked.clear:
        return replace(settings, cutoff=None, record=None, fpir=None)
    if asked.cutoff is not None:
        # By hand: without a target, or upkeep would derive another one.
        return replace(settings, cutoff=asked.cutoff, record=None, fpir=None)
    return settings if found is None else aiming_at(replace(info, settings=settings), found)


def _same(info: GalleryInfo, wanted: GallerySettings) -> bool:
    return wanted.cutoff == info.settings.cutoff


def _draw(client: Client, info: GalleryInfo, file: Path, seed: int) -> None:
    with needs_training():
        from kith.evaluation.cutoff_plot import cutoff_plot  # noqa: PLC0415
        from kith.evaluation.plots import LIGHT, png  # noqa: PLC0415
    settings, record = info.settings, info.settings.record
    searches = derived(client, info.name, settings.fpir or 0.01, seed).searches
    mated = [
        each.score
        for each in client.samples.samples(info.name)
        if each.truth is Truth.MATED and each.model_id == info.model_id
    ]
    where = default_cutoff(client.settings, info.model_id) if settings.cutoff is None else settings.cutoff
    known = record is not None and record.low is not None and record.high is not None
    interval = (record.low, record.high) if known else None  # type: ignore[union-attr]
    file.write_bytes(png(cutoff_plot(np.array(mated), searches.scores, where, interval, LIGHT)))  # type: ignore[arg-type]


def _standing(info: GalleryInfo, judged: int) -> dict[str, Any]:
    settings, record = info.settings, info.settings.record
    return {
        "gallery": info.name,
        "cutoff": settings.cutoff,
        "fpir": settings.fpir,
        "margin": settings.margin,
        "subjects": info.subjects,
        "templates": info.templates,
        "record": None if record is None else asdict(record),
        "stale": None if record is None else _stale(info, record),
        "fpir_now": None if record is None or record.how == "default" else _rate(info, record),
        "holds_to": None if record is None or record.how == "default" else grows_to(record.subjects),
        "judged": judged,
    }


def _show(info: GalleryInfo, judged: int) -> None:
    settings, record = info.settings, info.settings.record
    if settings.cutoff is None:
        answer(f"gallery {info.name} has no cutoff of its own: the installation's or the model's applies")
    elif record is None:
        answer(f"gallery {info.name}: cutoff {settings.cutoff:.4f}, set by hand")
    else:
        interval = "" if record.low is None else f" (95 % interval {record.low:.4f} to {record.high:.4f})"
        answer(f"gallery {info.name}: cutoff {settings.cutoff:.4f}{interval}, for an FPIR of {percent(record.fpir)}")
        answer(f"  {record.how} {time_of(record.at_ms)}: {record.why}")
        grown = f"{record.subjects:,} subjects with {record.templates:,} templates then, "
        answer(f"  {grown}{info.subjects:,} with {info.templates:,} now: {_validity(info)}")
    margin = "the installation's margin" if settings.margin is None else f"a margin of {settings.margin:g}"
    answer(f"  {margin}; {judged:,} judged searches are kept")


def _validity(info: GalleryInfo) -> str:
    record = info.settings.record
    assert record is not None
    if not _stale(info, record):
        if record.how == "default":
            return "in force until there is more to go by"
        to = f"{grows_to(record.subjects):,} subjects with {grows_to(record.templates):,} templates"
        return f"valid, the rate holds up to {to}"
    remedy = "upkeep derives it anew" if info.settings.fpir else f"kith cutoff {info.name} --fpir {record.fpir:g}"
    if record.how == "default" or not is_of_such_scores(record, info.model_id, info.settings.scoring):
        return f"stale; {remedy}"
    return f"stale, by rule an FPIR of up to {percent(float(f'{_rate(info, record):.2g}'))}; {remedy}"


def _stale(info: GalleryInfo, record: CutoffRecord) -> bool:
    return is_stale(record, info.subjects, info.templates, info.model_id, info.settings.scoring)


def _rate(info: GalleryInfo, record: CutoffRecord) -> float:
    return rate_now(record, info.subjects, info.templates)


def _show_preview(found: WouldChange, now: Rule, new: Rule, hours: float) -> None:
    rules = " → ".join(f"{each.cutoff:.4f} (margin {each.margin:g})" for each in (now, new))
    answer(f"cutoff {rules}: of {found.looked_at:,} faces judged in the last {hours:g} hours")
    answer(f"  {len(found.named):,} more would be named, {len(found.unnamed):,} would not be named any more")
    for verb, changes in (("named", found.named), ("not named", found.unnamed)):
        for each in changes[:_MOST_LINES]:
            answer(f"  {verb}: {each.nearest} on {line_of(each.decision)}")
        if len(changes) > _MOST_LINES:
            answer(f"  … and {len(changes) - _MOST_LINES:,} more {verb} (--json lists all)")


def _plain(found: WouldChange) -> dict[str, Any]:
    def plain(changes: Any) -> list[dict[str, Any]]:
        return [
            {"decision_id": each.decision.decision_id, "face": each.face, "nearest": each.nearest} for each in changes
        ]

    return {"looked_at": found.looked_at, "named": plain(found.named), "unnamed": plain(found.unnamed)}

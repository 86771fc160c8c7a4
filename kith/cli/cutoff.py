"""kith cutoff: where a gallery's cutoff stands, what it rests on, and what another one would change."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from kith.calibration_samples import Truth
from kith.cli.extras import needs_training
from kith.cli.terminal import Json, answer, answer_json, client_for
from kith.cli.wording import line_of, time_of
from kith.client import Client
from kith.decision import Rule
from kith.default_cutoff import default_cutoff
from kith.evaluation.bootstrap import percent
from kith.gallery_cutoff import Derived, derive, is_stale, rate_now
from kith.gallery_settings import GallerySettings
from kith.jobs import Decision, now_ms
from kith.preview import Preview, would_change
from kith.subjects import GalleryInfo
from kith.view import Replica

app = typer.Typer()

_PAGE = 500
#: Changed decisions shown to a person; --json has them all.
_MOST_LINES = 10


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the command line asks for."""

    cutoff: float | None
    fpir: float | None
    clear: bool
    margin: float | None
    seed: int

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
    preview: Annotated[bool, typer.Option("--preview", help="Only show what would change.")] = False,
    hours: Annotated[float, typer.Option(min=0, help="How far back recent decisions are looked at.")] = 24.0,
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
    asked = _Asked(by_hand, fpir, clear, margin, seed)
    if (by_hand is not None) + (fpir is not None) + clear > 1:
        raise typer.BadParameter("a cutoff is --set, derived for an --fpir, or --clear-ed; only one of them")
    if fpir is not None and not 0 < fpir < 1:
        raise typer.BadParameter(f"a rate lies between 0 and 1; --fpir 0.001 is one in a thousand, not {fpir:g}")
    if preview and not asked.anything:
        raise typer.BadParameter("--preview of what? add --set, --fpir, --clear or --margin")
    with client_for(context) as client:
        name = gallery or client.settings.gallery.default
        info = client.galleries.info(name)
        said: dict[str, Any] = {}
        if asked.anything:
            wanted = _wanted(client, info, asked)
            decisions = _recent(client, name, hours)
            now = _rule(client, info.settings, decisions)
            # What workers used so far says nothing of a gallery whose own cutoff is taken away.
            new = replace(now, margin=_margin(client, wanted)) if _same(info, wanted) else _rule(client, wanted, [])
            found = would_change(decisions, now, new)
            said = {"preview": _plain(found), "applied": not preview}
            if not as_json:
                _show_preview(found, now, new, hours)
            if preview:
                # Where it would stand.
                info = replace(info, settings=wanted)
            else:
                client.galleries.configure(name, wanted)
                info = client.galleries.info(name)
        if plot is not None:
            _draw(client, info, plot, seed)
        judged = client.samples.count(name)
    if as_json:
        answer_json({**_standing(info, judged), **said})
    else:
        _show(info, judged)


def _wanted(client: Client, info: GalleryInfo, asked: _Asked) -> GallerySettings:
    settings = info.settings
    if asked.margin is not None:
        settings = replace(settings, margin=asked.margin)
    if asked.clear:
        return replace(settings, cutoff=None, record=None, fpir=None)
    if asked.cutoff is not None:
        # By hand: without a target, or upkeep would derive another one.
        return replace(settings, cutoff=asked.cutoff, record=None, fpir=None)
    if asked.fpir is None:
        return settings
    found = _derive(client, info, asked.fpir, asked.seed)
    return replace(settings, cutoff=found.cutoff, record=found.record, fpir=asked.fpir)


def _derive(client: Client, info: GalleryInfo, fpir: float, seed: int) -> Derived:
    at_ms = now_ms()
    samples = client.samples.samples(info.name)
    view = Replica(client.snapshot(info.name)).view
    # What is missing must not lower the cutoff in force.
    default = max(default_cutoff(client.settings), -1.0 if view.settings.cutoff is None else view.settings.cutoff)
    return derive(view, samples, fpir, np.random.default_rng(seed), default=default, at_ms=at_ms)


def _recent(client: Client, gallery: str, hours: float) -> list[Decision]:
    found: list[Decision] = []
    last = f"{now_ms() - round(hours * 3_600_000)}-0"
    while page := client.results.after(last, limit=_PAGE):
        found += [each.decision for each in page if each.decision.gallery == gallery]
        last = page[-1].entry_id
    return found


def _rule(client: Client, settings: GallerySettings, decisions: list[Decision]) -> Rule:
    """The rule of `settings`; decisions: made by it, oldest first."""
    if settings.cutoff is not None:
        return Rule(settings.cutoff, _margin(client, settings))
    # The workers know their model's cutoff better than we do, who may run where it is not.
    used = [each.cutoff for each in decisions if each.cutoff is not None]
    return Rule(used[-1] if used else default_cutoff(client.settings), _margin(client, settings))


def _margin(client: Client, settings: GallerySettings) -> float:
    return client.settings.decisions.margin if settings.margin is None else settings.margin


def _same(info: GalleryInfo, wanted: GallerySettings) -> bool:
    return wanted.cutoff == info.settings.cutoff


def _draw(client: Client, info: GalleryInfo, file: Path, seed: int) -> None:
    with needs_training():
        from kith.evaluation.cutoff_plot import cutoff_plot  # noqa: PLC0415
        from kith.evaluation.plots import LIGHT, png  # noqa: PLC0415
    settings, record = info.settings, info.settings.record
    searches = _derive(client, info, settings.fpir or 0.01, seed).searches
    mated = [
        each.score
        for each in client.samples.samples(info.name)
        if each.truth is Truth.MATED and each.model_id == info.model_id
    ]
    where = default_cutoff(client.settings) if settings.cutoff is None else settings.cutoff
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
        "stale": None if record is None else is_stale(record, info.subjects, info.templates, info.model_id),
        "fpir_now": None if record is None else rate_now(record, info.subjects),
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
    rate = percent(float(f"{rate_now(record, info.subjects):.2g}"))
    if not is_stale(record, info.subjects, info.templates, info.model_id):
        return f"valid, by rule FPIR {rate}"
    remedy = "upkeep derives it anew" if info.settings.fpir else f"kith cutoff {info.name} --fpir {record.fpir:g}"
    return f"stale, by rule FPIR {rate}; {remedy}"


def _show_preview(found: Preview, now: Rule, new: Rule, hours: float) -> None:
    rules = " → ".join(f"{each.cutoff:.4f} (margin {each.margin:g})" for each in (now, new))
    answer(f"cutoff {rules}: of {found.looked_at:,} faces judged in the last {hours:g} hours")
    answer(f"  {len(found.named):,} more would be named, {len(found.unnamed):,} would not be named any more")
    for verb, changes in (("named", found.named), ("not named", found.unnamed)):
        for each in changes[:_MOST_LINES]:
            answer(f"  {verb}: {each.nearest} on {line_of(each.decision)}")
        if len(changes) > _MOST_LINES:
            answer(f"  … and {len(changes) - _MOST_LINES:,} more {verb} (--json lists all)")


def _plain(found: Preview) -> dict[str, Any]:
    def plain(changes: Any) -> list[dict[str, Any]]:
        return [
            {"decision_id": each.decision.decision_id, "face": each.face, "nearest": each.nearest} for each in changes
        ]

    return {"looked_at": found.looked_at, "named": plain(found.named), "unnamed": plain(found.unnamed)}

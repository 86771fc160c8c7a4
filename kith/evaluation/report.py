"""An evaluation as a page, plots and data: report.html, one PNG a plot, evaluation.json."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from kith.crops import CropReader
from kith.evaluation import pages, plots
from kith.evaluation.bootstrap import Estimate, Refused, percent
from kith.evaluation.bootstrap import Figure as Found
from kith.evaluation.curves import Curve
from kith.evaluation.identification import AtSize, Identification
from kith.evaluation.montage import Tile, montage, tiles
from kith.evaluation.pairs import Verification
from kith.evaluation.plots import DARK, LIGHT, Palette
from kith.evaluation.record import cutoff_text, plain, share_text, tables
from kith.evaluation.run import Evaluation

PAGE, DATA = "report.html", "evaluation.json"

#: Pictures named in the lists at the end; evaluation.json has them all.
_MOST_LISTED = 200

_HOW = (
    "Intervals hold 95 % of 1,000 resamples in which identities are drawn with replacement, all pictures of a person "
    "together. A rate is refused where fewer than 3 / rate comparisons or searches with somebody else were made: zero "
    "errors among them would still not show it. The whole gallery is one gallery: its interval says how much depends "
    "on who was asked about. Intervals of smaller galleries, of which 20 were drawn each, also hold who is enrolled."
)
_WORDS = (
    "Mated: of somebody enrolled. Non-mated: of a stranger. TPIR (also DIR): share of mated searches that give the "
    "right name, nearest and above the cutoff. FNIR: 1 − TPIR. FPIR: share of non-mated searches that give any name. "
    "TAR, FAR: shares of pairs of one person, and of two, above the cutoff. Rank-k: share of mated searches with the "
    "right subject among the k nearest, whatever the score. Definitions as in ISO/IEC 19795-1."
)
_SAME = (
    "Look at the first ones: two that are one person under two names are faults of the data, and cost every figure "
    "at a low rate much."
)


@dataclass(frozen=True, slots=True)
class Plot:
    """One plot of a report: the name of its file, what it shows, and how to draw it in given colours."""

    name: str
    caption: str
    draw: Callable[[Palette], Figure]


def write_report(evaluation: Evaluation, reader: CropReader, out: Path) -> tuple[Path, ...]:
    """Write all files into the folder `out`, made where it is not there; their paths, the page first.

    reader: to show the faces of confusions. Raises OSError.
    """
    out.mkdir(parents=True, exist_ok=True)
    drawn = list(_plots(evaluation))
    identified = evaluation.identification
    shown = tiles(identified.confusions, reader) if identified else ()
    files = [out / PAGE, out / DATA]
    parts = []
    for plot in drawn:
        light, dark = (plots.png(plot.draw(palette)) for palette in (LIGHT, DARK))
        files.append(out / f"{plot.name}.png")
        files[-1].write_bytes(light)
        parts.append(pages.plot(light, dark, plot.caption))
    for kind, name in (("wrong_accept", "wrong_names"), ("miss", "misses")):
        if some := [tile for tile in shown if tile.confusion.kind == kind]:
            files.append(out / f"{name}.png")
            files[-1].write_bytes(plots.png(montage(some, LIGHT)))
    (out / PAGE).write_text(pages.page(_title(evaluation), _page(evaluation, parts, shown)), encoding="utf-8")
    (out / DATA).write_text(json.dumps(plain(evaluation), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return tuple(files)


def _title(evaluation: Evaluation) -> str:
    return f"{evaluation.pack.manifest.name} on {evaluation.plan.folder.name}"


def _page(evaluation: Evaluation, shown_plots: list[str], shown: tuple[Tile, ...]) -> Iterator[str]:
    embedded, manifest = evaluation.embedded, evaluation.pack.manifest
    yield pages.heading(_title(evaluation), 1)
    yield pages.paragraph(
        f"{len(embedded.images):,} pictures of {len(set(embedded.subjects.tolist())):,} people, through "
        f"{evaluation.runtime}. Model {evaluation.pack.model_id}, licence: {manifest.licence}.",
        soft=True,
    )
    for table in tables(evaluation):
        yield pages.heading(table.title)
        yield pages.paragraph(table.measured_on, soft=True)
        rows = [
            (pages.cell(row.what), _share_cell(row.figure), "" if row.cutoff is None else _cutoff_cell(row.cutoff))
            for row in table.rows
        ]
        yield pages.table(("", "share (95 % interval)", "cutoff"), rows)
    identified = evaluation.identification
    if identified is not None and isinstance(identified.found, Identification):
        yield from _by_size(identified.found.sizes)
    yield pages.heading("Plots")
    yield pages.group(shown_plots, "plots")
    yield from _confusions(evaluation, shown)
    yield pages.heading("How it was measured")
    yield pages.paragraph(_HOW)
    yield pages.paragraph(_WORDS)
    yield from _left_out(evaluation)


def _by_size(sizes: tuple[AtSize, ...]) -> Iterator[str]:
    yield pages.heading("As the gallery grows")
    # A rate refused at every size is said once; the strangers are the same at all of them.
    shown = [place for place, at in enumerate(sizes[-1].at) if isinstance(at.share, Estimate)]
    heads = ["subjects", "rank-1", *(f"TPIR at FPIR {percent(sizes[-1].at[place].rate)}" for place in shown)]
    rows = [
        (
            pages.cell(f"{size.subjects:,}"),
            _share_cell(size.ranks[1]),
            *(_share_cell(size.at[place].share) for place in shown),
        )
        for size in sizes
    ]
    yield pages.table(heads, rows)
    for at in sizes[-1].at:
        if isinstance(at.share, Refused):
            yield pages.paragraph(f"TPIR at FPIR {percent(at.rate)} is refused: {at.share.reason}.", soft=True)


def _confusions(evaluation: Evaluation, shown: tuple[Tile, ...]) -> Iterator[str]:
    identified = evaluation.identification
    if identified is None or isinstance(identified.found, Refused):
        return
    cutoff = evaluation.pack.default_cutoff if identified.cutoff is None else identified.cutoff
    for kind, title, words in (
        ("wrong_accept", "Wrong names", ("taken for", "nobody was given a wrong name", _SAME)),
        ("miss", "Worst misses", ("not found as", "nobody who is enrolled was missed", "")),
    ):
        yield pages.heading(f"{title} at the cutoff {cutoff:.3f}")
        some = [tile for tile in shown if tile.confusion.kind == kind]
        if not some:
            yield pages.paragraph(f"None: {words[1]}.")
            continue
        yield pages.paragraph(
            f"Left the picture asked about, right the nearest one of the subject. {words[2]}", soft=True
        )
        yield pages.group((_face(tile, words[0]) for tile in some), "faces")


def _face(tile: Tile, word: str) -> str:
    confusion = tile.confusion
    lines = (confusion.probe.label, f"{word} {confusion.template.label}", f"score {confusion.score:.3f}")
    return pages.face(tile.jpeg(), lines, " ".join(lines))


def _left_out(evaluation: Evaluation) -> Iterator[str]:
    lists = (
        ("pictures were skipped", [f"{label}: {why}" for label, why in sorted(evaluation.skipped.items())]),
        ("pictures are there under two names", [" = ".join(pair) for pair in evaluation.embedded.duplicates]),
    )
    for words, lines in lists:
        if lines:
            more = [f"and {len(lines) - _MOST_LISTED:,} more, see {DATA}"] if len(lines) > _MOST_LISTED else []
            entries = [pages.paragraph(line) for line in [*lines[:_MOST_LISTED], *more]]
            yield pages.folded(f"{len(lines):,} {words}", entries)


def _share_cell(figure: Found) -> str:
    return _cell(share_text(figure), figure)


def _cutoff_cell(figure: Found) -> str:
    # The share beside it says why it was refused.
    return "" if isinstance(figure, Refused) else _cell(cutoff_text(figure), figure)


def _cell(text: str, figure: Found) -> str:
    if isinstance(figure, Refused):
        return pages.cell(text, refused=True)
    value, _, rest = text.partition(" (")
    return pages.cell(f"({rest}", strong=value)


def _plots(evaluation: Evaluation) -> Iterator[Plot]:
    identified = evaluation.identification
    if identified is not None and isinstance(identified.found, Identification) and identified.scored is not None:
        scored, found = identified.scored, identified.found
        mated = scored.mated[np.arange(len(scored.truth)), scored.truth]
        lines = [("the pack's cutoff", evaluation.pack.default_cutoff)]
        cutoff = found.sizes[-1].at[0].cutoff
        if isinstance(cutoff, Estimate):
            lines.insert(0, (f"FPIR {percent(found.sizes[-1].at[0].rate)}", cutoff.value))
        yield Plot(
            "scores",
            f"Scores of searches in the gallery of {len(scored.subjects):,} subjects: of people known with their own "
            "templates, of strangers with the nearest subject.",
            lambda palette: plots.histogram(mated, scored.non_mated.max(axis=1), lines, palette),
        )
        if any(isinstance(size.ranks[1], Estimate) for size in found.sizes):
            yield Plot(
                "gallery_size",
                "Rank-1 and TPIR over the size of the gallery, with 95 % intervals.",
                lambda palette: plots.sizes(found.sizes, palette),
            )
        if isinstance(found.det, Curve):
            det = found.det
            yield Plot("det", "DET of the whole gallery, with its 95 % band.", lambda palette: plots.det(det, palette))
    curves = [
        (compared.title.lower(), compared.found.roc)
        for compared in evaluation.verification
        if isinstance(compared.found, Verification) and isinstance(compared.found.roc, Curve)
    ]
    if curves:
        yield Plot("roc", "ROC, with 95 % bands.", lambda palette: plots.roc(curves, palette))
    first = evaluation.verification[0]
    if isinstance(first.found, Verification):
        pairs, words = first.found, ("genuine", "impostor")
        yield Plot(
            "pairs",
            f"Scores of pairs ({first.origin}).",
            lambda palette: plots.histogram(
                pairs.genuine, pairs.impostor, [], palette, words, "cosine of the two pictures"
            ),
        )

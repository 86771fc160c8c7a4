"""An evaluation as data: evaluation.json, and the rows of figures that the report and the terminal show."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from kith.evaluation.bootstrap import AtRate, Figure, Refused, percent
from kith.evaluation.curves import Curve
from kith.evaluation.identification import AtSize, Identification
from kith.evaluation.pairs import Verification
from kith.evaluation.run import Evaluation

#: Raised when a reader of evaluation.json would have to change.
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: what it is, the figure, and (where there is one) the cutoff that belongs to it."""

    what: str
    figure: Figure
    cutoff: Figure | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """title, what it was measured on, and its rows."""

    title: str
    measured_on: str
    rows: tuple[Row, ...]


def tables(evaluation: Evaluation) -> tuple[Table, ...]:
    """Every headline figure, in the order in which people ask for them."""
    found = []
    for compared in evaluation.verification:
        title = f"Verification: {compared.title.lower()}"
        if isinstance(compared.found, Refused):
            found.append(Table(title, compared.origin, (Row("all figures", compared.found),)))
        else:
            found.append(Table(title, _pairs_of(compared.origin, compared.found), _verification_rows(compared.found)))
    identified = evaluation.identification
    if identified is not None and isinstance(identified.found, Refused):
        found.append(Table("Identification", identified.origin, (Row("all figures", identified.found),)))
    elif identified is not None and isinstance(identified.found, Identification):
        whole = identified.found.sizes[-1]
        on = (
            f"{identified.origin}: {whole.subjects:,} subjects with "
            f"{identified.found.templates_per_subject:.3g} templates each, {whole.mated:,} mated and "
            f"{whole.non_mated:,} non-mated searches"
        )
        found.append(Table("Identification", on, _identification_rows(identified.found)))
    return tuple(found)


def plain(evaluation: Evaluation) -> dict[str, Any]:
    """What evaluation.json holds: figures with their intervals, what they were measured with and on."""
    embedded, manifest = evaluation.embedded, evaluation.pack.manifest
    pictures = Counter(image.subject for image in embedded.images)
    identified = evaluation.identification
    return {
        "format": FORMAT,
        "model": {"name": manifest.name, "model_id": evaluation.pack.model_id, "licence": manifest.licence},
        "runtime": evaluation.runtime,
        "seed": evaluation.seed,
        "data": {
            "folder": evaluation.plan.folder.name,
            "pictures": len(embedded.images),
            "identities": len(pictures),
            "identities_with_one_picture": sum(count == 1 for count in pictures.values()),
            "skipped": evaluation.skipped,
            "same_picture_under_two_names": [list(pair) for pair in embedded.duplicates],
        },
        "seconds": round(evaluation.seconds, 3),
        "verification": [
            {"pairs": compared.title.lower(), "origin": compared.origin, **_plain_verification(compared.found)}
            for compared in evaluation.verification
        ],
        "identification": identified and {"origin": identified.origin, **_plain_identification(identified.found)},
        "confusions": [
            {
                "kind": confusion.kind,
                "probe": confusion.probe.label,
                "template": confusion.template.label,
                "score": confusion.score,
            }
            for confusion in (identified.confusions if identified else ())
        ],
    }


def share_text(figure: Figure) -> str:
    """`93.15 % (90.9 to 95.2)`, or why not."""
    if isinstance(figure, Refused):
        return f"refused: {figure.reason}"
    return f"{100 * figure.value:.2f} % ({100 * figure.low:.1f} to {100 * figure.high:.1f})"


def cutoff_text(figure: Figure) -> str:
    """`0.436 (0.421 to 0.450)`, or why not."""
    if isinstance(figure, Refused):
        return f"refused: {figure.reason}"
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"


def _pairs_of(origin: str, found: Verification) -> str:
    folds = f" in {found.folds} folds" if found.folds else ""
    return f"{origin}: {len(found.genuine):,} genuine and {len(found.impostor):,} impostor comparisons{folds}"


def _verification_rows(found: Verification) -> tuple[Row, ...]:
    accuracy = () if found.accuracy is None else (Row("accuracy", found.accuracy),)
    return (*accuracy, *(Row(f"TAR at FAR {percent(at.rate)}", at.share, at.cutoff) for at in found.at))


def _identification_rows(found: Identification) -> tuple[Row, ...]:
    whole, used = found.sizes[-1], found.in_use
    return (
        *(Row(f"rank-{k}", figure) for k, figure in whole.ranks.items()),
        *(Row(f"TPIR at FPIR {percent(at.rate)}", at.share, at.cutoff) for at in whole.at),
        Row(f"TPIR at the pack's cutoff {used.cutoff:.2f}", used.dir),
        Row(f"FPIR at the pack's cutoff {used.cutoff:.2f}", used.fpir),
    )


def _plain_figure(figure: Figure) -> dict[str, Any]:
    if isinstance(figure, Refused):
        return {"refused": figure.reason}
    return {"value": figure.value, "low": figure.low, "high": figure.high}


def _plain_rates(at: tuple[AtRate, ...], rate: str, share: str) -> list[dict[str, Any]]:
    return [{rate: one.rate, share: _plain_figure(one.share), "cutoff": _plain_figure(one.cutoff)} for one in at]


def _plain_curve(curve: Curve | Refused, rate: str, share: str) -> Any:
    if isinstance(curve, Refused):
        return {"refused": curve.reason}
    return [
        {rate: at, share: _plain_figure(accepted)} for at, accepted in zip(curve.rates, curve.accepted, strict=True)
    ]


def _plain_verification(found: Verification | Refused) -> dict[str, Any]:
    if isinstance(found, Refused):
        return {"refused": found.reason}
    return {
        "genuine": len(found.genuine),
        "impostor": len(found.impostor),
        "folds": found.folds,
        "accuracy": found.accuracy and _plain_figure(found.accuracy),
        "tar": _plain_rates(found.at, "far", "tar"),
        "roc": _plain_curve(found.roc, "far", "tar"),
    }


def _plain_size(size: AtSize) -> dict[str, Any]:
    return {
        "subjects": size.subjects,
        "galleries_drawn": size.draws,
        "mated_searches": size.mated,
        "non_mated_searches": size.non_mated,
        "ranks": {str(k): _plain_figure(figure) for k, figure in size.ranks.items()},
        "tpir": _plain_rates(size.at, "fpir", "tpir"),
    }


def _plain_identification(found: Identification | Refused) -> dict[str, Any]:
    if isinstance(found, Refused):
        return {"refused": found.reason}
    return {
        "templates_per_subject": found.templates_per_subject,
        "at_the_cutoff_in_use": {
            "cutoff": found.in_use.cutoff,
            "fpir": _plain_figure(found.in_use.fpir),
            "tpir": _plain_figure(found.in_use.dir),
        },
        "sizes": [_plain_size(size) for size in found.sizes],
        "det": _plain_curve(found.det, "fpir", "tpir"),
    }

"""What the study found, for people: a page of Markdown and a picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.triplets_statistics import Difference, Runs, spread

NAME = "triplets"


@dataclass(frozen=True, slots=True)
class FaceStudy:
    """rank_1, tpir, fpir, trained_fpir, active, seconds: method → per seed. collapsed: method → in how many seeds.
    compared: the measure → differences."""

    rank_1: Runs
    tpir: Runs
    fpir: Runs
    trained_fpir: Runs
    active: Runs
    seconds: Runs
    collapsed: Mapping[str, int]
    compared: Mapping[str, Sequence[Difference]]


@dataclass(frozen=True, slots=True)
class DigitStudy:
    """runs: (digits trained on, images enrolled) → method → per seed. compared: the same → differences."""

    runs: Mapping[tuple[int, int], Runs]
    compared: Mapping[tuple[int, int], Sequence[Difference]]


def page(faces: FaceStudy, digits: DigitStudy, images_seen: int, digits_seen: int, seeds: int) -> str:
    """Everything as Markdown: mean ± standard deviation over seeds, and which differences are real."""
    lines = [
        "# Triplets: samplers, miners and heads at equal cost",
        "",
        "Made by `python -m benchmarks triplets`. Mean ± standard deviation over "
        f"{seeds} seeds. A difference is called real where the paired t test over seeds, corrected for the number of "
        "comparisons of its kind (Holm), leaves less than 5 % to chance.",
        "",
        f"![One dot a seed, a bar at the mean]({NAME}.png)",
        "",
        f"## Faces: {images_seen:,} images seen by each method",
        "",
        "Rank-1 and TPIR of people nobody was trained on; TPIR at the cutoff for an FPIR of 1 % calibrated on other "
        "strangers. *FPIR, trained*: what a cutoff calibrated for 1 % on the training identities gives instead. *No "
        "norm at the end*: a network without the batch norm that the others end in.",
        "",
        "| method | rank-1 | TPIR | FPIR | FPIR, trained | active at the end | collapsed | CPU s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for method in faces.rank_1:
        cells = [_cell(runs[method]) for runs in (faces.rank_1, faces.tpir, faces.fpir, faces.trained_fpir)]
        active = "" if np.isnan(faces.active[method]).any() else f"{np.mean(faces.active[method]):.2f}"
        row = [method, *cells, active, f"{faces.collapsed[method]} of {seeds}", f"{np.mean(faces.seconds[method]):.0f}"]
        lines.append(f"| {' | '.join(row)} |")
    for measure, found in faces.compared.items():
        lines += ["", f"### {measure}", "", *(f"- {each}" for each in found)]
    lines += ["", f"## Digits: {digits_seen:,} images seen by each method"]
    for known in sorted({known for known, _ in digits.runs}):
        lines += ["", f"### Trained on 0–{known - 1}, asked about the others", ""]
        shots = sorted(shots for each, shots in digits.runs if each == known)
        lines += [f"| method | {' | '.join(f'{count} enrolled' for count in shots)} |", "|---" * (len(shots) + 1) + "|"]
        for method in digits.runs[known, shots[0]]:
            cells = [_cell(digits.runs[known, count][method]) for count in shots]
            lines.append(f"| {method} | {' | '.join(cells)} |")
        for count in shots:
            enrolled = f"{count} image{'s' if count > 1 else ''} enrolled"
            lines += ["", f"{enrolled}:", "", *(f"- {each}" for each in digits.compared[known, count])]
    return "\n".join(lines) + "\n"


def draw(faces: FaceStudy, digits: DigitStudy, file: Path) -> None:
    """The same as a picture: one dot a seed, a bar at the mean."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure as Canvas  # noqa: PLC0415

    settings = sorted(digits.runs)
    shown = {
        "faces: rank-1": faces.rank_1,
        "faces: TPIR at FPIR 1 %": faces.tpir,
        **{
            f"digits {known}–9 after 0–{known - 1}, {shots} enrolled": digits.runs[known, shots]
            for known, shots in (settings[0], settings[len(settings) // 2 - 1])
        },
    }
    canvas = Canvas(figsize=(13, 8), layout="constrained")
    FigureCanvasAgg(canvas)
    for axes, (title, runs) in zip(canvas.subplots(2, 2).flat, shown.items(), strict=True):
        for row, (_, values) in enumerate(runs.items()):
            axes.barh(row, np.mean(values), color="#c9d8e6", height=0.7)
            axes.plot(values, [row] * len(values), "o", color="#1f4e79", markersize=4)
        axes.set_yticks(range(len(runs)), list(runs))
        axes.invert_yaxis()
        axes.set_xlim(left=0)
        axes.set_title(title, loc="left")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x", alpha=0.3)
    canvas.savefig(file, dpi=110)


def _cell(values: Sequence[float]) -> str:
    return f"{np.mean(values):.3f} ± {spread(values):.3f}"

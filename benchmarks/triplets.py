"""Which way of choosing triplets is worth it: samplers, miners and heads that are cut off, at equal cost, five seeds.

On faces (benchmarks/triplets_faces.py) and digits (benchmarks/triplets_digits.py). All methods of one part see the same
number of images and have the same network, but for those named otherwise; under one seed they begin with the same
weights and are asked about the same people. Beside the figures it writes a page, triplets.md, and a picture,
triplets.png.
"""

import multiprocessing
import os
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from benchmarks import triplets_report
from benchmarks.report import Figure, at_least
from benchmarks.session import Session, Unavailable, scratch
from benchmarks.triplets_report import DigitStudy, FaceStudy
from benchmarks.triplets_statistics import Difference, differences, spread

if TYPE_CHECKING:
    from benchmarks.triplets_faces import FaceFigures, Faces

SEEDS = 5

#: Batches, of as many images.
IMAGES_PER_STEP = 64
_FACE_STEPS, _DIGIT_STEPS = 1800, 500

#: Drawings of who is enrolled, of the digits.
_DRAWS = 10

_RAW = "nearest raw pixels"

#: Faces: what is set against what.
_FACE_PAIRS = (
    ("semi-hard", "random"),
    ("semi-hard", "batch-hard from the start"),
    ("distance-weighted", "semi-hard"),
    ("neighbourhoods, semi-hard", "semi-hard"),
    ("curriculum", "semi-hard"),
    ("softmax, head cut", "semi-hard"),
    ("ArcFace, head cut", "softmax, head cut"),
    ("softmax, then semi-hard", "softmax, head cut"),
    ("softmax, then semi-hard", "semi-hard"),
    ("semi-hard", _RAW),
    ("batch-hard from the start", "batch-hard from the start, no norm at the end"),
    ("semi-hard", "semi-hard, no norm at the end"),
    ("semi-hard, no norm at the end", "batch-hard from the start, no norm at the end"),
)

_DIGIT_PAIRS = (
    ("softmax, head cut", _RAW),
    ("semi-hard", _RAW),
    ("softmax, cut at the convolutions", _RAW),
    ("semi-hard, cut at the convolutions", _RAW),
    ("softmax, cut at the convolutions", "softmax, head cut"),
    ("softmax, head cut", "last layer retrained"),
    ("softmax, cut at the convolutions", "last layers retrained"),
)

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")


def run(session: Session) -> list[Figure]:
    """Everything, one training per core at a time."""
    # They load torch, which no other benchmark of this process needs.
    from benchmarks import triplets_digits, triplets_faces  # noqa: PLC0415

    if not (session.data / "aligned" / "train").is_dir():
        raise Unavailable(f"triplets learns from faces, and {session.data / 'aligned'} holds none; name --data")
    seeds = range(session.scaled(SEEDS, 2))
    steps, digit_steps = session.scaled(_FACE_STEPS, 6), session.scaled(_DIGIT_STEPS, 6)
    methods = (_RAW, *triplets_faces.METHODS, *triplets_faces.WITHOUT_NORM)
    with session.progress("triplets") as tell, scratch() as folder, _pool() as pool:
        _store(folder, *triplets_faces.read_both(session.data, session.quick, tell))
        digit_runs = {
            (known, seed): pool.submit(_digits, known, digit_steps, seed, session.scaled(_DRAWS, 1))
            for known in triplets_digits.KNOWN
            for seed in seeds
        }
        face_runs = {
            (method, seed): pool.submit(_faces, folder, method, steps, seed) for seed in seeds for method in methods
        }
        told = _followed(digit_runs, lambda key: f"digits 0–{key[0] - 1}, seed {key[1]}", tell)
        found = _followed(face_runs, lambda key: f"faces, {key[0]}, seed {key[1]}", tell)
    faces = _face_study(found, methods, seeds)
    digits = _digit_study(told, triplets_digits.METHODS, seeds)
    _write(session, faces, digits, steps * IMAGES_PER_STEP, digit_steps * IMAGES_PER_STEP, len(seeds))
    return [*_face_figures(faces, len(seeds)), *_digit_figures(digits)]


@contextmanager
def _pool() -> Iterator[ProcessPoolExecutor]:
    # Not forked: torch's threads do not survive it.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), context, initializer=_one_thread_each) as pool:
        try:
            yield pool
        finally:
            # When one fails or somebody interrupts, nobody wants the others.
            pool.shutdown(wait=False, cancel_futures=True)


def _one_thread_each() -> None:
    import torch  # noqa: PLC0415
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # noqa: PLC0415

    torch.set_num_threads(1)
    threadpool_limits(1)


def _store(folder: Path, training: "Faces", test: "Faces") -> None:
    """For the other processes, which map them: no copy each."""
    for name, faces in (("training", training), ("test", test)):
        np.save(folder / f"{name}-pixels.npy", faces.pixels)
        np.save(folder / f"{name}-labels.npy", faces.labels)


@lru_cache
def _stored(folder: Path, name: str) -> "Faces":
    from benchmarks.triplets_faces import Faces  # noqa: PLC0415

    pixels, labels = (np.load(folder / f"{name}-{part}.npy", mmap_mode="r") for part in ("pixels", "labels"))
    return Faces(pixels, np.asarray(labels))


def _faces(folder: Path, method: str, steps: int, seed: int) -> "FaceFigures":
    from benchmarks.triplets_faces import measure  # noqa: PLC0415

    return measure(method, _stored(folder, "training"), _stored(folder, "test"), steps, seed)


def _digits(known: int, steps: int, seed: int, draws: int) -> dict[str, dict[int, float]]:
    from benchmarks.triplets_digits import measure, read  # noqa: PLC0415

    return measure(read(), known, steps, seed, draws)


def _followed(runs: Mapping[K, Future[R]], name: Callable[[K], str], tell: Callable[[str], None]) -> dict[K, R]:
    """What each run found; says what is done."""
    keys = {future: key for key, future in runs.items()}
    for count, future in enumerate(as_completed(keys), 1):
        future.result()
        tell(f"{count} of {len(keys)} done: {name(keys[future])}")
    return {key: future.result() for key, future in runs.items()}


def _face_study(
    found: Mapping[tuple[str, int], "FaceFigures"], methods: Sequence[str], seeds: Sequence[int]
) -> FaceStudy:
    def of(part: str) -> dict[str, list[float]]:
        return {method: [float(getattr(found[method, seed], part)) for seed in seeds] for method in methods}

    rank_1, tpir = of("rank_1"), of("tpir")
    return FaceStudy(
        rank_1=rank_1,
        tpir=tpir,
        fpir=of("fpir"),
        trained_fpir=of("trained_fpir"),
        active=of("active"),
        seconds=of("seconds"),
        collapsed={method: int(sum(values)) for method, values in of("collapsed").items()},
        compared={"rank-1": differences(rank_1, _FACE_PAIRS), "TPIR": differences(tpir, _FACE_PAIRS)},
    )


def _digit_study(
    told: Mapping[tuple[int, int], dict[str, dict[int, float]]], methods: Sequence[str], seeds: Sequence[int]
) -> DigitStudy:
    first = next(iter(told.values()))[methods[0]]
    runs = {
        (known, shots): {method: [told[known, seed][method][shots] for seed in seeds] for method in methods}
        for known in sorted({known for known, _ in told})
        for shots in first
    }
    return DigitStudy(runs, {setting: differences(found, _DIGIT_PAIRS) for setting, found in runs.items()})


def _face_figures(faces: FaceStudy, seeds: int) -> list[Figure]:
    figures = []
    for measure, runs in (("rank-1", faces.rank_1), ("TPIR at FPIR 1 %", faces.tpir)):
        for method, values in runs.items():
            figures.append(
                Figure(f"faces, {method}: {measure}", float(np.mean(values)), "", float(np.mean(runs[_RAW])))
            )
            figures.append(Figure(f"faces, {method}: {measure}, deviation over seeds", spread(values), ""))
    figures += [
        Figure(f"faces, {method}: collapsed", count, f"of {seeds}") for method, count in faces.collapsed.items()
    ]
    for measure, found in faces.compared.items():
        figures += [figure for each in found for figure in _difference(f"faces, {measure}", each)]
        semi_hard = found[0]
        figures.append(
            at_least(
                f"faces, {measure}: semi-hard over random, lower end of 95 %",
                semi_hard.mean - semi_hard.half_width,
                0.0,
            )
        )
    return figures


def _digit_figures(digits: DigitStudy) -> list[Figure]:
    figures = []
    for (known, shots), runs in digits.runs.items():
        # Their differences stand on the page: in a table they would bury everything else.
        where = f"digits after 0–{known - 1}, {shots} enrolled"
        peer = float(np.mean(runs[_RAW]))
        figures += [Figure(f"{where}, {method}", float(np.mean(values)), "", peer) for method, values in runs.items()]
    return figures


def _difference(where: str, found: Difference) -> list[Figure]:
    name = f"{where}: {found.method} over {found.peer}"
    return [Figure(name, found.mean, "real" if found.real else "not shown"), Figure(f"{name}, ±", found.half_width, "")]


def _write(
    session: Session, faces: FaceStudy, digits: DigitStudy, images_seen: int, digits_seen: int, seeds: int
) -> None:
    session.out.mkdir(parents=True, exist_ok=True)
    text = triplets_report.page(faces, digits, images_seen, digits_seen, seeds)
    (session.out / "triplets.md").write_text(text, encoding="utf-8")
    triplets_report.draw(faces, digits, session.out / "triplets.png")
    for measure, found in faces.compared.items():
        for each in found:
            session.console.print(f"faces, {measure}: {each}", highlight=False)
    for (known, shots), found in digits.compared.items():
        for each in found:
            session.console.print(f"digits after 0–{known - 1}, {shots} enrolled: {each}", highlight=False)

"""kith evaluate and kith calibrate on real faces and published weights: the figures agree with the published ones."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kith import cli
from tests.shared_data import shared_data

#: What the publisher of the data measured with these weights, on all of it.
ACCURACY, RANK_1, DIR = 0.9849, 0.9863, 0.9315

#: Of ten: enough for an interval of two or three points.
_FOLDS = {"0", "1", "2", "3"}


def kith(*arguments: str) -> Any:
    done = CliRunner().invoke(cli.app, [*arguments, "--json"])
    assert done.exit_code == 0, (done.output, done.exception)
    return json.loads(done.stdout)


def within(published: float, figure: dict[str, float]) -> bool:
    print(f"{figure['value']:.4f} ({figure['low']:.4f} to {figure['high']:.4f}), published {published}")
    return figure["low"] <= published <= figure["high"]


@pytest.fixture(scope="module")
def data() -> Path:
    return shared_data()


def test_figures_by_the_lists_agree_with_the_published_ones(data: Path, tmp_path: Path) -> None:
    head, *rows = (data / "faces" / "pairs.csv").read_text().splitlines()
    some = tmp_path / "pairs.csv"
    some.write_text("\n".join([head, *(row for row in rows if row.rpartition(",")[2] in _FOLDS)]) + "\n")
    out = tmp_path / "report"
    faces = str(data / "faces" / "val")
    found = kith("evaluate", str(data / "weights"), "--data", faces, "--pairs", str(some), "--out", str(out))

    pairs, every = found["verification"]
    assert within(ACCURACY, pairs["accuracy"])
    assert pairs["folds"] == len(_FOLDS)
    assert "cannot show a rate of 0.1 %" in pairs["tar"][1]["tar"]["refused"]
    assert set(every["tar"][1]["tar"]) == {"value", "low", "high"}

    whole = found["identification"]["sizes"][-1]
    assert found["identification"]["origin"] == "gallery.csv, probes_known.csv, probes_unknown.csv"
    assert (whole["subjects"], whole["mated_searches"], whole["non_mated_searches"]) == (186, 584, 537)
    assert within(RANK_1, whole["ranks"]["1"])
    at, refused = whole["tpir"]
    assert within(DIR, at["tpir"])
    assert refused["tpir"]["refused"] == "537 non-mated searches cannot show a rate of 0.1 %; it takes 3,000"
    assert [size["subjects"] for size in found["identification"]["sizes"]] == [10, 30, 100, 186]
    assert found["runtime"].startswith("torch cpu")
    assert {file.name for file in out.iterdir()} >= {"report.html", "evaluation.json", "det.png", "wrong_names.png"}


def test_a_cutoff_is_calibrated_and_grows_with_the_gallery(data: Path) -> None:
    faces = data / "aligned" / "val"
    found = kith(
        "calibrate", str(data / "weights"), "--data", str(faces), "--aligned", "--fpir", "0.01", "--subjects", "100"
    )
    at = found["at_size"]["cutoff"]
    # What kith.known_weights has, measured on other people: 0.42 at 100 subjects with two templates each.
    assert within(0.42, at)
    tenfold = found["growth"][0]
    assert (tenfold["subjects"], tenfold["how"]) == (1000, "rule")
    assert tenfold["cutoff"]["value"] > at["value"]

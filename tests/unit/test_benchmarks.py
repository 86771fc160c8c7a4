"""The benchmarks' own arithmetic and report: a wrong median makes every figure wrong without failing anything."""

import itertools
import json
import random
from pathlib import Path

import pytest
from PIL import Image

from benchmarks import __main__ as command
from benchmarks import inputs, report, rounds
from benchmarks.session import Session, Unavailable


def test_every_contender_has_its_turn_in_each_round_and_the_order_alternates() -> None:
    turns: list[str] = []
    clock = itertools.count()

    def contender(name: str) -> rounds.Contender:
        def measure() -> float:
            turns.append(name)
            return float(next(clock))

        return measure

    measured = rounds.interleave({name: contender(name) for name in "abc"}, 3)

    assert "".join(turns) == "abc" + "cba" + "abc"
    assert measured == {"a": [0, 5, 6], "b": [1, 4, 7], "c": [2, 3, 8]}


def test_a_ratio_is_of_pairs_so_that_a_busy_spell_costs_nobody() -> None:
    # The machine is four times slower in the last three rounds; medians of each alone would be of different machines.
    ours, theirs = [90.0, 90.0, 22.5, 22.5, 22.5], [100.0, 100.0, 25.0, 25.0, 25.0]

    assert rounds.median_ratio(ours, theirs) == pytest.approx(0.9)
    assert rounds.median_ratio([1, 2, 300], [1, 1, 1]) == 2


def test_rounds_of_unequal_number_are_no_pairs() -> None:
    with pytest.raises(ValueError, match="argument 2"):
        rounds.median_ratio([1.0, 2.0], [1.0])


@pytest.mark.parametrize(("percent", "expected"), [(0, 1), (1, 1), (50, 50), (99, 99), (99.5, 100), (100, 100)])
def test_a_percentile_is_a_measured_value(percent: float, expected: float) -> None:
    values = [float(value) for value in range(1, 101)]
    random.Random(0).shuffle(values)

    assert rounds.percentile(values, percent) == expected
    assert rounds.percentile([7.0], percent) == 7


def test_a_robust_slope_ignores_a_quarter_of_wild_points() -> None:
    x = list(range(40))
    y = [100 + 0.5 * value for value in x]
    for wild in range(0, 40, 4):
        y[wild] += 1000 * random.Random(wild).random()

    assert rounds.robust_slope(x, y) == pytest.approx(0.5, abs=0.1)


def test_a_steady_rate_leaves_out_start_and_end_and_survives_bursts() -> None:
    # 32 at once every 200 ms, after a slow start and before a slow end.
    start = [float(second) for second in range(-10, 0)]
    middle = [burst * 0.2 for burst in range(50) for _ in range(32)]
    end = [10.0 + second for second in range(10)]

    assert rounds.steady_rate([*end, *middle, *start]) == pytest.approx(160, rel=0.02)


def test_a_figure_is_judged_by_its_own_bound() -> None:
    assert report.at_least("rate", 0.9, 0.9) == report.Figure("rate", 0.9, "", None, "≥ 0.9", met=True)
    assert report.at_least("rate", 0.8999, 0.9).met is False
    assert report.at_most("p99", 63.1, 63.1, "ms", 10.0) == report.Figure("p99", 63.1, "ms", 10.0, "≤ 63.1", met=True)
    assert report.at_most("p99", 63.2, 63.1).met is False


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.9134, "0.913"),
        (2.0, "2"),
        (47.61, "47.6"),
        (682.4, "682"),
        (1500.4, "1,500"),
        (20000, "20,000"),
        (-3.21, "-3.21"),
    ],
)
def test_numbers_are_shown_as_people_read_them(value: float, text: str) -> None:
    assert report.readable(value) == text


def test_the_json_is_a_list_of_figures_with_six_fields_each(tmp_path: Path) -> None:
    figures = [report.at_least("rate", 2000.0, 1500, "images/s", 400.0), report.Figure("images", 16, "images")]

    file = report.write("ceiling", figures, tmp_path / "out")

    assert file == tmp_path / "out" / "ceiling.json"
    assert json.loads(file.read_text()) == [
        {"figure": "rate", "value": 2000, "unit": "images/s", "peer": 400, "target": "≥ 1,500", "met": True},
        {"figure": "images", "value": 16, "unit": "images", "peer": None, "target": None, "met": None},
    ]


def test_a_smoke_run_judges_nothing_and_says_so() -> None:
    [figure] = report.not_comparable([report.at_least("rate", 1.0, 5.0)])

    assert figure.met is None
    assert figure.figure.endswith(report.SMOKE)


def test_made_up_crops_are_different_jpegs_of_the_right_size_and_always_the_same(tmp_path: Path) -> None:
    crops = inputs.made_up_crops(3)

    assert len(set(crops)) == 3
    assert crops == inputs.made_up_crops(3)
    for number, crop in enumerate(crops):
        file = tmp_path / f"{number}.jpg"
        file.write_bytes(crop)
        with Image.open(file) as image:
            assert (image.format, image.size) == ("JPEG", (inputs.CROP_PX, inputs.CROP_PX))


def test_what_cannot_run_is_named_and_leaves_no_stale_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pipeline.json").write_text("[]")

    def missing(_: Session) -> list[report.Figure]:
        raise Unavailable("there are no weights")

    monkeypatch.setattr(command, "BENCHMARKS", {"pipeline": missing})

    assert command.main(["pipeline", "--out", str(tmp_path)]) == command.CANNOT_RUN
    assert "pipeline: skipped, there are no weights" in capsys.readouterr().out
    assert not (tmp_path / "pipeline.json").exists()
    # Not asked for by name, it is no failure.
    assert command.main(["--out", str(tmp_path)]) == 0


def test_the_exit_status_says_whether_a_target_was_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "BENCHMARKS", {"ceiling": lambda _: [report.at_least("rate", 1.0, 5.0)]})

    assert command.main(["ceiling", "--out", str(tmp_path)]) == command.MISSED
    assert command.main(["ceiling", "--out", str(tmp_path), "--quick"]) == 0


def test_a_benchmark_nobody_knows_is_a_wrong_call(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["pipelin"])

    assert ended.value.code == 2
    assert "there is no benchmark 'pipelin'" in capsys.readouterr().err


def test_real_networks_are_looked_for_and_not_required(tmp_path: Path) -> None:
    assert inputs.weights(tmp_path) is None
    assert inputs.aligned_crops(tmp_path, 10) == []

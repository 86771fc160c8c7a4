"""kith cutoff and kith feedback, on a gallery, results and samples in memory."""

import json
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from kith.backends.gallery_memory import MemoryGalleryStore
from kith.backends.samples_memory import MemorySamples
from kith.calibration_samples import Truth
from kith.cli import cutoff, feedback
from kith.feedback import Feedback
from kith.gallery import Enrolment, template_id
from kith.gallery_settings import GallerySettings
from kith.jobs import Decision, Face, Kind, Lane, Outcome, now_ms
from kith.ledger import JobState
from kith.results import Entry
from kith.settings import load


class Results:
    """Results that keep decisions of the last hour, a second apart; and a ledger that has forgotten every job."""

    def __init__(self, decisions: Sequence[Decision]) -> None:
        first_ms = now_ms() - 3_600_000
        self._entries = [Entry(f"{first_ms + 1000 * at}-0", each) for at, each in enumerate(decisions)]

    def after(self, entry_id: str, *, limit: int) -> list[Entry]:
        after_ms = int(entry_id.partition("-")[0])
        return [each for each in self._entries if int(each.entry_id.partition("-")[0]) > after_ms][: min(limit, 2)]

    def fetch(self, entry_ids: Sequence[str]) -> list[Entry]:
        return []

    def state(self, job_id: str) -> JobState:
        return JobState("unknown")


def decision(
    index: int, score: float, nearest: str = "p1", gallery: str = "staff", job: str = "job", model_id: str = "m"
) -> Decision:
    outcome = Outcome.MATCH if score >= 0.5 else Outcome.UNKNOWN
    face = Face(
        outcome,
        subject=nearest if outcome is Outcome.MATCH else None,
        score=score,
        nearest=nearest,
        nearest_id=f"id of {nearest}",
        runner_up="p2",
        runner_up_score=score - 0.1,
    )
    return Decision(
        *(f"{job}:{index}", job, index, Kind.IDENTIFY, gallery, Lane.BULK, f"ab/{index}", outcome, 1, 2),
        face=face,
        cutoff=0.5,
        gallery_version=10**6,
        model_id=model_id,
    )


@pytest.fixture
def store() -> MemoryGalleryStore:
    made = MemoryGalleryStore()
    made.create("staff", model_id="m", dimension=32, settings=GallerySettings(margin=0.02))
    enrol(made, 0, 60)
    return made


def enrol(store: MemoryGalleryStore, first: int, last: int) -> None:
    vectors = np.random.default_rng(first).standard_normal((last - first, 32))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    store.enrol(
        "staff",
        [
            Enrolment(f"p{row}", template_id("staff", f"p{row}", "i"), vector, "i", 1.0, "m")
            for row, vector in enumerate(vectors, first)
        ],
    )


@pytest.fixture
def samples() -> MemorySamples:
    return MemorySamples()


@pytest.fixture
def app(
    store: MemoryGalleryStore, samples: MemorySamples, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> typer.Typer:
    monkeypatch.setenv("KITH_HOME", str(tmp_path))
    monkeypatch.delenv("KITH_CONFIG", raising=False)
    decisions = [
        decision(0, 0.45),
        decision(1, 0.55, "p3"),
        decision(2, 0.7),
        decision(0, 0.47, gallery="other", job="more"),
        # Of the model the gallery had before: its scores are another's.
        decision(0, 0.47, job="former", model_id="l"),
    ]
    results: Any = Results(decisions)
    made = SimpleNamespace(
        settings=load(),
        galleries=store,
        snapshot=store.snapshot,
        samples=samples,
        results=results,
        feedback=Feedback(store, results, results, samples),
    )
    for command in (cutoff, feedback):
        monkeypatch.setattr(command, "client_for", lambda _: nullcontext(made))
    found = typer.Typer()
    found.add_typer(cutoff.app)
    found.add_typer(feedback.app)
    return found


def run(app: typer.Typer, *arguments: str) -> str:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    return done.output


def test_a_gallery_without_a_cutoff_says_so(app: typer.Typer, samples: MemorySamples) -> None:
    said = run(app, "cutoff", "staff")
    assert "gallery staff has no cutoff of its own" in said
    assert "a margin of 0.02; 0 judged searches are kept" in said


def test_a_target_is_derived_stored_and_shown_with_interval_and_basis(
    app: typer.Typer, store: MemoryGalleryStore
) -> None:
    said = run(app, "cutoff", "staff", "--fpir", "0.08")
    settings = store.info("staff").settings
    assert settings.fpir == 0.08
    assert settings.margin == 0.02
    assert settings.record is not None
    assert f"gallery staff: cutoff {settings.cutoff:.4f} (95 % interval {settings.record.low:.4f} to " in said
    assert "for an FPIR of 8 %" in said
    assert "from 60 templates, each searched among the other subjects" in said
    holds = "valid, the rate holds up to 90 subjects with 90 templates"
    assert f"60 subjects with 60 templates then, 60 with 60 now: {holds}" in said
    shown = json.loads(run(app, "cutoff", "staff", "--json"))
    assert (shown["cutoff"], shown["fpir"], shown["stale"]) == (settings.cutoff, 0.08, False)
    assert (shown["fpir_now"], shown["holds_to"], shown["record"]["how"]) == (0.08, 90, "measured")


def test_too_little_data_is_said_with_what_it_takes(app: typer.Typer, store: MemoryGalleryStore) -> None:
    said = run(app, "cutoff", "staff", "--fpir", "0.001")
    assert "60 independent non-mated searches cannot show a rate of 0.1 %; it takes 4,577" in said
    assert "in force until there is more to go by" in said
    record = store.info("staff").settings.record
    assert record is not None
    assert record.how == "default"
    shown = json.loads(run(app, "cutoff", "staff", "--json"))
    assert (shown["fpir_now"], shown["holds_to"]) == (None, None)


def test_a_stale_cutoff_is_called_stale(app: typer.Typer, store: MemoryGalleryStore) -> None:
    run(app, "cutoff", "staff", "--fpir", "0.08")
    enrol(store, 60, 120)
    said = run(app, "cutoff", "staff")
    assert "60 subjects with 60 templates then, 120 with 120 now" in said
    # A third more than the 90 it was for.
    assert "stale, by rule an FPIR of up to 11 %; upkeep derives it anew" in said
    for number in range(20, 120):
        store.forget("staff", f"p{number}")
    assert "20 with 20 now: stale, by rule an FPIR of up to 8 %; upkeep" in run(app, "cutoff", "staff")


def test_a_preview_changes_nothing_and_lists_whom_it_would(app: typer.Typer, store: MemoryGalleryStore) -> None:
    sequence = store.info("staff").sequence
    said = run(app, "cutoff", "staff", "--set", "0.6", "--preview")
    # 0.5 is what the decisions were made with, as the gallery has no cutoff of its own.
    assert "cutoff 0.5000 (margin 0.02) → 0.6000 (margin 0.02): of 3 faces judged" in said
    assert "0 more would be named, 1 would not be named any more" in said
    assert "not named: p3 on ab/1: p3 (score 0.55, a match needs 0.50)" in said
    assert store.info("staff").sequence == sequence
    lower = json.loads(run(app, "cutoff", "staff", "--set", "0.4", "--preview", "--json"))
    assert lower["applied"] is False
    assert lower["preview"]["named"] == [{"decision_id": "job:0", "face": 0, "nearest": "p1"}]
    assert lower["preview"]["looked_at"] == 3
    wide = run(app, "cutoff", "staff", "--margin", "0.2", "--preview")
    assert "0 more would be named, 2 would not be named any more" in wide
    assert "of 0 faces" in run(app, "cutoff", "staff", "--set", "0.4", "--preview", "--hours", "0.1")


def test_set_by_hand_it_is_without_a_target_and_cleared_it_is_gone(app: typer.Typer, store: MemoryGalleryStore) -> None:
    run(app, "cutoff", "staff", "--fpir", "0.05")
    said = run(app, "cutoff", "staff", "--set", "0.6")
    assert "gallery staff: cutoff 0.6000, set by hand" in said
    assert store.info("staff").settings == GallerySettings(cutoff=0.6, margin=0.02)
    run(app, "cutoff", "staff", "--clear", "--margin", "0")
    assert store.info("staff").settings == GallerySettings(margin=0.0)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--set", "0.5", "--clear"],
        ["--set", "0.5", "--fpir", "0.1"],
        ["--fpir", "0"],
        ["--fpir", "1e-300"],
        ["--preview"],
        ["--set", "2"],
    ],
)
def test_what_does_not_go_together_is_a_wrong_command_line(app: typer.Typer, arguments: list[str]) -> None:
    assert CliRunner().invoke(app, ["cutoff", "staff", *arguments]).exit_code == 2


def test_a_rate_that_nobody_could_show_is_refused_with_what_it_would_take(app: typer.Typer) -> None:
    refused = CliRunner().invoke(app, ["cutoff", "staff", "--fpir", "1e-300"], env={"COLUMNS": "300"})
    assert refused.exit_code == 2
    assert "1e-300 is a rate that nobody could show: it takes 3,000,000 judged searches" in refused.stderr


def test_a_plot_is_a_picture_with_or_without_judged_searches(app: typer.Typer, tmp_path: Path) -> None:
    for name in ("bare.png", "judged.png"):
        run(app, "cutoff", "staff", "--plot", str(tmp_path / name))
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
        run(app, "cutoff", "staff", "--fpir", "0.05")
        run(app, "feedback", "job:2", "right")


def test_what_is_said_of_a_decision_is_kept(app: typer.Typer, samples: MemorySamples) -> None:
    assert "kept as a search for somebody enrolled who was the nearest" in run(app, "feedback", "job:2", "right")
    assert "kept as a search for a stranger" in run(app, "feedback", "job:1", "wrong", "--group", "track 1")
    said = json.loads(run(app, "feedback", "job:1", "wrong", "--actually", "p9", "--sampled", "--json"))
    assert (said["decision_id"], said["sample"]["truth"], said["sample"]["sampled"]) == ("job:1", "mistaken", True)
    # Both may be of one millisecond.
    assert {each.truth for each in samples.samples("staff")} == {Truth.MATED, Truth.MISTAKEN}
    assert "nothing is said of it any more" in run(app, "feedback", "job:1", "nothing")
    assert samples.count("staff") == 1


def test_of_a_whole_job_everybody_is_a_stranger_picked_whatever_the_answer(
    app: typer.Typer, samples: MemorySamples
) -> None:
    assert len(run(app, "feedback", "job", "stranger").splitlines()) == 3
    assert [(each.truth, each.sampled) for each in samples.samples("staff")] == [(Truth.NONMATED, True)] * 3
    for word in ("right", "wrong"):
        done = CliRunner().invoke(app, ["feedback", "job", word])
        assert done.exit_code != 0
        assert "of all of them say stranger or nothing" in str(done.exception)


def test_who_it_actually_was_goes_with_wrong_only(app: typer.Typer) -> None:
    assert CliRunner().invoke(app, ["feedback", "job:1", "right", "--actually", "p9"]).exit_code == 2

"""The cutoff of a gallery that has none: by whose model it is."""

from dataclasses import replace
from pathlib import Path

import pytest

from kith.checkpoints import Pack, model_id_of, simulated_pack, write_pack
from kith.default_cutoff import UNKNOWN, default_cutoff
from kith.manifest import EmbedderSpec, Manifest, Simulation
from kith.settings import Settings


def pack(folder: Path, dimension: int, cutoff: float) -> Pack:
    manifest = Manifest(
        name="made",
        licence="none",
        source="here",
        embedder=EmbedderSpec(format="simulated", dimension=dimension),
        default_cutoff=cutoff,
        cutoff_note="chosen",
        simulated=Simulation(0.0, 1),
    )
    return write_pack(folder, manifest, {})


def settings(home: Path, main: Path, *also: Path, cutoff: float | None = None) -> Settings:
    made = Settings(home=home)
    model = made.model.model_copy(update={"pack": main, "also": tuple(map(str, also))})
    decisions = made.decisions.model_copy(update={"cutoff": cutoff})
    return made.model_copy(update={"model": model, "decisions": decisions})


def test_each_model_has_its_own_and_one_that_is_not_here_a_high_one(tmp_path: Path) -> None:
    main, other = pack(tmp_path / "main", 8, 0.31), pack(tmp_path / "other", 9, 0.42)
    imported = pack(tmp_path / "packs" / "third", 10, 0.27)
    found = settings(tmp_path, main.path, other.path)
    for each in (main, other, imported):
        assert default_cutoff(found, each.model_id) == each.default_cutoff
    assert default_cutoff(found, "0123456789abcdef") == UNKNOWN


def test_the_installations_is_that_of_its_main_model(tmp_path: Path) -> None:
    main, other = pack(tmp_path / "main", 8, 0.31), pack(tmp_path / "other", 9, 0.42)
    found = settings(tmp_path, main.path, other.path, cutoff=0.6)
    assert default_cutoff(found, main.model_id) == 0.6
    assert default_cutoff(found, other.model_id) == 0.42
    assert default_cutoff(found, "0123456789abcdef") == UNKNOWN


def test_where_no_pack_is_the_installations_word_is_all_there_is(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    assert default_cutoff(settings(tmp_path, nowhere, cutoff=0.6), "0123456789abcdef") == 0.6
    assert default_cutoff(settings(tmp_path, nowhere), "0123456789abcdef") == UNKNOWN


def test_a_pack_whose_manifest_is_broken_is_passed_over(tmp_path: Path) -> None:
    main, other = pack(tmp_path / "main", 8, 0.31), pack(tmp_path / "other", 9, 0.42)
    (main.path / "manifest.json").write_text("{")
    assert default_cutoff(settings(tmp_path, main.path, other.path), other.model_id) == 0.42


def test_no_weights_are_read_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    main = simulated_pack(tmp_path / "main")
    monkeypatch.setattr(Pack, "read", lambda *_: pytest.fail("reads weights"))
    assert default_cutoff(settings(tmp_path, main.path), model_id_of(main.manifest)) == main.default_cutoff
    assert model_id_of(replace(main.manifest, default_cutoff=0.9)) == main.model_id

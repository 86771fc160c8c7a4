"""Packs by name, in lists and under verification."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kith.checkpoints import Pack, load_pack, simulated_pack, write_pack
from kith.errors import InvalidName, InvalidPack, Misconfigured
from kith.manifest import DetectorSpec, EmbedderSpec, Manifest
from kith.packs import shipped
from kith.packs.catalogue import CATALOGUE, entry_of
from kith.packs.listing import list_packs, terms_of
from kith.packs.shipped import default_pack, imported_packs, pack_name, resolve_pack, shipped_packs
from kith.packs.verifying import golden_picture, verify
from tests.onnx_models import embedder, scrfd

NO_HASH = "0" * 64


@pytest.fixture
def ships(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that ships the pack kith-small."""
    folder = tmp_path / "package"
    simulated_pack(folder / "kith-small")
    (folder / "__pycache__").mkdir()
    monkeypatch.setattr(shipped, "_HERE", folder)
    return folder


def onnx_pack(path: Path, **changes: object) -> Pack:
    spec = EmbedderSpec(format="onnx", file="net.onnx", sha256=NO_HASH, dimension=8)
    manifest = Manifest(
        name="made",
        licence="CC0",
        source="a test",
        embedder=replace(spec, **changes),  # type: ignore[arg-type]
        detector=DetectorSpec(file="faces.onnx", sha256=NO_HASH, kind="scrfd"),
        default_cutoff=0.5,
        cutoff_note="made up",
    )
    return write_pack(path, manifest, {"net.onnx": embedder(8), "faces.onnx": scrfd()})


class TestNames:
    def test_a_pack_is_its_folder_its_shipped_name_or_its_imported_name(self, ships: Path, tmp_path: Path) -> None:
        mine = simulated_pack(tmp_path / "home" / "packs" / "mine").path
        elsewhere = simulated_pack(tmp_path / "elsewhere").path
        home = tmp_path / "home"
        assert resolve_pack("kith-small", home) == ships / "kith-small"
        assert resolve_pack(Path("mine"), home) == mine
        assert resolve_pack(str(elsewhere), home) == elsewhere
        assert (sorted(shipped_packs()), sorted(imported_packs(home))) == (["kith-small"], ["mine"])
        assert default_pack() == ships / "kith-small"

    def test_a_folder_comes_before_a_name(self, ships: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "kith-small").mkdir()
        assert resolve_pack("kith-small", tmp_path) == tmp_path / "kith-small"

    def test_an_unknown_name_lists_the_known_ones(self, ships: Path, tmp_path: Path) -> None:
        simulated_pack(tmp_path / "packs" / "mine")
        with pytest.raises(Misconfigured, match=r"no model pack is called his.*packs here: kith-small, mine"):
            resolve_pack("his", tmp_path)
        with pytest.raises(Misconfigured, match="/no/where is not a folder"):
            resolve_pack("/no/where", tmp_path)

    def test_where_nothing_ships_and_nothing_is_imported_there_is_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(shipped, "_HERE", tmp_path)
        assert (shipped_packs(), imported_packs(tmp_path / "home"), default_pack()) == ({}, {}, None)
        with pytest.raises(Misconfigured, match="packs here: none"):
            resolve_pack("kith-small", tmp_path / "home")

    @pytest.mark.parametrize("name", ["", ".hidden", "../up", "a/b", "Upper", "kith-small", "x" * 65])
    def test_a_name_that_no_import_may_have_is_refused(self, ships: Path, name: str) -> None:
        with pytest.raises(InvalidName):
            pack_name(name)

    def test_what_is_just_being_written_is_no_pack(self, tmp_path: Path) -> None:
        simulated_pack(tmp_path / "packs" / ".import-x")
        (tmp_path / "packs" / "without-manifest").mkdir()
        assert imported_packs(tmp_path) == {}


class TestList:
    def test_it_says_what_is_here_and_what_can_be_had(self, ships: Path, tmp_path: Path) -> None:
        pack = onnx_pack(tmp_path / "packs" / "mine")
        by_name = {listed.name: listed for listed in list_packs(tmp_path)}
        assert list(by_name)[:2] == ["kith-small", "mine"]
        mine = by_name["mine"]
        assert (mine.where, mine.model_id, mine.embedder, mine.dimension) == ("imported", pack.model_id, "onnx", 8)
        assert (mine.detector, mine.terms) == ("scrfd", "CC0")
        assert mine.size == sum(file.stat().st_size for file in pack.path.iterdir())
        assert by_name["buffalo_l"].where == "catalogue"
        assert by_name["buffalo_l"].terms.startswith("RESEARCH ONLY: ")

    def test_an_entry_that_was_pulled_is_not_offered_again(self, tmp_path: Path) -> None:
        onnx_pack(tmp_path / "packs" / "buffalo_l")
        found = [listed.where for listed in list_packs(tmp_path) if listed.name == "buffalo_l"]
        assert found == ["imported"]

    def test_a_pack_with_a_broken_manifest_is_listed_with_its_fault(self, tmp_path: Path) -> None:
        pack = onnx_pack(tmp_path / "packs" / "mine")
        (pack.path / "manifest.json").write_text("{")
        [mine] = [listed for listed in list_packs(tmp_path) if listed.name == "mine"]
        assert mine.model_id is None
        assert "not a valid manifest" in mine.fault

    @pytest.mark.parametrize(
        ("licence", "restricted"),
        [
            ("non-commercial research only", True),
            ("Research and evaluation", True),
            ("CC BY-NC: noncommercial", True),
            ("Apache-2.0", False),
            ("MIT, as stated\nby its publisher", False),
        ],
    )
    def test_what_restricts_the_use_stands_first(self, licence: str, restricted: bool) -> None:
        assert terms_of(licence).startswith("RESEARCH ONLY: ") is restricted
        assert "\n" not in terms_of(licence)


class TestCatalogue:
    def test_every_entry_is_pinned_and_names_its_evidence(self) -> None:
        names = [entry.name for entry in CATALOGUE]
        assert len(set(names)) == len(names)
        for entry in CATALOGUE:
            assert pack_name(entry.name) == entry.name
            assert entry_of(entry.name) is entry
            assert entry.licence
            for file in entry.files:
                assert file.url.startswith("https://")
                assert file.url.endswith(f"/{file.name}")
                assert len(file.sha256) == 64
                assert int(file.sha256, 16)
                assert file.size > 0
                assert len(file.evidence) > 20
            specs = [spec for spec in (entry.embedder_spec, entry.detector_spec) if spec is not None]
            # An archive that explains itself, or each file with its conventions.
            assert sorted(str(spec.file) for spec in specs) in ([], sorted(file.name for file in entry.files))
            if entry.embedder_spec is not None:
                assert entry.embedder_spec.dimension == entry.dimension


class TestVerify:
    def test_a_sound_pack_is_loaded_whole_and_embeds_a_picture(self, tmp_path: Path) -> None:
        pack = onnx_pack(tmp_path / "pack")
        found = verify(pack.path)
        assert found.pack == load_pack(pack.path)
        assert set(found.files) == {"net.onnx", "faces.onnx"}
        assert found.files["net.onnx"] == pack.manifest.embedder.sha256
        assert found.golden.shape == (8,)
        assert np.linalg.norm(found.golden) == pytest.approx(1, abs=1e-5)
        assert np.array_equal(verify(pack.path).golden, found.golden)

    def test_a_pack_without_weights_verifies_too(self, tmp_path: Path) -> None:
        assert verify(simulated_pack(tmp_path / "pack").path).runtime == "simulated"

    def test_a_changed_byte_is_named(self, tmp_path: Path) -> None:
        pack = onnx_pack(tmp_path / "pack")
        data = bytearray((pack.path / "faces.onnx").read_bytes())
        data[-1] ^= 1
        (pack.path / "faces.onnx").write_bytes(data)
        with pytest.raises(InvalidPack, match=r"faces\.onnx has SHA-256 .*, its manifest says"):
            verify(pack.path)

    def test_a_network_of_another_dimension_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidPack, match=r"returned shape \(1, 8\), the manifest promises \(1, 16\)"):
            verify(onnx_pack(tmp_path / "pack", dimension=16).path)

    def test_normalisation_that_leaves_nothing_of_a_picture_is_noticed(self, tmp_path: Path) -> None:
        # Means of 127.5 for pixels that were scaled to 0..1: every picture is the same grey.
        wrong = {"scale": 1 / 255, "mean": (127.5, 127.5, 127.5), "std": (127.5, 127.5, 127.5)}
        with pytest.raises(InvalidPack, match="nothing in common have the same vector"):
            verify(onnx_pack(tmp_path / "pack", **wrong).path)

    def test_a_detector_of_another_kind_is_refused(self, tmp_path: Path) -> None:
        pack = onnx_pack(tmp_path / "pack")
        file = pack.path / "manifest.json"
        plain = json.loads(file.read_text())
        plain["detector"]["kind"] = "yunet"
        file.write_text(json.dumps(plain))
        with pytest.raises(InvalidPack, match="is not a YuNet"):
            verify(pack.path)

    def test_the_golden_picture_is_drawn_the_same_everywhere(self) -> None:
        picture = golden_picture(112)
        assert (picture.shape, picture.dtype) == ((112, 112, 3), np.uint8)
        assert picture[5, 7].tolist() == [int(127 + 120 * np.sin(5 / 9 + k) * np.cos(7 / (7 + k))) for k in range(3)]

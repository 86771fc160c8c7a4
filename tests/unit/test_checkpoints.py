"""Model packs: what is refused, and that model_id changes with what changes a vector and with nothing else."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from kith import known_weights
from kith.checkpoints import MANIFEST, Pack, load_pack, simulated_pack, write_pack
from kith.errors import InvalidPack
from kith.manifest import DetectorSpec, EmbedderSpec, Manifest

NO_HASH = "0" * 64

EXAMPLE = Manifest(
    name="example",
    licence="CC0",
    source="a test",
    embedder=EmbedderSpec(format="onnx", file="net.onnx", sha256=NO_HASH, dimension=4),
    detector=DetectorSpec(file="parts/faces.onnx", sha256=NO_HASH),
    default_cutoff=0.3,
    cutoff_note="made up",
)
FILES: dict[str, bytes | Path] = {"net.onnx": b"weights", "parts/faces.onnx": b"faces"}


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    return write_pack(tmp_path / "pack", EXAMPLE, FILES)


def rewrite(pack: Pack, **changes: object) -> Path:
    """The manifest of `pack` on disk with some top-level fields replaced."""
    file = pack.path / MANIFEST
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    return pack.path


def embedder(pack: Pack, **changes: object) -> dict[str, object]:
    plain: dict[str, object] = json.loads((pack.path / MANIFEST).read_text())["embedder"]
    return {**plain, **changes}


def test_a_pack_reads_back_as_it_was_written(pack: Pack) -> None:
    again = load_pack(pack.path)
    assert again == pack
    assert again.read(again.manifest.embedder) == b"weights"
    assert again.manifest.detector is not None
    assert again.read(again.manifest.detector) == b"faces"
    assert (again.dimension, again.input_size, again.default_cutoff) == (4, 112, 0.3)


def test_files_may_be_given_as_paths(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"weights")
    pack = write_pack(tmp_path / "pack", EXAMPLE, {**FILES, "net.onnx": tmp_path / "elsewhere"})
    assert pack.read(pack.manifest.embedder) == b"weights"


@pytest.mark.parametrize(
    "change",
    [
        {"dimension": 5},
        {"channels": "BGR"},
        {"scale": 1 / 128},
        {"mean": (0.5, 0.5, 0.4)},
        {"std": (0.5, 0.5, 0.4)},
        {"template": ((38.0, 51.0), (73.0, 51.0), (56.0, 71.0), (41.0, 92.0), (70.0, 92.0))},
        {"network": "another"},
    ],
)
def test_every_preprocessing_number_changes_the_model_id(tmp_path: Path, pack: Pack, change: dict[str, object]) -> None:
    changed = replace(EXAMPLE, embedder=replace(EXAMPLE.embedder, **change))  # type: ignore[arg-type]
    assert write_pack(tmp_path / "other", changed, FILES).model_id != pack.model_id


def test_other_weights_or_another_detector_change_the_model_id(tmp_path: Path, pack: Pack) -> None:
    ids = {
        pack.model_id,
        write_pack(tmp_path / "a", EXAMPLE, {**FILES, "net.onnx": b"others"}).model_id,
        write_pack(tmp_path / "b", EXAMPLE, {**FILES, "parts/faces.onnx": b"others"}).model_id,
        write_pack(tmp_path / "c", replace(EXAMPLE, detector=None), {"net.onnx": b"weights"}).model_id,
    }
    assert len(ids) == 4


def test_what_changes_no_vector_does_not_change_the_model_id(tmp_path: Path, pack: Pack) -> None:
    renamed = replace(
        EXAMPLE,
        name="other",
        notes="…",
        default_cutoff=0.9,
        embedder=replace(EXAMPLE.embedder, file="renamed.onnx"),
    )
    files: dict[str, bytes | Path] = {"renamed.onnx": b"weights", "parts/faces.onnx": b"faces"}
    assert write_pack(tmp_path / "other", renamed, files).model_id == pack.model_id


def test_the_model_id_is_the_same_in_every_process(pack: Pack) -> None:
    code = f"import pathlib, kith.checkpoints as c; print(c.load_pack(pathlib.Path({str(pack.path)!r})).model_id)"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == pack.model_id
    assert len(pack.model_id) == 16
    assert int(pack.model_id, 16) >= 0


def test_a_changed_byte_is_refused_at_loading(pack: Pack) -> None:
    (pack.path / "net.onnx").write_bytes(b"weightz")
    with pytest.raises(InvalidPack, match=r"net\.onnx has SHA-256 .* its manifest says"):
        load_pack(pack.path)


def test_a_file_changed_after_loading_is_not_used(pack: Pack) -> None:
    (pack.path / "net.onnx").write_bytes(b"weightz")
    with pytest.raises(InvalidPack, match="SHA-256"):
        pack.read(pack.manifest.embedder)


def test_a_missing_file_is_refused(pack: Pack) -> None:
    (pack.path / "parts/faces.onnx").unlink()
    with pytest.raises(InvalidPack, match=r"faces\.onnx cannot be read"):
        load_pack(pack.path)


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "parts/../../outside", "a\\..\\b", MANIFEST])
def test_a_name_outside_the_folder_is_refused(pack: Pack, name: str) -> None:
    with pytest.raises(InvalidPack, match="not the name of a file inside"):
        load_pack(rewrite(pack, embedder=embedder(pack, file=name)))
    with pytest.raises(InvalidPack):
        write_pack(pack.path, replace(EXAMPLE, detector=None), {"net.onnx": b"", name: b"overwritten"})


def test_a_link_that_leads_outside_is_refused_even_when_the_bytes_are_right(pack: Pack, tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"weights")
    (pack.path / "net.onnx").unlink()
    (pack.path / "net.onnx").symlink_to(tmp_path / "outside")
    with pytest.raises(InvalidPack, match="leads out of the pack"):
        load_pack(pack.path)


def test_a_manifest_of_a_later_version_is_told_apart(pack: Pack) -> None:
    with pytest.raises(InvalidPack, match="version 2, this process reads version 1"):
        load_pack(rewrite(pack, wire=2))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"format": "pickle"}, "embedder.format"),
        ({"dimension": 0}, "embedder.dimension"),
        ({"std": [0.5, 0.5, 0]}, "embedder.std.2"),
        ({"mean": [0.5, 0.5]}, "embedder.mean"),
        ({"input_size": 160}, "embedder.input_size"),
        ({"sha256": "abc"}, "embedder.sha256"),
        ({"template": [[1, 2]] * 4}, "embedder.template"),
    ],
)
def test_a_wrong_field_is_named(pack: Pack, change: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidPack, match=f"not a valid manifest.*{field}"):
        load_pack(rewrite(pack, embedder=embedder(pack, **change)))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"format": "onnx", "dimension": 4}, "needs its file"),
        ({"format": "safetensors", "dimension": 4, "file": "net.onnx", "sha256": NO_HASH}, "name of their network"),
        ({"format": "simulated", "dimension": 4}, "has `simulated` and no file"),
    ],
)
def test_parts_that_contradict_one_another_are_refused(pack: Pack, spec: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidPack, match=message):
        load_pack(rewrite(pack, embedder=spec))


def test_a_manifest_that_is_no_json_is_refused(pack: Pack) -> None:
    (pack.path / MANIFEST).write_bytes(b"\xff{")
    with pytest.raises(InvalidPack, match="not a valid manifest"):
        load_pack(pack.path)


def test_a_folder_without_anything_known_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.onnx").write_bytes(b"somebody's")
    with pytest.raises(InvalidPack, match=r"no manifest\.json and no weights that are known"):
        load_pack(tmp_path)
    with pytest.raises(InvalidPack, match="not a folder"):
        load_pack(tmp_path / "nowhere")


def test_known_weights_are_recognised_by_hash_and_a_state_dict_is_preferred_to_its_export() -> None:
    torch_hash, onnx_hash = (spec.sha256 for spec in known_weights.EMBEDDERS)
    assert torch_hash is not None
    assert onnx_hash is not None
    both = known_weights.recognise({onnx_hash: "a.onnx", torch_hash: "b.pt"})
    assert both is not None
    assert (both.embedder.file, both.embedder.format, both.detector) == ("b.pt", "torch", None)
    export = known_weights.recognise({onnx_hash: "a.onnx"})
    assert export is not None
    assert (export.embedder.file, export.embedder.format) == ("a.onnx", "onnx")
    assert known_weights.recognise({NO_HASH: "c.pt"}) is None


def test_a_pack_that_is_not_complete_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InvalidPack, match=r"names net\.onnx, which is not among"):
        write_pack(tmp_path / "pack", EXAMPLE, {})
    assert not (tmp_path / "pack").exists()


def test_a_simulated_pack_may_be_written_again(tmp_path: Path) -> None:
    first = simulated_pack(tmp_path / "pack", dimension=16)
    slower = simulated_pack(tmp_path / "pack", dimension=16, seconds_per_batch=0.5, batch=4)
    assert slower.model_id == first.model_id
    assert load_pack(tmp_path / "pack").manifest.simulated == slower.manifest.simulated
    assert simulated_pack(tmp_path / "pack", dimension=32).model_id != first.model_id

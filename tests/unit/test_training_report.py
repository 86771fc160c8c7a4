"""The page a training run ends with: its phases by name, the epoch that was kept, everything quoted."""

from pathlib import Path

import numpy as np

from kith.checkpoints import write_pack
from kith.manifest import EmbedderSpec, Manifest
from kith.networks import build
from kith.networks.weights import save_state
from kith.training.config import TrainConfig
from kith.training.faces import Faces
from kith.training.progress import Epoch
from kith.training.report import write_report
from kith.training.trainer import Trained


def test_each_phase_is_named_once_and_one_epoch_is_marked_as_kept(tmp_path: Path) -> None:
    spec = EmbedderSpec("safetensors", 8, "e.safetensors", network="mobilefacenet")
    manifest = Manifest(
        name="x", licence="x", source="x", embedder=spec, default_cutoff=0.5, cutoff_note="a < b", detector=None
    )
    network = build("mobilefacenet", 8)
    pack = write_pack(tmp_path / "pack", manifest, {"e.safetensors": save_state(network)})
    phases = [{"objective": "triplet", "epochs": 2, "learning_rate": 1e-3}] * 2
    config = TrainConfig.model_validate({"name": "<b>bold</b>", "data": {"path": "people"}, "phases": phases})
    found = [({"dir": 0.25}, True), ({"dir": 0.5}, True), ({"dir": 0.125}, False), (None, False)]
    history = tuple(
        Epoch(number // 2, f"phase {number // 2}", number % 2, {"loss": 1.0}, figures, 10.0, 1.0, best)
        for number, (figures, best) in enumerate(found)
    )
    faces = Faces(np.zeros((2, 1, 1, 3), np.uint8), np.array([0, 1]), ("ada", "bob"), ("a & b",))
    page = write_report(tmp_path / "r.html", config, faces, None, Trained(network, history, 0.5), pack).read_text()
    assert [page.count(f"class=phase>phase {number}") for number in (0, 1)] == [1, 1]
    assert page.count("(kept)") == 1
    kept = page.partition("(kept)")[2].partition("<tr")[0]
    assert "<td>0.5000" in kept
    assert "&lt;b&gt;bold" in page
    assert "<b>bold" not in page
    assert "a &amp; b" in page
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")

"""Other people's models become packs: what is recognised, what has to be named, and what is refused."""

import io
import zipfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from kith.checkpoints import load_pack, simulated_pack, write_pack
from kith.embedder import embed, open_embedder
from kith.errors import InvalidName, InvalidPack, NameTaken, Rejected
from kith.manifest import TEMPLATE
from kith.networks import build
from kith.packs import archives
from kith.packs.conventions import CUTOFF, Conventions, template, three
from kith.packs.importing import Wish, import_pack
from kith.packs.verifying import golden_picture
from tests.onnx_models import embedder, scrfd

ARCFACE = Conventions(
    channels="RGB", scale=1.0, mean=(127.5, 127.5, 127.5), std=(127.5, 127.5, 127.5), licence="MIT, as stated"
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def buffalo(folder: Path) -> Path:
    """A folder in InsightFace's format, with networks made by hand."""
    folder.mkdir(parents=True)
    (folder / "det_10g.onnx").write_bytes(scrfd())
    (folder / "w600k_r50.onnx").write_bytes(embedder(16))
    for name in ("genderage.onnx", "2d106det.onnx", "1k3d68.onnx"):
        (folder / name).write_bytes(b"of no use here")
    return folder


def zipped(archive: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, data in files.items():
            opened.writestr(name, data)
    return archive


@cache
def state_dict(network: str = "mobilefacenet", dimension: int = 16) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    made = build(network, dimension).train()
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm1d):
            module.momentum = 1.0
    # One batch for the batch norms: before any, hardly something of a picture gets through the layers.
    with torch.no_grad():
        made(torch.rand(8, 3, 112, 112))
    return made.state_dict()


def saved(what: Any) -> bytes:
    file = io.BytesIO()
    torch.save(what, file)
    return file.getvalue()


class TestRecognised:
    def test_a_folder_of_insightface_is_a_pack_as_it_is(self, tmp_path: Path, home: Path) -> None:
        found = import_pack(buffalo(tmp_path / "buffalo_l"), home, Wish())
        pack, manifest = found.pack, found.pack.manifest
        assert pack.path == home / "packs" / "buffalo_l"
        assert sorted(file.name for file in pack.path.iterdir()) == ["det_10g.onnx", "manifest.json", "w600k_r50.onnx"]
        assert manifest.name == "buffalo_l"
        assert "non-commercial research only" in manifest.licence
        assert manifest.detector is not None
        assert manifest.detector.kind == "scrfd"
        assert (manifest.embedder.dimension, manifest.embedder.channels) == (16, "RGB")
        assert manifest.default_cutoff == CUTOFF
        assert "kith calibrate" in manifest.cutoff_note

    def test_its_pixels_are_prepared_as_its_publisher_does(self, tmp_path: Path, home: Path) -> None:
        pack = import_pack(buffalo(tmp_path / "buffalo_l"), home, Wish()).pack
        crop = golden_picture(112)
        batch = np.zeros((1, 3, 112, 112), np.float32)
        for channel in range(3):
            for row in range(112):
                for column in range(112):
                    batch[0, channel, row, column] = (float(crop[row, column, channel]) - 127.5) / 127.5
        [out] = onnxruntime.InferenceSession(embedder(16)).run(None, {"input.1": batch})
        [vector] = embed(open_embedder(pack, "cpu"), [crop])
        assert vector == pytest.approx(out[0] / np.linalg.norm(out[0]), abs=1e-5)

    @pytest.mark.parametrize("top", ["", "antelopev2/"])
    def test_so_is_a_zip_of_it_also_with_a_folder_inside(self, tmp_path: Path, home: Path, top: str) -> None:
        names = {"scrfd_10g_bnkps.onnx": scrfd(), "glintr100.onnx": embedder(8), "1k3d68.onnx": b"of no use"}
        archive = zipped(tmp_path / "antelopev2.zip", {top + name: data for name, data in names.items()})
        pack = import_pack(archive, home, Wish()).pack
        assert pack.path.name == "antelopev2"
        assert pack.manifest.detector is not None
        assert pack.manifest.embedder.file == "glintr100.onnx"

    def test_a_recogniser_alone_is_known_by_its_name_and_takes_aligned_crops(self, tmp_path: Path, home: Path) -> None:
        file = tmp_path / "w600k_mbf.onnx"
        file.write_bytes(embedder(8))
        assert import_pack(file, home, Wish(name="mbf")).pack.manifest.detector is None

    def test_a_pack_is_imported_with_its_card_and_evaluation(self, tmp_path: Path, home: Path) -> None:
        pack = simulated_pack(tmp_path / "pack")
        (pack.path / "MODEL_CARD.md").write_text("# Simulated\n")
        found = import_pack(pack.path, home, Wish(name="again")).pack
        assert found.model_id == pack.model_id
        assert (found.path / "MODEL_CARD.md").read_text() == "# Simulated\n"
        assert found.manifest.name == "again"


class TestNamed:
    def test_an_onnx_network_needs_its_conventions_and_the_error_lists_the_flags(
        self, tmp_path: Path, home: Path
    ) -> None:
        file = tmp_path / "Some Net.onnx"
        file.write_bytes(embedder(8))
        with pytest.raises(Rejected, match=r"not known to Kith.*--channels.*--mean.*--std.*--licence"):
            import_pack(file, home, Wish())
        with pytest.raises(Rejected, match=r"Name: --licence TEXT, as its publisher states it\. Besides"):
            import_pack(file, home, Wish(replace(ARCFACE, licence=None)))
        assert list((home / "packs").iterdir()) == []
        found = import_pack(file, home, Wish(ARCFACE)).pack.manifest
        assert (found.name, found.licence, found.embedder.dimension) == ("some-net", "MIT, as stated", 8)
        assert (found.embedder.mean, found.embedder.std, found.embedder.scale) == ((127.5,) * 3, (127.5,) * 3, 1.0)
        assert found.embedder.template == TEMPLATE

    def test_a_network_of_fixed_batch_serves(self, tmp_path: Path, home: Path) -> None:
        file = tmp_path / "net.onnx"
        file.write_bytes(embedder(8, batch=1))
        assert import_pack(file, home, Wish(ARCFACE)).pack.dimension == 8

    @pytest.mark.parametrize("wrapped", [False, True])
    def test_weights_of_torch_need_their_network_too_and_become_safetensors(
        self, tmp_path: Path, home: Path, wrapped: bool
    ) -> None:
        state = state_dict()
        file = tmp_path / ("net.pth" if wrapped else "net.pt")
        shown = {"state_dict": {f"module.{name}": value for name, value in state.items()}, "epoch": 3}
        file.write_bytes(saved(shown if wrapped else state))
        with pytest.raises(Rejected, match=r"--network, one of .*mobilefacenet"):
            import_pack(file, home, Wish(ARCFACE))
        pack = import_pack(file, home, Wish(replace(ARCFACE, network="mobilefacenet"))).pack
        assert (pack.manifest.embedder.format, pack.dimension) == ("safetensors", 16)
        crop = golden_picture(112)
        network = build("mobilefacenet", 16)
        network.load_state_dict(state)
        pixels = (torch.from_numpy(crop.transpose(2, 0, 1)[None].astype(np.float32)) - 127.5) / 127.5
        with torch.inference_mode():
            out = network.eval()(pixels)[0].numpy()
        [vector] = embed(open_embedder(pack, "cpu", runtime="float32"), [crop])
        assert vector == pytest.approx(out / np.linalg.norm(out), abs=1e-5)

    def test_weights_of_another_network_are_refused(self, tmp_path: Path, home: Path) -> None:
        (tmp_path / "net.pt").write_bytes(saved(state_dict()))
        with pytest.raises(InvalidPack, match="does not fit the network resnet18"):
            import_pack(tmp_path / "net.pt", home, Wish(replace(ARCFACE, network="resnet18")))
        with pytest.raises(InvalidPack, match="no network is called 'vgg'"):
            import_pack(tmp_path / "net.pt", home, Wish(replace(ARCFACE, network="vgg")))

    def test_weights_that_hold_code_are_refused_and_not_run(self, tmp_path: Path, home: Path) -> None:
        class Trap:
            def __reduce__(self) -> tuple[Any, ...]:
                return (Path.touch, (tmp_path / "sprung",))

        (tmp_path / "net.pt").write_bytes(saved({"conv": Trap()}))
        with pytest.raises(InvalidPack, match="hold code are refused"):
            import_pack(tmp_path / "net.pt", home, Wish(replace(ARCFACE, network="mobilefacenet")))
        assert not (tmp_path / "sprung").exists()

    def test_a_cutoff_is_kept_with_the_word_on_how_it_was_found(self, tmp_path: Path, home: Path) -> None:
        (tmp_path / "net.onnx").write_bytes(embedder(8))
        said = replace(ARCFACE, cutoff=0.37, cutoff_note="FPIR 1 % on our own doors")
        manifest = import_pack(tmp_path / "net.onnx", home, Wish(said)).pack.manifest
        assert (manifest.default_cutoff, manifest.cutoff_note) == (0.37, "FPIR 1 % on our own doors")

    def test_a_dimension_that_is_not_the_real_one_is_refused(self, tmp_path: Path, home: Path) -> None:
        (tmp_path / "net.onnx").write_bytes(embedder(8))
        with pytest.raises(Rejected, match="--dimension says 512, the network returns vectors of 8"):
            import_pack(tmp_path / "net.onnx", home, Wish(replace(ARCFACE, dimension=512)))

    def test_conventions_that_leave_nothing_of_a_picture_are_refused(self, tmp_path: Path, home: Path) -> None:
        (tmp_path / "net.onnx").write_bytes(embedder(8))
        with pytest.raises(InvalidPack, match="or it was never trained"):
            import_pack(tmp_path / "net.onnx", home, Wish(replace(ARCFACE, scale=1 / 255)))
        assert list((home / "packs").iterdir()) == []


class TestDetector:
    def test_it_may_be_a_file_whose_kind_is_found_by_opening_it(self, tmp_path: Path, home: Path) -> None:
        (tmp_path / "net.onnx").write_bytes(embedder(8))
        (tmp_path / "faces.onnx").write_bytes(scrfd())
        pack = import_pack(tmp_path / "net.onnx", home, Wish(ARCFACE, detector=tmp_path / "faces.onnx")).pack
        assert pack.manifest.detector is not None
        assert pack.manifest.detector.kind == "scrfd"

    def test_it_may_be_lent_by_another_pack(self, tmp_path: Path, home: Path) -> None:
        lender = import_pack(buffalo(tmp_path / "buffalo_l"), home, Wish()).pack
        (tmp_path / "net.onnx").write_bytes(embedder(8))
        pack = import_pack(tmp_path / "net.onnx", home, Wish(ARCFACE, detector=lender.path)).pack
        assert pack.manifest.detector == lender.manifest.detector
        nothing = simulated_pack(tmp_path / "plain").path
        with pytest.raises(InvalidPack, match="has no detector to lend"):
            import_pack(tmp_path / "net.onnx", home, Wish(ARCFACE, name="other", detector=nothing))

    def test_what_is_no_detector_is_refused_with_both_reasons(self, tmp_path: Path, home: Path) -> None:
        (tmp_path / "net.onnx").write_bytes(embedder(8))
        with pytest.raises(InvalidPack, match=r"is not a YuNet.*not single images of free sides"):
            import_pack(tmp_path / "net.onnx", home, Wish(ARCFACE, detector=tmp_path / "net.onnx"))


class TestPlace:
    def test_a_name_that_is_taken_is_kept_unless_it_is_to_be_replaced(self, tmp_path: Path, home: Path) -> None:
        first, second = tmp_path / "first.onnx", tmp_path / "second.onnx"
        first.write_bytes(embedder(8))
        second.write_bytes(embedder(8, seed=1))
        before = import_pack(first, home, Wish(ARCFACE, name="mine")).pack
        with pytest.raises(NameTaken, match="--name, or add --replace"):
            import_pack(second, home, Wish(ARCFACE, name="mine"))
        assert load_pack(before.path).model_id == before.model_id
        after = import_pack(second, home, Wish(ARCFACE, name="mine", replace=True)).pack
        assert after.path == before.path
        assert load_pack(after.path).model_id == after.model_id != before.model_id
        assert [each.name for each in (home / "packs").iterdir()] == ["mine"], "nothing is left of the making"

    def test_a_replacement_that_fails_leaves_the_old_one(self, tmp_path: Path, home: Path) -> None:
        (tmp_path / "net.onnx").write_bytes(embedder(8))
        before = import_pack(tmp_path / "net.onnx", home, Wish(ARCFACE, name="mine")).pack
        with pytest.raises(InvalidPack):
            import_pack(tmp_path / "net.onnx", home, Wish(replace(ARCFACE, scale=1e-9), name="mine", replace=True))
        assert load_pack(before.path).model_id == before.model_id

    def test_a_name_no_folder_may_have_is_refused_first(self, tmp_path: Path, home: Path) -> None:
        with pytest.raises(InvalidName, match="--name"):
            import_pack(buffalo(tmp_path / "b"), home, Wish(name="../b"))
        assert not (home.parent / "b" / "manifest.json").exists()

    def test_what_is_no_source_says_what_one_is(self, tmp_path: Path, home: Path) -> None:
        with pytest.raises(Rejected, match="does not exist"):
            import_pack(tmp_path / "nothing.onnx", home, Wish())
        (tmp_path / "empty").mkdir()
        with pytest.raises(Rejected, match="holds no weights"):
            import_pack(tmp_path / "empty", home, Wish())
        for name in ("a.onnx", "b.onnx"):
            (tmp_path / "empty" / name).write_bytes(embedder(8))
        with pytest.raises(Rejected, match=r"several files of weights.*name the embedding network itself"):
            import_pack(tmp_path / "empty", home, Wish(ARCFACE))

    def test_a_pack_whose_hash_does_not_match_is_refused(self, tmp_path: Path, home: Path) -> None:
        pack = import_pack(buffalo(tmp_path / "buffalo_l"), home, Wish()).pack
        (pack.path / "w600k_r50.onnx").write_bytes(embedder(16, seed=1))
        with pytest.raises(InvalidPack, match=r"w600k_r50\.onnx has SHA-256"):
            import_pack(pack.path, home, Wish(name="copy"))


class TestNetworksThatDoNotServe:
    @pytest.mark.parametrize(
        ("model", "message"),
        [
            (b"rubbish", "not an ONNX model"),
            (scrfd(sides=(64, 64)), "aligned crops, channels first"),
            (scrfd(), "not one vector for each"),
        ],
        ids=["rubbish", "other sides", "no vectors"],
    )
    def test_they_are_refused_with_what_they_take_or_return(
        self, tmp_path: Path, home: Path, model: bytes, message: str
    ) -> None:
        (tmp_path / "net.onnx").write_bytes(model)
        with pytest.raises(InvalidPack, match=message):
            import_pack(tmp_path / "net.onnx", home, Wish(ARCFACE))


class TestArchives:
    @pytest.mark.parametrize(
        "name", ["../out.onnx", "/etc/out.onnx", "a/../../out.onnx", "a\\..\\out.onnx", "C:out.onnx"]
    )
    def test_a_member_that_leads_outside_refuses_the_whole(self, tmp_path: Path, home: Path, name: str) -> None:
        archive = zipped(tmp_path / "a.zip", {"w600k_r50.onnx": embedder(8), name: b"overwritten"})
        with pytest.raises(InvalidPack, match="leads out of the folder; nothing was unpacked"):
            import_pack(archive, home, Wish())
        assert list(tmp_path.rglob("out.onnx")) == []

    def test_a_link_is_refused(self, tmp_path: Path, home: Path) -> None:
        link = zipfile.ZipInfo("w600k_r50.onnx")
        link.external_attr = 0o120777 << 16
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as opened:
            opened.writestr(link, "/etc/passwd")
        with pytest.raises(InvalidPack, match="is a link"):
            import_pack(tmp_path / "a.zip", home, Wish())

    def test_a_bomb_is_refused_before_it_is_unpacked(
        self, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(archives, "MAX_MEMBER", 1_000_000)
        archive = zipped(tmp_path / "a.zip", {"w600k_r50.onnx": bytes(2_000_000)})
        assert archive.stat().st_size < 10_000
        with pytest.raises(InvalidPack, match="unpacks to 2,000,000 bytes"):
            import_pack(archive, home, Wish())
        monkeypatch.setattr(archives, "MAX_MEMBERS", 1)
        with pytest.raises(InvalidPack, match="the limit is 1"):
            import_pack(zipped(tmp_path / "b.zip", {"a.onnx": b"", "b.onnx": b""}), home, Wish())

    def test_a_name_that_is_there_twice_is_refused(self, tmp_path: Path, home: Path) -> None:
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as opened:
            opened.writestr("w600k_r50.onnx", embedder(8))
            with pytest.warns(UserWarning, match="Duplicate name"):
                opened.writestr("w600k_r50.onnx", b"another")
        with pytest.raises(InvalidPack, match="is there twice"):
            import_pack(tmp_path / "a.zip", home, Wish())

    def test_what_is_no_zip_or_holds_no_model_says_so(self, tmp_path: Path, home: Path) -> None:
        (tmp_path / "a.zip").write_bytes(b"PK rubbish")
        with pytest.raises(InvalidPack, match="cannot be unpacked"):
            import_pack(tmp_path / "a.zip", home, Wish())
        with pytest.raises(InvalidPack, match="holds neither a manifest"):
            import_pack(zipped(tmp_path / "b.zip", {"readme.txt": b"", "genderage.onnx": b""}), home, Wish())

    def test_a_damaged_member_is_noticed(self, tmp_path: Path, home: Path) -> None:
        archive = tmp_path / "a.zip"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as opened:
            opened.writestr("w600k_r50.onnx", embedder(8))
        data = bytearray(archive.read_bytes())
        data[200] ^= 1
        archive.write_bytes(data)
        with pytest.raises(InvalidPack, match="cannot be unpacked"):
            import_pack(archive, home, Wish())

    def test_a_pack_in_a_zip_keeps_its_folders(self, tmp_path: Path, home: Path) -> None:
        pack = import_pack(buffalo(tmp_path / "buffalo_l"), home, Wish()).pack
        manifest = replace(pack.manifest, embedder=replace(pack.manifest.embedder, file="parts/net.onnx"))
        files = {"parts/net.onnx": pack.path / "w600k_r50.onnx", "det_10g.onnx": pack.path / "det_10g.onnx"}
        made = write_pack(tmp_path / "made", manifest, files)
        inside = {f"made/{file.relative_to(made.path)}": file.read_bytes() for file in made.path.rglob("*.*")}
        found = import_pack(zipped(tmp_path / "made.zip", inside), home, Wish(name="made")).pack
        assert (found.path / "parts" / "net.onnx").is_file()
        assert found.model_id == pack.model_id


class TestFlags:
    def test_numbers_are_one_for_all_channels_or_three(self) -> None:
        assert three("127.5", "--mean") == (127.5, 127.5, 127.5)
        assert three("0.485, 0.456,0.406", "--mean") == (0.485, 0.456, 0.406)
        for wrong in ("", "1,2", "a", "1,2,3,4"):
            with pytest.raises(Rejected, match="--std"):
                three(wrong, "--std")

    def test_a_template_is_a_name_or_five_points(self) -> None:
        assert template("arcface") == TEMPLATE
        points = [[38.29, 51.7], [73.53, 51.5], [56.03, 71.74], [41.55, 92.37], [70.73, 92.2]]
        assert template(str(points)) == TEMPLATE
        for wrong in ("other", "[[1, 2]]", "[1, 2, 3, 4, 5]", "{"):
            with pytest.raises(Rejected, match="--template"):
                template(wrong)

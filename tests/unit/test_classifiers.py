"""Classifiers by name and by file: what is loaded, and what is refused before it can do harm."""

import io
import json
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from kith.errors import InvalidPack, Rejected
from kith.networks import build
from kith.networks.classifiers import Classified, class_names, load_classifier
from kith.networks.weights import read_state, save_state

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")


@pytest.fixture(autouse=True)
def beside_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "somebodys_net.py").write_text(
        "from torch import nn\n"
        "def make():\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.Flatten(), nn.Linear(784, 6), nn.Linear(6, 3))\n"
        "def broken():\n"
        "    raise KeyError('no such thing')\n"
        "nothing = dict\n"
    )


def somebodys() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.Flatten(), nn.Linear(784, 6), nn.Linear(6, 3)).eval()


def test_an_import_path_is_called_and_its_weights_are_loaded(tmp_path: Path) -> None:
    network = somebodys()
    torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in network.state_dict().items()}}, "w.pth")
    (tmp_path / "w.safetensors").write_bytes(save_state(network))
    pixels = torch.randn(1, 3, 112, 112)
    for weights in ("w.pth", "w.safetensors"):
        loaded = load_classifier("somebodys_net:make", Path(weights))
        assert isinstance(loaded.classifier, nn.Module)
        assert torch.equal(loaded.classifier(pixels), network(pixels))
        assert not loaded.classifier.training
        assert (loaded.cut().layer, loaded.cut().dimension, loaded.cut().classes) == ("3", 6, 3)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("somebodys_net:broken", "cannot be used: KeyError: 'no such thing'"),
        ("somebodys_net:missing", "cannot be used: AttributeError"),
        ("no_such_module:make", "cannot be used: ModuleNotFoundError"),
        ("somebodys_net:nothing", "gives a dict, a torch.nn.Module is needed"),
        ("elsewhere.pt", "neither a file nor package.module:callable nor kith:NAME"),
        ("kith:resnet18", "needs weights: name them with --weights"),
    ],
)
def test_what_cannot_be_used_says_why(source: str, message: str) -> None:
    with pytest.raises(Rejected, match=message):
        load_classifier(source)


@pytest.mark.parametrize("kind", ["scripted", "traced", "exported"])
def test_a_file_that_is_a_whole_network_is_told_by_its_content(kind: str, tmp_path: Path) -> None:
    network, pixels = somebodys(), torch.randn(2, 3, 112, 112)
    if kind == "exported":
        torch.export.save(torch.export.export(network, (pixels,)), "net.pt2")
    else:
        torch.jit.save(torch.jit.script(network) if kind == "scripted" else torch.jit.trace(network, pixels), "net.pt2")
    Path("net.pt2").rename("net.bin")
    loaded = load_classifier("net.bin")
    with torch.no_grad():
        assert torch.allclose(loaded.cut().network(pixels), network[:3](pixels), atol=1e-6)
    with pytest.raises(Rejected, match="holds its weights itself"):
        load_classifier("net.bin", Path("w.pth"))


def test_the_size_an_exported_program_was_recorded_for_is_taken_from_it() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 24 * 24, 6), nn.Linear(6, 2)).eval()
    torch.export.save(torch.export.export(network, (torch.zeros(1, 3, 24, 24),)), "net.pt2")
    loaded = load_classifier("net.pt2")
    assert (loaded.batch, loaded.input_size, loaded.cut().dimension) == (1, 24, 6)


def test_a_pickled_network_and_a_bare_state_dict_are_no_classifiers() -> None:
    torch.save(somebodys(), "whole.pt")
    torch.save(somebodys().state_dict(), "weights.pt")
    for name in ("whole.pt", "weights.pt"):
        with pytest.raises(Rejected, match=f"{name} holds no network that can be loaded without running code"):
            load_classifier(name)


class Touches:
    """Unpickled, it leaves a trace."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("ran"),)  # type: ignore[return-value]


def test_weights_that_hold_code_are_refused_and_the_code_does_not_run() -> None:
    torch.save({"0.weight": Touches()}, "w.pth")
    with pytest.raises(InvalidPack, match=r"w\.pth is not a plain state dict.*files that hold code are refused"):
        load_classifier("somebodys_net:make", Path("w.pth"))
    torch.save(somebodys(), "whole.pth")
    with pytest.raises(InvalidPack, match="files that hold code are refused"):
        load_classifier("somebodys_net:make", Path("whole.pth"))
    assert not Path("ran").exists()


@pytest.mark.parametrize("part", ["sample_inputs", "weights"])
def test_an_exported_program_that_holds_a_pickle_is_refused_and_it_does_not_run(part: str) -> None:
    torch.export.save(torch.export.export(somebodys(), (torch.zeros(2, 3, 112, 112),)), "net.pt2")
    bomb = io.BytesIO()
    torch.save((Touches(),), bomb)
    with zipfile.ZipFile("net.pt2") as old, zipfile.ZipFile("bad.pt2", "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if part == "sample_inputs" and "/sample_inputs/" in name:
                data = bomb.getvalue()
            if part == "weights" and name.endswith("weights_config.json"):
                config = json.loads(data)
                next(iter(config["config"].values()))["use_pickle"] = True
                data = json.dumps(config).encode()
            if part == "weights" and name.endswith("/weight_0"):
                data = bomb.getvalue()
            new.writestr(name, data)
    with pytest.raises(InvalidPack, match=r"bad\.pt2: data/.* holds pickled objects"):
        load_classifier("bad.pt2")
    assert not Path("ran").exists()


def test_weights_that_do_not_fit_or_are_not_finite_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other.safetensors").write_bytes(safetensors.torch.save({"0.weight": torch.zeros(2)}))
    with pytest.raises(InvalidPack, match="does not fit the network somebodys_net:make"):
        load_classifier("somebodys_net:make", Path("other.safetensors"))
    (tmp_path / "nan.safetensors").write_bytes(safetensors.torch.save({"0.weight": torch.full((2,), torch.nan)}))
    with pytest.raises(InvalidPack, match=r"0\.weight holds values that are not finite"):
        load_classifier("somebodys_net:make", Path("nan.safetensors"))
    with pytest.raises(Rejected, match="cannot be read"):
        load_classifier("somebodys_net:make", Path("nowhere.safetensors"))


def test_our_own_networks_tell_classes_and_dimension_from_their_weights(tmp_path: Path) -> None:
    network = build("mobilefacenet", 24)
    classified = Classified(network, nn.Linear(24, 7))
    (tmp_path / "c.safetensors").write_bytes(save_state(classified))
    (tmp_path / "e.safetensors").write_bytes(save_state(network))
    loaded = load_classifier("kith:mobilefacenet:7", Path("c.safetensors"))
    cut = loaded.cut()
    assert (loaded.builder, loaded.embeds, cut.layer, cut.dimension, cut.classes) == (
        "mobilefacenet",
        False,
        "head",
        24,
        7,
    )
    left, expected = cut.network.state_dict(), network.state_dict()
    assert list(left) == list(expected)
    assert all(torch.equal(value, expected[name]) for name, value in left.items())
    bare = load_classifier("kith:mobilefacenet", Path("e.safetensors"))
    assert (bare.embeds, bare.cut().layer, bare.cut().dimension, bare.cut().classes) == (True, "", 24, None)
    with pytest.raises(InvalidPack, match="knows 7 classes, kith:mobilefacenet:8 says 8"):
        load_classifier("kith:mobilefacenet:8", Path("c.safetensors"))
    with pytest.raises(InvalidPack, match="has no classification layer"):
        load_classifier("kith:mobilefacenet:7", Path("e.safetensors"))
    with pytest.raises(InvalidPack, match="does not fit"):
        load_classifier("kith:resnet18", Path("e.safetensors"))
    with pytest.raises(Rejected, match="'many' is no number of classes"):
        load_classifier("kith:mobilefacenet:many", Path("e.safetensors"))


def test_tensors_that_share_memory_are_saved_and_read_back() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(3, 3), nn.Linear(3, 3)
            self.two.weight = self.one.weight

        def forward(self, pixels: Tensor) -> Tensor:
            return self.two(self.one(pixels))

    tied = Tied()
    state = read_state(save_state(tied), "here")
    assert set(state) == set(tied.state_dict())
    assert torch.equal(state["two.weight"], tied.one.weight)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "not a list of class names"),
        ("[", "cannot be read as JSON"),
        ('["a", "b", "a"]', "names a class twice: a"),
    ],
)
def test_a_list_of_class_names_is_checked(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "classes.json").write_text(text)
    with pytest.raises(Rejected, match=message):
        class_names(tmp_path / "classes.json")

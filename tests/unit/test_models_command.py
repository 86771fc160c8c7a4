"""`kith models` as a script and a person meet it, as far as that needs no server."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from kith import cli
from kith.checkpoints import load_pack, simulated_pack
from kith.errors import InvalidPack, Misconfigured, Rejected
from kith.packs import shipped
from tests.onnx_models import embedder, scrfd


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("KITH_REDIS__URL", "KITH_CONFIG", "KITH_MODEL__PACK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KITH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(shipped, "_HERE", tmp_path / "package")
    return tmp_path / "home"


def kith(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, ["models", *(str(each) for each in arguments)])


def test_the_list_says_when_nothing_shipped_and_what_restricts_the_use(home: Path) -> None:
    shown = kith("list").output
    assert "No pack shipped with this installation." in shown
    [line] = [line for line in shown.splitlines() if line.startswith("buffalo_sc")]
    assert "RESEARCH ONLY" in line
    plain = [json.loads(line) for line in kith("list", "--json").output.splitlines()]
    assert {each["where"] for each in plain} == {"catalogue"}
    assert {each["path"] for each in plain} == {None}


def test_a_shipped_pack_is_shown_with_its_card_and_figures(tmp_path: Path) -> None:
    pack = simulated_pack(tmp_path / "package" / "kith-small")
    (pack.path / "MODEL_CARD.md").write_text("# Small\nResearch and evaluation.\n")
    figures = {"identification": {"tpir": {"value": 0.9315, "low": 0.9, "high": 0.95}}, "confusions": [1] * 99}
    (pack.path / "evaluation.json").write_text(json.dumps(figures))
    shown = kith("show", "kith-small").output
    assert shown.startswith("# Small\n")
    assert "embedder.format = simulated" in shown
    assert "identification.tpir = 0.9315 (0.9000 to 0.9500)" in shown
    assert "confusions" not in shown
    plain = json.loads(kith("show", "kith-small", "--json").output)
    assert plain["evaluation"] == figures
    assert plain["card"].startswith("# Small")
    assert kith("list").output.count("kith-small") == 1


def test_a_pack_of_the_catalogue_is_shown_with_address_hash_and_evidence() -> None:
    shown = kith("show", "opencv-sface").output
    assert "Apache-2.0 (SFace) and MIT (YuNet)" in shown
    assert "SHA-256 0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79" in shown
    assert "stated by: " in shown
    assert json.loads(kith("show", "opencv-sface", "--json").output)["name"] == "opencv-sface"
    assert isinstance(kith("show", "nobody").exception, Misconfigured)


def test_an_import_says_its_conventions_and_verifies_by_its_name(home: Path, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(embedder(8))
    (tmp_path / "faces.onnx").write_bytes(scrfd())
    flags = ["--channels", "BGR", "--scale", "1", "--mean", "127.5", "--std", "128,128,127", "--licence", "MIT"]
    refused = kith("import", tmp_path / "net.onnx")
    assert isinstance(refused.exception, Rejected)
    assert "--channels" in str(refused.exception)
    made = kith("import", tmp_path / "net.onnx", *flags, "--name", "mine", "--detector", tmp_path / "faces.onnx")
    assert made.exit_code == 0, made.output
    pack = load_pack(home / "packs" / "mine")
    spec = pack.manifest.embedder
    assert (spec.channels, spec.scale, spec.mean, spec.std) == ("BGR", 1.0, (127.5,) * 3, (128.0, 128.0, 127.0))
    assert kith("verify", "mine").output.splitlines()[-1] == f"{pack.model_id} OK"
    plain = json.loads(kith("verify", pack.path, "--json").output)
    assert (plain["model_id"], plain["name"]) == (pack.model_id, "mine")
    lent = kith("import", tmp_path / "net.onnx", *flags, "--name", "other", "--detector", "mine", "--json")
    assert json.loads(lent.output)["files"].keys() == {"embedder.onnx", "detector.onnx"}


def test_a_wrong_hash_is_a_clear_error(home: Path) -> None:
    (home / "packs" / "mine").mkdir(parents=True)
    (home / "packs" / "mine" / "manifest.json").write_text("{}")
    assert isinstance(kith("verify", "mine").exception, InvalidPack)
    [mine] = [each for each in map(json.loads, kith("list", "--json").output.splitlines()) if each["name"] == "mine"]
    assert "not a valid manifest" in mine["fault"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["pull", "nobody"],
        ["pull", "https://example.org/a.onnx", "--yes"],
        ["pull", "https://example.org/a.onnx", "--sha256", "abc", "--yes"],
        ["pull", "buffalo_sc"],
        ["import"],
        ["import", "x", "--channels", "GBR"],
    ],
)
def test_a_wrong_command_line_ends_with_status_2(arguments: list[str]) -> None:
    assert kith(*arguments).exit_code == 2

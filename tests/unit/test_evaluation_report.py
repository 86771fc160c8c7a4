"""The page, the plots and the data an evaluation leaves, and the command that asks for them."""

import base64
import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from kith import cli
from kith.checkpoints import simulated_pack
from kith.crops import CropReader
from kith.errors import Misconfigured
from kith.evaluation.record import plain
from kith.evaluation.report import write_report
from kith.evaluation.run import Evaluation
from tests.drawn_people import NASTY, draw_people


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def out(found: Evaluation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "made"
    write_report(found, CropReader(None), out)
    return out


@pytest.fixture(scope="module")
def page(out: Path) -> _Page:
    page = _Page()
    page.feed((out / "report.html").read_text(encoding="utf-8"))
    return page


class TestReport:
    def test_the_page_needs_nothing_but_itself(self, page: _Page) -> None:
        assert not {"script", "link", "iframe", "object"} & set(page.tags)
        sources = [value for name, value in page.attributes if name in ("src", "srcset", "href")]
        assert len(sources) >= 10
        for source in sources:
            kind, _, data = source.partition(";base64,")
            assert kind in ("data:image/png", "data:image/jpeg")
            assert base64.b64decode(data, validate=True)[:4] in (b"\x89PNG", b"\xff\xd8\xff\xe0")

    def test_a_name_in_the_data_stays_text(self, page: _Page, found: Evaluation) -> None:
        assert NASTY in page.text
        assert not [name for name, _ in page.attributes if name.startswith("on")]

    def test_light_and_dark_and_small_screens_are_thought_of(self, out: Path) -> None:
        text = (out / "report.html").read_text(encoding="utf-8")
        assert 'name="viewport"' in text
        assert "prefers-color-scheme: dark" in text
        assert text.count("<source media") == text.count("<picture>") >= 4

    def test_the_plots_are_there_as_files(self, out: Path) -> None:
        names = {"scores", "gallery_size", "det", "roc", "pairs", "wrong_names", "misses"}
        assert {file.stem for file in out.glob("*.png")} == names
        for file in out.glob("*.png"):
            with Image.open(file) as opened:
                assert min(opened.size) >= 200

    def test_the_data_says_what_was_measured_with_what(self, out: Path, found: Evaluation) -> None:
        data = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
        assert data == plain(found)
        assert (data["runtime"], data["model"]["model_id"]) == ("numpy", found.pack.model_id)
        assert (data["data"]["pictures"], data["data"]["identities"]) == (641, 40)
        whole = data["identification"]["sizes"][-1]
        assert set(whole["tpir"][0]["tpir"]) == {"value", "low", "high"}
        assert set(whole["tpir"][1]["tpir"]) == {"refused"}


class TestCommand:
    def test_figures_refusals_and_files_are_told(self, tmp_path: Path) -> None:
        pack = simulated_pack(tmp_path / "pack")
        draw_people(tmp_path / "faces", 12, 3)
        (tmp_path / "faces" / "person001" / "broken.jpg").write_bytes(b"no more")
        arguments = [
            "evaluate",
            str(pack.path),
            "--data",
            str(tmp_path / "faces"),
            "--aligned",
            "--out",
            str(tmp_path / "o"),
        ]
        done = CliRunner().invoke(cli.app, arguments)
        assert done.exit_code == 0, (done.output, done.exception)
        for words in ("simulated", "TAR at FAR 1 %", "rank-1", "refused: ", "1 pictures skipped", "wrote "):
            assert words in done.output, words

    def test_json_is_one_line_and_nothing_else(self, tmp_path: Path) -> None:
        pack = simulated_pack(tmp_path / "pack")
        draw_people(tmp_path / "faces", 12, 3)
        (tmp_path / "faces" / "person001" / "broken.jpg").write_bytes(b"no more")
        arguments = ["evaluate", str(pack.path), "--data", str(tmp_path / "faces"), "--aligned", "--json"]
        done = CliRunner().invoke(cli.app, arguments)
        assert done.exit_code == 0, (done.output, done.exception)
        assert json.loads(done.stdout)["format"] == 1

    def test_a_folder_that_is_not_there_is_a_wrong_command_line(self, tmp_path: Path) -> None:
        pack = simulated_pack(tmp_path / "pack")
        assert CliRunner().invoke(cli.app, ["evaluate", str(pack.path), "--data", "/absent"]).exit_code == 2

    def test_a_pack_that_is_not_there_is_told_before_anything_is_read(self, tmp_path: Path) -> None:
        draw_people(tmp_path / "faces", 2, 2)
        done = CliRunner().invoke(cli.app, ["evaluate", "no-such-pack", "--data", str(tmp_path / "faces")])
        assert isinstance(done.exception, Misconfigured)
        assert "no model pack is called no-such-pack" in str(done.exception)

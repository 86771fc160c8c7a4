"""What the README and the docs tell people to type works as it stands there."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from kith.settings import load
from kith.stack import Stack, local_settings
from tests.shared_data import shared_data


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def ran(program: str, folder: Path) -> str:
    """What a program prints that runs in `folder`."""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_readme_program_recognises_a_face(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faces = shared_data() / "camera/real/enrol/obama"
    for name, source in (("ada1.jpg", "obama.jpg"), ("ada2.jpg", "obama2.jpg"), ("somebody.jpg", "obama2.jpg")):
        shutil.copy(faces / source, tmp_path / name)
    monkeypatch.setenv("KITH_HOME", str(tmp_path / "home"))
    [program] = python_blocks(repository / "README.md")
    with Stack(local_settings(load(model={"pack": shared_data() / "weights"}))):
        recognised = ran(program, tmp_path)
        Image.linear_gradient("L").convert("RGB").save(tmp_path / "somebody.jpg")
        nobody = ran(program, tmp_path)
    assert recognised.startswith("match Ada Lovelace")
    assert nobody.startswith("no_face no_face: ")


def test_the_pack_of_the_models_page_is_made_and_loads(repository: Path, tmp_path: Path) -> None:
    weights = shared_data() / "weights"
    shutil.copy(weights / "mobilefacenet_foamliu_b1.onnx", tmp_path / "w600k.onnx")
    shutil.copy(weights / "yunet_n_dynamic.onnx", tmp_path / "yunet_dynamic.onnx")
    [program] = python_blocks(repository / "docs/models.md")
    ran(program, tmp_path)
    assert (tmp_path / "packs/mine/manifest.json").is_file()


def test_every_file_and_folder_the_pages_name_exists(repository: Path) -> None:
    missing = []
    for page in (repository / "README.md", *sorted((repository / "docs").glob("*.md"))):
        text = page.read_text()
        links = re.findall(r"\]\(([^)#:]+)\)", text)
        named = re.findall(r"`((?:kith|workers|producers|tests|config|benchmarks|docs)/[\w./-]+)`", text)
        missing += [f"{page.name}: {link}" for link in links if not (page.parent / link).exists()]
        # What a benchmark writes is there only after it has run.
        named = [name for name in named if not name.startswith("benchmarks/out/")]
        if page.name == "outward.md":
            # Topics of MQTT begin like our paths.
            named = [name for name in named if not name.startswith("kith/") or name.endswith(".py")]
        missing += [f"{page.name}: {name}" for name in named if not (repository / name).exists()]
    assert missing == []

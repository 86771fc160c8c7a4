"""What `pip install kith` gives: the core, the client and the command line, and nothing of the application."""

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy: a build leaves its own files beside the source."""
    checkout = Path(__file__).resolve().parents[2]
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for folder in ("kith", "workers", "producers", "tests", "config"):
        shutil.copytree(checkout / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(checkout / file, source / file)
    # Without isolation: the build's own requirements are among the development ones, and no test should need a network.
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    [built] = out.iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the installed wheel and nothing else."""
    target = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check"]
    subprocess.run([*pip, "--target", str(target), str(wheel)], check=True)
    return target


def _python(installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python that sees the installed wheel and third parties. -S: without it, the checkout's editable installation
    would stand in for whatever the wheel lacks."""
    path = f"{installed}:{sysconfig.get_path('purelib')}:{sysconfig.get_path('platlib')}"
    return subprocess.run(
        [sys.executable, "-S", *arguments],
        cwd=installed,
        env={"PYTHONPATH": path, "PATH": "/usr/bin:/bin", "HOME": str(installed), "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=False,
    )


class TestContents:
    def test_it_holds_every_file_of_the_core_and_no_other(self, wheel: Path, repository: Path) -> None:
        with zipfile.ZipFile(wheel) as archive:
            names = {name for name in archive.namelist() if ".dist-info/" not in name}
        core = {
            str(file.relative_to(repository))
            for file in (repository / "kith").rglob("*")
            if file.is_file() and "__pycache__" not in file.parts
        }

        assert names == core
        assert {"kith/backends/gallery.lua", "kith/backends/ledger.lua", "kith/py.typed"} <= names

    def test_its_metadata_names_licence_and_extras(self, wheel: Path) -> None:
        with zipfile.ZipFile(wheel) as archive:
            [name] = [name for name in archive.namelist() if name.endswith("/METADATA")]
            metadata = archive.read(name).decode()
            licences = [name for name in archive.namelist() if name.endswith("/licenses/LICENSE")]

        assert "License-Expression: Apache-2.0" in metadata
        assert licences
        for extra in ("worker", "local"):
            assert f"Provides-Extra: {extra}" in metadata
        unconditional = [line for line in metadata.splitlines() if line.startswith("Requires-Dist") and ";" not in line]
        assert not [line for line in unconditional if "torch" in line or "opencv" in line]


class TestInstalled:
    def test_the_command_line_explains_itself(self, installed: Path) -> None:
        assert (installed / "bin" / "kith").is_file()

        done = _python(installed, str(installed / "bin" / "kith"), "--help")

        assert done.returncode == 0, done.stderr
        for verb in ("enrol", "identify", "submit", "up"):
            assert verb in done.stdout

    def test_the_client_comes_from_the_wheel_and_brings_its_scripts(self, installed: Path) -> None:
        script = (
            "import kith.client, kith.backends.ledger_redis as ledger, importlib.util as find\n"
            "print(kith.client.__file__); print(len(ledger._source()) > 1000)\n"
            "print([name for name in ('workers', 'producers', 'tests') if find.find_spec(name)])"
        )
        done = _python(installed, "-c", script)

        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == [str(installed / "kith" / "client.py"), "True", "[]"]

    def test_starting_workers_that_are_not_there_says_where_they_are(self, installed: Path, tmp_path: Path) -> None:
        script = (
            "from pathlib import Path\n"
            "from kith.settings import Settings\n"
            "from kith.stack import Stack, local_settings\n"
            f"Stack(local_settings(Settings(), Path({str(tmp_path / 'home')!r})), valkey=False).start()"
        )
        done = _python(installed, "-c", script)

        assert done.returncode != 0
        assert "Misconfigured: the worker processes are not here" in done.stderr

"""The house keeps its order: who imports whom, what is never done. What an import does is in
tests/integration/test_imports.py."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("kith", "workers", "producers")

#: The aim is 250; past this a file certainly holds more than one concept.
LONGEST = 300

JUNK_ROOMS = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "managers", "base", "core", "shared"}


def _files(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


@cache
def _tree(text: str) -> ast.Module:
    return ast.parse(text)


class TestImports:
    def test_the_contracts_of_pyproject_are_kept(self) -> None:
        lint = Path(sys.executable).parent / "lint-imports"
        done = subprocess.run([lint, "--no-cache", "--no-logo"], cwd=ROOT, capture_output=True, text=True, check=False)

        assert done.returncode == 0, done.stdout + done.stderr


class TestFiles:
    def test_none_is_longer_than_one_concept_needs(self) -> None:
        lengths = {str(file.relative_to(ROOT)): len(file.read_text().splitlines()) for file in _files(*PRODUCT)}

        assert {name: lines for name, lines in lengths.items() if lines > LONGEST} == {}

    def test_none_is_a_junk_room(self) -> None:
        named = {
            part for file in _files(*PRODUCT, "benchmarks") for part in file.relative_to(ROOT).with_suffix("").parts
        }

        assert not named & JUNK_ROOMS
        assert not [name for name in named if name.endswith(("_utils", "_helpers", "_common", "_manager", "_misc"))]

    def test_each_module_says_what_it_is(self) -> None:
        silent = [
            str(file.relative_to(ROOT))
            for file in _files(*PRODUCT)
            if (text := file.read_text()).strip() and not ast.get_docstring(_tree(text))
        ]

        assert silent == []

    def test_the_top_package_stays_empty(self) -> None:
        """`import kith.jobs` runs it first: whatever stood in it would be loaded by everybody."""
        assert (ROOT / "kith" / "__init__.py").read_text() == ""

    def test_config_holds_data_only(self) -> None:
        assert [file.name for file in _files("config")] == []


class TestNeverDone:
    def test_nothing_is_ever_unpickled_or_evaluated(self) -> None:
        """Weights, messages and caches come from elsewhere: none of them may carry code."""
        found = [fault for file in _files(*PRODUCT, "benchmarks") for fault in _faults(file.read_text(), file)]

        assert found == []

    @pytest.mark.parametrize(
        "text",
        [
            "import pickle",
            "from marshal import loads",
            "import joblib as j",
            "import torch\ntorch.load('x')",
            "import torch\ntorch.load('x', weights_only=False)",
            "import numpy as np\nnp.load('x', allow_pickle=True)",
            "eval('1')",
            "exec('1')",
        ],
    )
    def test_the_search_for_it_would_find(self, text: str) -> None:
        assert _faults(text, ROOT / "x.py")

    @pytest.mark.parametrize("text", ["torch.load('x', weights_only=True)", "model.eval()", "np.load('x')"])
    def test_and_leaves_alone(self, text: str) -> None:
        assert not _faults(text, ROOT / "x.py")


def _faults(text: str, file: Path) -> list[str]:
    found = []
    for node in ast.walk(_tree(text)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            names = []
        bad = {name.partition(".")[0] for name in names} & {
            *("pickle", "cPickle", "marshal", "shelve", "dill", "joblib", "cloudpickle")
        }
        if bad:
            found.append(f"{file}:{getattr(node, 'lineno', 0)} imports {', '.join(bad)}")
        if isinstance(node, ast.Call) and (fault := _fault_of_call(node)):
            found.append(f"{file}:{node.lineno} {fault}")
    return found


def _fault_of_call(call: ast.Call) -> str | None:
    given = {
        keyword.arg: ast.unparse(keyword.value)
        for keyword in call.keywords
        if keyword.arg in ("weights_only", "allow_pickle")
    }
    called = ast.unparse(call.func) if isinstance(call.func, ast.Attribute | ast.Name) else ""
    if called == "torch.load" and given.get("weights_only") != "True":
        return "torch.load without weights_only=True"
    if given.get("allow_pickle") == "True":
        return f"{called} with allow_pickle"
    return f"{called}()" if called in ("eval", "exec") else None

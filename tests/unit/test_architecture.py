"""The house keeps its order: who imports whom, what an import does, what is never done."""

import ast
import subprocess
import sys
from collections.abc import Iterator
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


def _module(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _run(script: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-B", "-c", script]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


class TestImports:
    def test_the_contracts_of_pyproject_are_kept(self) -> None:
        lint = Path(sys.executable).parent / "lint-imports"
        done = subprocess.run([lint, "--no-cache", "--no-logo"], cwd=ROOT, capture_output=True, text=True, check=False)

        assert done.returncode == 0, done.stdout + done.stderr

    @pytest.mark.parametrize(
        ("modules", "unwanted"),
        [
            ("kith.client, kith.cli, kith.intake, producers.folder", "torch onnxruntime cv2 safetensors"),
            ("kith.jobs, kith.wire", "redis celery kombu minio torch numpy"),
            ("kith.intake, kith.settings", "redis celery kombu minio torch"),
            ("kith.decision, kith.gallery, kith.replica", "redis celery kombu minio torch cv2"),
            ("workers.boot, workers.publish, workers.upkeep, workers.health", "torch onnxruntime cv2"),
        ],
    )
    def test_loading_these_loads_nothing_they_do_not_need(self, modules: str, unwanted: str) -> None:
        """As it happens, not as it is written: import-linter does not see what a third party loads."""
        done = _run(f"import sys, {modules}\nprint(*(set({unwanted.split()}) & set(sys.modules)))")

        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == []

    def test_importing_any_module_does_no_work(self) -> None:
        """No socket, no thread, no process, nothing written, nothing read but code; and no settings looked at."""
        modules = [_module(file) for file in _files(*PRODUCT) if file.name != "__main__.py"]
        done = _run(_WATCHED_IMPORT.format(modules=modules))

        assert len(modules) > 50
        assert done.returncode == 0, done.stderr[-3000:]
        assert done.stdout.splitlines() == []

    def test_the_watch_on_imports_would_notice(self, tmp_path: Path) -> None:
        """The test above can fail: one module that does all that is forbidden is caught at each."""
        (tmp_path / "busy.py").write_text(
            "import socket, subprocess, threading\n"
            "socket.socket().close()\n"
            "threading.Thread(target=int).start()\n"
            "subprocess.run(['true'])\n"
            f"open({str(tmp_path / 'w')!r}, 'w').close()\n"
            "open('/proc/self/status').close()\n"
            "from kith.settings import load; load()\n"
        )
        script = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n" + _WATCHED_IMPORT.format(modules=["busy"])
        caught = {line.split()[1] for line in _run(script).stdout.splitlines()}

        assert {"socket.__new__", "thread", "subprocess.Popen", "writes", "reads", "Misconfigured"} <= caught


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
            if (text := file.read_text()).strip() and not ast.get_docstring(ast.parse(text))
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
    for node in ast.walk(ast.parse(text)):
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
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    called = ast.unparse(call.func)
    if called == "torch.load" and given.get("weights_only") != "True":
        return "torch.load without weights_only=True"
    if given.get("allow_pickle") == "True":
        return f"{called} with allow_pickle"
    return f"{called}()" if called in ("eval", "exec") else None


#: Third parties are loaded before the watch begins: what they do at import is theirs.
_WATCHED_IMPORT = """
import importlib, os, sys, threading
for name in ('amqp celery celery.bin.worker cv2 kombu kombu.transport.redis matplotlib.figure '
             'matplotlib.backends.backend_agg minio numpy onnx onnxruntime psutil '
             'PIL.Image pydantic redis rich.live rich.progress rich.table safetensors.torch torch '
             'torch.fx.passes.shape_prop torch.nn.utils.fusion typer uuid').split():
    try:
        importlib.import_module(name)
    except ImportError:
        pass
# pydantic looks for plugins among all installed distributions when the first model is made.
sys.modules['pydantic'].create_model('First')
os.environ['KITH_CONFIG'] = '/absent/nobody-reads-settings-at-import.toml'
at_work = ''
def watch(event, arguments):
    if not at_work:
        return
    fault = None
    if event in ('socket.__new__', 'socket.connect', 'socket.bind', 'subprocess.Popen', 'os.system', 'os.fork',
                 'os.mkdir', 'os.remove', 'os.rename', 'sqlite3.connect', 'signal.signal'):
        fault = event
    elif event == 'open':
        path, mode, flags = arguments
        if isinstance(path, int):
            return
        path = os.fsdecode(path)
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            fault = f'writes {{path}}'
        elif not path.endswith(('.py', '.pyc', '.so')):
            fault = f'reads {{path}}'
    if fault:
        print(at_work, fault)
sys.addaudithook(watch)
for name in {modules}:
    threads, at_work = threading.active_count(), name
    start, begun = threading.Thread.start, []
    threading.Thread.start = lambda self: (begun.append(self), start(self))[1]
    try:
        importlib.import_module(name)
    except Exception as failure:
        print(name, type(failure).__name__, failure)
    threading.Thread.start = start
    at_work = ''
    if begun:
        print(name, 'thread')
"""

"""What an import does, seen in processes of their own: no work, and nothing loaded that is not needed."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def _module(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _run(script: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-B", "-c", script]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def noticed(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """What each module did that it must not do at import; `busy`, the last of them, does all of that."""
    folder = tmp_path_factory.mktemp("watched")
    (folder / "busy.py").write_text(
        "import socket, subprocess, threading\n"
        "socket.socket().close()\n"
        "threading.Thread(target=int).start()\n"
        "subprocess.run(['true'])\n"
        f"open({str(folder / 'w')!r}, 'w').close()\n"
        "open('/proc/self/status').close()\n"
        "from kith.settings import load; load()\n"
    )
    files = [file for part in ("kith", "workers", "producers") for file in sorted((ROOT / part).rglob("*.py"))]
    # The kernel is loaded where there is a CUDA device, and with it a torch that brings Triton; the other runs in the
    # system's Python, which has GStreamer's bindings.
    elsewhere = ("half_choice.py", "half_kernel.py", "rtsp_media.py")
    modules = [_module(file) for file in files if file.name not in ("__main__.py", *elsewhere)]
    assert len(modules) > 50
    script = f"import sys; sys.path.insert(0, {str(folder)!r})\n"
    done = _run(script + _WATCHED_IMPORT.format(modules=[*modules, "busy"]))
    assert done.returncode == 0, done.stderr[-3000:]
    return [line.split(maxsplit=2) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("modules", "unwanted"),
    [
        ("kith.client, kith.cli, kith.intake, producers.folder", "torch onnxruntime cv2 safetensors"),
        ("producers.camera.run", "torch safetensors PIL.ImageTk matplotlib"),
        ("kith.jobs, kith.wire", "redis celery kombu minio torch numpy"),
        ("kith.intake, kith.settings", "redis celery kombu minio torch"),
        ("kith.decision, kith.gallery, kith.replica", "redis celery kombu minio torch cv2"),
        ("workers.boot, workers.publish, workers.upkeep, workers.health", "torch onnxruntime cv2"),
        ("kith.cli", "torch cv2 onnxruntime PIL minio fastapi uvicorn"),
        ("producers.api.run, producers.api.app", "torch onnxruntime safetensors av"),
    ],
)
def test_loading_these_loads_nothing_they_do_not_need(modules: str, unwanted: str) -> None:
    """As it happens, not as it is written: import-linter does not see what a third party loads."""
    done = _run(f"import sys, {modules}\nprint(*(set({unwanted.split()}) & set(sys.modules)))")

    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_importing_any_module_does_no_work(noticed: list[list[str]]) -> None:
    """No socket, no thread, no process, nothing written, nothing read but code; and no settings looked at."""
    assert [words for words in noticed if words[0] != "busy"] == []


def test_the_watch_on_imports_would_notice(noticed: list[list[str]]) -> None:
    """The test above can fail: one module that does all that is forbidden is caught at each."""
    caught = {words[1] for words in noticed if words[0] == "busy"}
    assert {"socket.__new__", "thread", "subprocess.Popen", "writes", "reads", "Misconfigured"} <= caught


#: Third parties are loaded before the watch begins: what they do at import is theirs.
_WATCHED_IMPORT = """
import importlib, os, sys, threading
for name in ('amqp anyio argon2 celery celery.bin.worker av cv2 fastapi fastapi.openapi.utils '
             'kombu kombu.transport.redis matplotlib.figure matplotlib.backends.backend_agg minio numpy '
             'onnx onnxruntime psutil PIL.Image prometheus_client pydantic redis rich.live rich.progress rich.table '
             'safetensors.torch torch torch.fx.passes.shape_prop '
             'torch.nn.utils.fusion typer uuid uvicorn uvicorn.supervisors').split():
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

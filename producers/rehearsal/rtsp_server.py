"""A real RTSP server: GStreamer's, on loopback, playing the clips of a folder. rtsp_media.py is the process."""

import contextlib
import random
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

from kith.errors import Misconfigured

#: Debian's bindings belong to Debian's Python.
_PYTHON = "/usr/bin/python3"
_NEEDED = "gi.require_version('Gst', '1.0'); gi.require_version('GstRtspServer', '1.0')"
_PACKAGES = "python3-gst-1.0 gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-{base,good,bad}"

_START_S, _STOP_S = 20.0, 5.0


class RtspServer:
    """Starts on `with` or `start`. folder: FOLDER/NAME.mp4 is rtsp://…/NAME, from its beginning for each who asks."""

    def __init__(self, folder: Path, *, user: str = "", password: str = "") -> None:
        self.port = _free_port()
        self._folder, self._user, self._password = folder, user, password
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, name: str) -> str:
        """Address of one clip, with the password where there is one."""
        login = f"{self._user}:{self._password}@" if self._user else ""
        return f"rtsp://{login}127.0.0.1:{self.port}/{name}"

    def start(self) -> Self:
        """Start it, on the same port each time; only from the main thread, see below. Raises Misconfigured where
        GStreamer is missing or the server does not come up, with the end of its log."""
        require_rtsp_server()
        login = [self._user, self._password] if self._user else []
        script, log = Path(__file__).with_name("rtsp_media.py"), self._folder / "rtsp.log"
        with log.open("ab") as output:
            # The kernel ends it with the thread that started it, however that ends; not a preexec_fn, which runs Python
            # between fork and exec and may deadlock once there are threads.
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", _PYTHON, str(script), str(self.port), str(self._folder), *login],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline_s = time.monotonic() + _START_S
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                self.stop(kill=True)
                said = " / ".join(log.read_text(errors="replace").splitlines()[-5:])
                raise Misconfigured(f"the RTSP server does not come up: {said or 'it left no log'}")
            time.sleep(0.05)
        return self

    def freeze(self) -> None:
        """Connections stay open and nothing comes any more, until `thaw`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Goes on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self, *, kill: bool = False) -> None:
        """End it in order, or like a power cut; `start` brings it back on the same port."""
        process, self._process = self._process, None
        if process is None:
            return
        if not kill:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_S)
                return
        process.kill()
        process.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop(kill=True)

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False


def require_rtsp_server() -> None:
    """Raises Misconfigured, saying what to install, where GStreamer's RTSP server is not."""
    missing = [program for program in (_PYTHON, "setpriv") if shutil.which(program) is None]
    if not missing:
        tried = subprocess.run([_PYTHON, "-c", f"import gi; {_NEEDED}"], capture_output=True, check=False)
        missing = ["GStreamer's RTSP server"] if tried.returncode else []
    if missing:
        raise Misconfigured(
            f"{' and '.join(missing)} not found; on Debian or Ubuntu: "
            f"sudo apt-get install --no-install-recommends {_PACKAGES} (or make system)"
        )


def _free_port() -> int:
    """A port of 127.0.0.1 below the range that the kernel takes outgoing connections from: a server that was down for a
    while finds it free, and no client that knocks meanwhile is connected to itself."""
    while True:
        port = random.randint(20_000, 32_000)  # noqa: S311 (spreads, guards nothing)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port

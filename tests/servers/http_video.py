"""Cameras that speak HTTP, on loopback: MJPEG as network cameras send it, files (HLS playlists), and nonsense."""

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

#: What a camera sends: a part after another, None for silence on the open connection.
Parts = Callable[[], Iterator[bytes | None]]


class HttpVideo:
    """GET /mjpeg?… answers with multipart/x-mixed-replace of what `parts()` yields, `fps` a second; other paths are
    files of `folder`. Use as a context manager."""

    def __init__(self, folder: Path, parts: Parts = lambda: iter(()), fps: float = 20.0) -> None:
        handler = partial(_Handler, directory=str(folder))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._server.parts, self._server.every_s = parts, 1 / fps  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def url(self, path: str) -> str:
        """Address of `path`, with a password in front that the server does not ask for."""
        return f"http://user:hunter2@127.0.0.1:{self._server.server_port}/{path}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        if not self.path.startswith("/mjpeg"):
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        try:
            for part in self.server.parts():  # type: ignore[attr-defined]
                if part is None:
                    time.sleep(60)
                    continue
                head = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(part)
                self.wfile.write(head + part + b"\r\n")
                self.wfile.flush()
                time.sleep(self.server.every_s)  # type: ignore[attr-defined]
        except OSError:
            pass  # whoever watched has gone

    def log_message(self, *_: object) -> None:
        """Nothing: tests read what they need."""

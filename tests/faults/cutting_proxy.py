"""Between a client and a server, on Unix sockets: cuts connections when the server has answered, keeping the answer."""

import contextlib
import selectors
import socket
import threading
from pathlib import Path
from typing import Self

_AT_ONCE = 1 << 16


class CuttingProxy:
    """Listens at `path`, forwards to `server`. due: answers to scripts that will be kept from now on, each connection
    cut. cut: how many were. Use as a context manager."""

    def __init__(self, path: Path, server: Path) -> None:
        self.due = self.cut = 0
        self._path, self._server = path, server
        self._listener = socket.socket(socket.AF_UNIX)

    @property
    def url(self) -> str:
        return f"unix://{self._path}?db=0"

    def __enter__(self) -> Self:
        self._listener.bind(str(self._path))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        # Wakes the thread that waits in accept.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._forward, args=(client,), daemon=True).start()

    def _forward(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server, selectors.DefaultSelector() as ready:
            server.connect(str(self._server))
            ready.register(client, selectors.EVENT_READ, server)
            ready.register(server, selectors.EVENT_READ, client)
            asked_a_script = False
            with contextlib.suppress(OSError):
                while True:
                    for key, _ in ready.select():
                        source, other = key.fileobj, key.data
                        assert isinstance(source, socket.socket)
                        data = source.recv(_AT_ONCE)
                        if not data:
                            return
                        if source is client:
                            asked_a_script = asked_a_script or b"EVALSHA" in data
                        elif asked_a_script:
                            asked_a_script = False
                            if self.due:
                                self.due -= 1
                                self.cut += 1
                                return
                        other.sendall(data)

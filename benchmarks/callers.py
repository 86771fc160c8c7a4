"""Callers of an HTTP door that cost little themselves: plain sockets in one event loop.

Each answer is timed from the moment at which its request was due, so that a door that stalls is not asked less often
for it (no coordinated omission).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Answers:
    """took_ms: of each request, from when it was due. wrong: status lines that were not `202`, and what else failed."""

    took_ms: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


async def post(host: str, port: int, requests: Sequence[bytes], per_s: float, connections: int) -> Answers:
    """Send `requests`, one every 1/`per_s` seconds, over `connections` that stay open."""
    answers, due = Answers(), asyncio.Queue[tuple[float, bytes]]()
    callers = [asyncio.create_task(_caller(host, port, due, answers)) for _ in range(connections)]
    begun_s = time.perf_counter()
    for number, request in enumerate(requests):
        due_s = begun_s + number / per_s
        await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
        due.put_nowait((due_s, request))
    await due.join()
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    return answers


async def _caller(host: str, port: int, due: "asyncio.Queue[tuple[float, bytes]]", answers: Answers) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    while True:
        due_s, request = await due.get()
        try:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(_length(head))
            answers.took_ms.append(1000 * (time.perf_counter() - due_s))
            status = head.split(b" ", 2)[1]
            if status != b"202":
                answers.wrong.append(status.decode())
        except (OSError, asyncio.IncompleteReadError) as broken:
            answers.wrong.append(type(broken).__name__)
            reader, writer = await asyncio.open_connection(host, port)
        finally:
            due.task_done()


async def listen(
    host: str,
    port: int,
    request: bytes,
    listeners: int,
    heard: Callable[[bytes], None],
    tell: Callable[[], Awaitable[None]],
) -> int:
    """Open `listeners` event streams, run `tell`, close them; how many were still open at its end. heard: called with
    each `data:` line."""
    opened = [asyncio.create_task(_listener(host, port, request, heard)) for _ in range(listeners)]
    await asyncio.sleep(2.0)
    await tell()
    alive = sum(not each.done() for each in opened)
    for each in opened:
        each.cancel()
    await asyncio.gather(*opened, return_exceptions=True)
    return alive


async def _listener(host: str, port: int, request: bytes, heard: Callable[[bytes], None]) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in head.split(b"\r\n", 1)[0], head
        while line := await reader.readline():
            if line.startswith(b"data: "):
                heard(line)
    finally:
        writer.close()


def _length(head: bytes) -> int:
    lower = head.lower()
    start = lower.index(b"content-length:") + len(b"content-length:")
    return int(lower[start : lower.index(b"\r\n", start)])

"""The cameras in Redis. What each step does stands in cameras.lua, with the keys at its head."""

import functools
import json
from collections.abc import Mapping
from dataclasses import replace
from importlib.resources import files
from typing import Any

import redis

from kith import wire
from kith.backends.redis_errors import mapped_redis_errors
from kith.cameras import FRAME_KEPT_S, Camera, CameraReport, CameraStatus, LastFrame, status_of
from kith.errors import CameraTaken, UnknownCamera


class RedisCameras:
    """CameraRegistry on a client that does not decode replies. prefix: of all keys."""

    def __init__(self, client: "redis.Redis", prefix: str = "kith") -> None:
        self._redis: Any = client
        self._prefix = prefix
        self._script = client.register_script(_source())

    def add(self, camera: Camera) -> None:
        kept = replace(camera, paused=False, paused_why=None, paused_ms=0)
        with mapped_redis_errors(f"adding camera {camera.name}"):
            if not self._redis.hsetnx(self._key(), camera.name, wire.to_json(kept)):
                raise CameraTaken(f"there is a camera {camera.name} already; remove it first, or choose another name")

    def get(self, name: str) -> Camera:
        with mapped_redis_errors(f"reading camera {name}"), self._redis.pipeline(transaction=True) as pipe:
            pipe.hget(self._key(), name)
            pipe.hget(self._key("paused"), name)
            text, paused = pipe.execute()
        if text is None:
            raise UnknownCamera(f"there is no camera {name} (kith camera list)")
        return _camera(text, paused)

    def all(self) -> list[Camera]:
        with mapped_redis_errors("reading the cameras"), self._redis.pipeline(transaction=True) as pipe:
            pipe.hgetall(self._key())
            pipe.hgetall(self._key("paused"))
            cameras, paused = pipe.execute()
        return [_camera(text, paused.get(name)) for name, text in sorted(cameras.items())]

    def remove(self, name: str) -> None:
        with mapped_redis_errors(f"removing camera {name}"), self._redis.pipeline(transaction=True) as pipe:
            pipe.hdel(self._key(), name)
            for part in ("paused", "held", "reports"):
                pipe.hdel(self._key(part), name)
            pipe.delete(self._key("counts", name), self._key("frame", name))
            there = pipe.execute()[0]
        if not there:
            raise UnknownCamera(f"there is no camera {name} (kith camera list)")

    def pause(self, name: str, why: str | None = None) -> bool:
        answer = self._run("pause", f"pausing camera {name}", name, why or "")
        if answer < 0:
            raise UnknownCamera(f"there is no camera {name} (kith camera list)")
        return bool(answer)

    def resume(self, name: str) -> bool:
        self.get(name)
        with mapped_redis_errors(f"resuming camera {name}"):
            return bool(self._redis.hdel(self._key("paused"), name))

    def status(self, name: str) -> CameraStatus:
        self.get(name)
        found = [each for each in self.statuses() if each.camera.name == name]
        if not found:
            raise UnknownCamera(f"camera {name} was removed just now")
        return found[0]

    def statuses(self) -> list[CameraStatus]:
        with mapped_redis_errors("reading the cameras"), self._redis.pipeline(transaction=True) as pipe:
            for part in ((), ("paused",), ("held",), ("reports",)):
                pipe.hgetall(self._key(*part))
            pipe.time()
            cameras, paused, held, reports, (seconds, micros) = pipe.execute()
            names = sorted(cameras)
            for name in names:
                pipe.hgetall(self._key("counts", name.decode()))
            counts = pipe.execute()
        now_ms = seconds * 1000 + micros // 1000
        return [
            status_of(
                _camera(cameras[name], paused.get(name)),
                _holder(held.get(name), now_ms),
                wire.from_json(CameraReport, reports[name]) if name in reports else None,
                {counter.decode(): int(number) for counter, number in sorted(counted.items())},
                now_ms,
            )
            for name, counted in zip(names, counts, strict=True)
        ]

    def share(self, process: str, lease_s: float, most: int) -> list[Camera]:
        texts = self._run("share", "sharing the cameras", process, round(lease_s * 1000), most)
        return [_camera(text, None) for text in texts]

    def leave(self, process: str) -> None:
        self._run("leave", "giving cameras back", process)

    def report(self, process: str, name: str, report: CameraReport, counts: Mapping[str, int]) -> bool:
        flat = [part for pair in counts.items() for part in pair]
        return bool(self._run("report", f"reporting on camera {name}", process, name, wire.to_json(report), *flat))

    def keep_frame(self, process: str, name: str, frame: LastFrame) -> bool:
        text = b"%d %b" % (frame.at_ms, frame.data)
        what = f"keeping the last frame of camera {name}"
        return bool(self._run("frame", what, process, name, 1000 * FRAME_KEPT_S, text))

    def last_frame(self, name: str) -> LastFrame | None:
        self.get(name)
        with mapped_redis_errors(f"reading the last frame of camera {name}"):
            found = self._redis.get(self._key("frame", name))
        if found is None:
            return None
        at_ms, _, data = found.partition(b" ")
        return LastFrame(data, int(at_ms))

    def _run(self, operation: str, what: str, *args: str | int | bytes) -> Any:
        with mapped_redis_errors(what):
            return self._script(args=[self._prefix, operation, *args])

    def _key(self, *parts: str) -> str:
        return ":".join((self._prefix, "cameras", *parts))


def _camera(text: bytes, paused: bytes | None) -> Camera:
    camera = wire.from_json(Camera, text)
    if paused is None:
        return camera
    said = json.loads(paused)
    return replace(camera, paused=True, paused_why=said["why"] or None, paused_ms=int(said["ms"]))


def _holder(held: bytes | None, now_ms: int) -> str | None:
    if held is None:
        return None
    deadline, _, process = held.decode().partition(" ")
    return process if int(deadline) > now_ms else None


@functools.cache
def _source() -> str:
    return files("kith.backends").joinpath("cameras.lua").read_text()

"""A registry of cameras whose changes stand in the audit log, with who made them (see kith.audited).

Which pictures are taken of people, and for which gallery, is as much somebody's deed as whom a gallery holds. What
processes do to serve cameras (leases, reports) goes by the registry itself.
"""

from typing import Any

from kith.audit import Action, AuditLog, Deed
from kith.cameras import Camera, CameraRegistry


class AuditedCameras:
    """A CameraRegistry. by: the actor. An entry names the camera and what was done, never its address."""

    def __init__(self, registry: CameraRegistry, audit: AuditLog, by: str) -> None:
        self._registry, self._audit, self._by = registry, audit, by

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._registry, verb)

    def add(self, camera: Camera) -> None:
        self._registry.add(camera)
        self._record(camera, "added")

    def remove(self, name: str) -> None:
        camera = self._registry.get(name)
        self._registry.remove(name)
        self._record(camera, "removed")

    def pause(self, name: str, why: str | None = None) -> bool:
        before = self._registry.get(name)
        served = self._registry.pause(name, why)
        if not before.paused:
            self._record(before, "paused")
        return served

    def resume(self, name: str) -> bool:
        camera = self._registry.get(name)
        resumed = self._registry.resume(name)
        if resumed:
            self._record(camera, "resumed")
        return resumed

    def _record(self, camera: Camera, what: str) -> None:
        detail = {"camera": camera.name, "what": what}
        self._audit.record(Deed(self._by, Action.CAMERA_CHANGED, camera.gallery, detail=detail))

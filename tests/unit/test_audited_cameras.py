"""Who added, paused, resumed or removed a camera stands in the audit log; its address does not."""

import pytest

from kith.audit import Action, Deed
from kith.audited_cameras import AuditedCameras
from kith.backends.audit_memory import MemoryAudit
from kith.backends.cameras_memory import MemoryCameras
from kith.cameras import Camera, CameraRegistry
from kith.errors import CameraTaken, UnknownCamera

FRONT = Camera("front", "rtsp://u:hunter2@cam/1", "door")


@pytest.fixture
def audit() -> MemoryAudit:
    return MemoryAudit()


@pytest.fixture
def cameras(audit: MemoryAudit) -> CameraRegistry:
    return AuditedCameras(MemoryCameras(), audit, "cli:ada@desk")


def recorded(audit: MemoryAudit) -> list[Deed]:
    return [entry.deed for entry in audit.page().entries]


def test_every_change_is_one_entry_with_who_made_it(cameras: CameraRegistry, audit: MemoryAudit) -> None:
    cameras.add(FRONT)
    cameras.pause("front", "the lens is dirty")
    cameras.resume("front")
    cameras.remove("front")
    assert [each.detail for each in recorded(audit)] == [
        {"camera": "front", "what": what} for what in ("added", "paused", "resumed", "removed")
    ]
    assert {(each.actor, each.action, each.gallery) for each in recorded(audit)} == {
        ("cli:ada@desk", Action.CAMERA_CHANGED, "door")
    }


def test_what_changes_nothing_is_no_entry(cameras: CameraRegistry, audit: MemoryAudit) -> None:
    cameras.add(FRONT)
    cameras.pause("front")
    before = audit.head()
    cameras.pause("front", "still")
    cameras.status("front")
    cameras.share("p", 10, 4)
    with pytest.raises(CameraTaken):
        cameras.add(FRONT)
    for verb in (cameras.remove, cameras.pause, cameras.resume):
        with pytest.raises(UnknownCamera, match="no camera back"):
            verb("back")
    assert audit.head() == before
    assert cameras.resume("front")
    before = audit.head()
    assert not cameras.resume("front")
    assert audit.head() == before


def test_no_entry_holds_an_address(cameras: CameraRegistry, audit: MemoryAudit) -> None:
    cameras.add(FRONT)
    cameras.remove("front")
    assert not [each for each in recorded(audit) if "cam" in str(each.detail.values()) or "hunter2" in str(each)]

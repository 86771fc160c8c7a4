"""Keys change only with a line in the audit log: rotation and destruction, with who did it."""

from collections.abc import Callable

from kith.audit import Action, AuditLog, Deed
from kith.keys import KeyRing, KeyStore

#: Seals anew whatever older keys of the ring sealed, by its newest. When it returns, nothing needs the older ones.
Reseal = Callable[[KeyRing], None]


def rotate(keys: KeyStore, audit: AuditLog, gallery: str, by: str, reseal: Reseal | None = None) -> KeyRing:
    """Add a key that seals from now on. reseal: given, everything is sealed by it and the older keys are destroyed; not
    given, they stay and go on opening.

    Recorded before, when its id is not known yet, and after: there is no key that no line tells of. Interrupted in
    `reseal`, all keys are still there; the same call again adds one more key and completes it. Raises as the key store
    and the audit log do, and UnknownKey.
    """
    keys.check_changeable(gallery)
    audit.record(Deed(by, Action.KEY_ROTATED, gallery, detail={"stage": "begun"}))
    ring = keys.rotate(gallery)
    audit.record(Deed(by, Action.KEY_ROTATED, gallery, detail={"stage": "done", "key": ring.newest.key_id.hex()}))
    if reseal is None:
        return ring
    reseal(ring)
    older = [key_id for key_id in ring.key_ids if key_id != ring.newest.key_id.hex()]
    if not older:
        return ring
    audit.record(Deed(by, Action.KEY_DESTROYED, gallery, detail={"keys": " ".join(older)[:500]}))
    return keys.retire(gallery, older)


def destroy(keys: KeyStore, audit: AuditLog, gallery: str, by: str) -> tuple[str, ...]:
    """Destroy all keys of `gallery`; their ids. Its templates cannot be read any more, here and in every backup.

    Recorded first: without a line in the log nothing is destroyed. Raises as the key store and the log do, UnknownKey.
    """
    keys.check_changeable(gallery)
    audit.record(Deed(by, Action.KEY_DESTROYED, gallery))
    return keys.destroy(gallery)

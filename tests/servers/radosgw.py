"""A real S3 server: Ceph's gateway with one monitor and one in-memory OSD, as small as they come.

Unlike doubles of S3 it checks signatures: a wrong secret or an expired URL is refused as in production.
"""

import base64
import os
import secrets
import shutil
import struct
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from typing import Self

from pydantic import SecretStr

from kith.settings import Store
from tests.servers.processes import free_port, listens, need, run, spawn, stop, wait_until

#: Bytes of memory the OSD offers; it takes only what is stored.
_MEMORY_BYTES = 1 << 30


class Radosgw:
    """Starts on `with` or `start_all`, in 1–2 s. `stop` and `start` concern the gateway alone: data stays."""

    def __init__(self) -> None:
        self.port = free_port()
        self.access_key = "kith-tests"
        self.secret_key = secrets.token_hex(20)
        self._home: Path | None = None
        self._base: list[subprocess.Popen[bytes]] = []
        self._gateway: subprocess.Popen[bytes] | None = None

    def settings(self, bucket: str, **changes: object) -> Store:
        """Store settings for `bucket` of this server; `changes` replace single ones."""
        given: dict[str, object] = {
            "kind": "s3",
            "endpoint": f"127.0.0.1:{self.port}",
            "bucket": bucket,
            "access_key": SecretStr(self.access_key),
            "secret_key": SecretStr(self.secret_key),
        }
        return Store.model_validate(given | changes)

    def start_all(self) -> Self:
        """Start everything. Raises MissingComponent or ServerFailed."""
        need("ceph-mon", "ceph-authtool", "monmaptool", package="ceph-mon and ceph-common")
        need("ceph-osd", package="ceph-osd")
        need("radosgw", "radosgw-admin", "ceph", package="radosgw and ceph-common")
        need("setpriv", package="util-linux")
        # Not under pytest's own directory: the admin sockets' paths must fit in 108 bytes.
        self._home = Path(tempfile.mkdtemp(prefix="kith-s3-"))
        try:
            self._start_cluster(self._home)
            self.start()
            self._create_user()
        except BaseException:
            self.stop_all()
            raise
        return self

    def stop_all(self) -> None:
        """End everything and remove its files. Nothing is flushed: the data was in memory only."""
        for process in (self._gateway, *reversed(self._base)):
            stop(process, grace_s=0)
        self._gateway, self._base = None, []
        if self._home is not None:
            shutil.rmtree(self._home, ignore_errors=True)

    def start(self) -> None:
        """Start the gateway and wait until it serves."""
        self._gateway = spawn(["radosgw", "-f", "-n", "client.rgw", *self._conf()], self._log)
        wait_until(lambda: listens(self.port), "radosgw", [self._gateway], self._log)

    def stop(self) -> None:
        """End the gateway: from now on connections are refused, as when a store is away."""
        # In order, a quarter of a second: one that is killed leaves watches on the OSD, and the next gateway's first
        # new bucket waits 30 s for the dead one to acknowledge it.
        stop(self._gateway)

    def __enter__(self) -> Self:
        return self.start_all()

    def __exit__(self, *_: object) -> None:
        self.stop_all()

    @property
    def _log(self) -> Path:
        assert self._home is not None, "not started"
        return self._home / "log"

    def _conf(self) -> list[str]:
        return ["-c", str(self._log.parent / "ceph.conf")]

    def _start_cluster(self, home: Path) -> None:
        fsid, osd_id, mon_port = str(uuid.uuid4()), str(uuid.uuid4()), free_port()
        for name in ("mon", "osd", "rgw"):
            (home / name).mkdir()
        (home / "ceph.conf").write_text(_CONF.format(home=home, fsid=fsid, mon_port=mon_port, port=self.port))
        # One file for all: the monitor takes keys and rights from it, the others find their own key in it.
        (home / "keyring").write_text(
            "".join(
                f"[{name}]\n\tkey = {_cephx_key()}\n" + "".join(f'\tcaps {who} = "allow *"\n' for who in ("mon", "osd"))
                for name in ("mon.", "client.admin", "osd.0", "client.rgw")
            )
        )
        (home / "keyring").chmod(0o600)
        mon = f"[v2:127.0.0.1:{mon_port}]"
        run(["monmaptool", "--create", "--fsid", fsid, "--addv", "a", mon, str(home / "monmap")], self._log)
        mkfs = ["--mkfs", "--monmap", str(home / "monmap"), "--keyring", str(home / "keyring")]
        run(["ceph-mon", "-i", "a", *self._conf(), *mkfs], self._log)
        self._base.append(spawn(["ceph-mon", "-i", "a", "-f", *self._conf()], self._log))
        wait_until(lambda: listens(mon_port), "ceph-mon", self._base, self._log)
        run(["ceph", *self._conf(), "osd", "new", osd_id, "0"], self._log)
        run(["ceph-osd", "-i", "0", *self._conf(), "--mkfs", "--osd-uuid", osd_id], self._log)
        self._base.append(spawn(["ceph-osd", "-i", "0", "-f", *self._conf()], self._log))

    def _create_user(self) -> None:
        keys = ["--access-key", self.access_key, "--secret-key", self.secret_key]
        user = ["user", "create", "--uid", "kith", "--display-name", "kith", *keys]
        run(["radosgw-admin", *self._conf(), "-n", "client.rgw", *user], self._log)


def _cephx_key() -> str:
    # What ceph-authtool writes: type AES, created now, 16 random bytes. Four starts of it saved.
    key = os.urandom(16)
    return base64.b64encode(struct.pack("<hiih", 1, int(time.time()), 0, len(key)) + key).decode()


_CONF = f"""
[global]
fsid = {{fsid}}
mon host = [v2:127.0.0.1:{{mon_port}}]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind msgr1 = false
ms bind ipv6 = false
keyring = {{home}}/keyring
run dir = {{home}}
admin socket = {{home}}/$name.$pid.asok
crash dir = {{home}}
log file =
log to stderr = true
err to stderr = true
debug none = 0
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
mon data = {{home}}/mon
mon allow pool size one = true
mon warn on pool no redundancy = false
mon max pg per osd = 2000
# A monitor gathers changes for a second before it decides; alone, with a dozen pools to create, it need not.
paxos propose interval = 0.05
paxos min wait = 0.01
osd data = {{home}}/osd
osd objectstore = memstore
memstore device bytes = {_MEMORY_BYTES}
osd crush chooseleaf type = 0
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
rgw rados pool pg num min = 1
[client.rgw]
rgw data = {{home}}/rgw
# Without tcp_nodelay a small GET waits 40 ms for the acknowledgement of its own header.
rgw frontends = beast endpoint=127.0.0.1:{{port}} tcp_nodelay=1
rgw thread pool size = 16
rgw enable usage log = false
rgw run sync thread = false
rgw dynamic resharding = false
"""

"""A real MQTT broker: Debian's Mosquitto on loopback, with a password, and with TLS on a second port."""

import datetime
import ipaddress
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from kith.outward.knobs import Mqtt
from tests.servers.processes import free_port, listens, need, spawn, stop, wait_until

USER, PASSWORD = "kith", "hunter2"

#: Debian puts it where only root looks.
_PROGRAM = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
_PASSWORDS = "mosquitto_passwd"


class Mosquitto:
    """Starts on `with`. `stop` and `start` keep the ports, and what is retained is lost with the process: as when a
    broker is set up anew."""

    def __init__(self) -> None:
        self.port, self.tls_port = free_port(), free_port()
        self._home: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def settings(self, **changes: object) -> dict[str, object]:
        """The section [mqtt] for it; `changes` replace single knobs."""
        return {"host": "127.0.0.1", "port": self.port, "username": USER, "password": PASSWORD, **changes}

    def knobs(self, **changes: object) -> Mqtt:
        """The same as knobs."""
        return Mqtt.model_validate(self.settings(**changes))

    @property
    def ca(self) -> Path:
        """The certificate that TLS on the second port is to be checked against."""
        assert self._home is not None, "not started"
        return self._home / "broker.pem"

    def start(self) -> None:
        """Start it and wait until it listens. Raises MissingComponent or ServerFailed."""
        need(_PROGRAM, _PASSWORDS, package="mosquitto")
        need("setpriv", package="util-linux")
        if self._home is None:
            self._home = Path(tempfile.mkdtemp(prefix="kith-mqtt-"))
            self._set_up(self._home)
        log = self._home / "log"
        self._process = spawn([_PROGRAM, "-c", str(self._home / "mosquitto.conf")], log)
        wait_until(lambda: listens(self.port) and listens(self.tls_port), "mosquitto", [self._process], log)

    def stop(self) -> None:
        """End it: from now on connections are refused."""
        stop(self._process)

    def close(self) -> None:
        """End it and remove its files."""
        stop(self._process, grace_s=0)
        if self._home is not None:
            shutil.rmtree(self._home, ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _set_up(self, home: Path) -> None:
        passwords = home / "passwords"
        subprocess.run([_PASSWORDS, "-b", "-c", str(passwords), USER, PASSWORD], check=True, capture_output=True)
        self_signed(home / "broker.pem", home / "broker.key")
        (home / "mosquitto.conf").write_text(
            "per_listener_settings false\nallow_anonymous false\npersistence false\n"
            f"password_file {passwords}\nlog_dest stderr\n"
            # It gives up being root, and may then not read what is root's.
            "user root\n"
            f"listener {self.port} 127.0.0.1\n"
            f"listener {self.tls_port} 127.0.0.1\n"
            f"certfile {home / 'broker.pem'}\nkeyfile {home / 'broker.key'}\n"
        )


def self_signed(certificate: Path, key: Path) -> None:
    """A self-signed one for 127.0.0.1, good for a day."""
    made = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(made.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(made, hashes.SHA256())
    )
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        made.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    key.chmod(0o600)


class Listener:
    """Somebody who hears everything that a broker tells. told: topic, payload and whether it was kept from before."""

    def __init__(self, broker: Mosquitto, topic: str = "#") -> None:
        self.told: list[tuple[str, bytes, bool]] = []
        self._ready = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.username_pw_set(USER, PASSWORD)
        self._client.on_message = lambda _, __, m: self.told.append((m.topic, bytes(m.payload), m.retain))
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()
        self._client.subscribe(topic, qos=1)
        assert self._ready.wait(10)

    def of(self, topic: str) -> list[bytes]:
        """What was told under a topic."""
        return [payload for told, payload, _ in self.told if told == topic]

    def say(self, topic: str, payload: bytes, retain: bool = False) -> None:
        """Tell something oneself."""
        self._client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

"""MQTT by paho-mqtt, version 5 or 3.1.1 of the protocol, with or without TLS."""

import contextlib
import ssl
import threading
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from kith.errors import Misconfigured
from kith.outward.broker import Heard, Message
from kith.outward.errors import MqttAway
from kith.outward.knobs import Mqtt

_KEEPALIVE_S = 30


class PahoBroker:
    """Implements kith.outward.broker.Broker; connected when this is made. client_id: whoever else connects with it
    takes the connection over. Raises MqttAway, Misconfigured."""

    def __init__(self, knobs: Mqtt, client_id: str, will: Message) -> None:
        self._knobs, self._five = knobs, knobs.version == "5"
        self._answered, self._broken = threading.Event(), threading.Event()
        self._refusal: str | None = None
        self._subscribed: dict[int, threading.Event] = {}
        self._client = client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            # Nothing of a former connection is wanted; version 5 says so when it connects.
            clean_session=None if self._five else True,
            protocol=MQTTProtocolVersion.MQTTv5 if self._five else MQTTProtocolVersion.MQTTv311,
            # A connection that breaks is over, see kith.outward.broker.
            reconnect_on_failure=False,
        )
        client.connect_timeout = knobs.timeout_s
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_subscribe = self._on_subscribe
        if knobs.username:
            client.username_pw_set(knobs.username, knobs.password.get_secret_value() or None)
        if knobs.tls:
            client.tls_set_context(_tls(knobs))
        client.will_set(will.topic, will.payload, qos=1, retain=will.retain)
        self._connect()

    @property
    def alive(self) -> bool:
        return not self._broken.is_set()

    def publish(self, message: Message) -> None:
        if not self.alive:
            raise MqttAway("the connection to the MQTT broker has broken")
        properties = None
        if self._five and message.expiry_s is not None:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.MessageExpiryInterval = message.expiry_s
        sent = self._client.publish(message.topic, message.payload, 1, message.retain, properties)
        with contextlib.suppress(RuntimeError):
            # Raises when the connection broke meanwhile.
            sent.wait_for_publish(self._knobs.timeout_s)
        if sent.rc != MQTTErrorCode.MQTT_ERR_SUCCESS or not sent.is_published():
            # It may still be taken; then it comes twice, which consumers are told to bear.
            self.close()
            raise MqttAway(f"the MQTT broker did not acknowledge a message within {self._knobs.timeout_s:g} s")

    def subscribe(self, topic: str, heard: Heard) -> None:
        def on_message(_: Client, __: Any, message: MQTTMessage) -> None:
            heard(message.topic, bytes(message.payload))

        self._client.message_callback_add(topic, on_message)
        code, number = self._client.subscribe(topic, 1)
        acknowledged = self._subscribed.setdefault(number or 0, threading.Event())
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS or not acknowledged.wait(self._knobs.timeout_s):
            self.close()
            raise MqttAway(f"the MQTT broker did not accept the subscription to {topic}")

    def close(self) -> None:
        self._broken.set()
        # No goodbye: after one the broker would not tell the last will.
        self._client.loop_stop()
        sock: Any = self._client.socket()
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.close()

    def _connect(self) -> None:
        where = f"{self._knobs.host}, port {self._knobs.port}"
        assert self._knobs.host is not None
        try:
            self._client.connect(self._knobs.host, self._knobs.port, _KEEPALIVE_S)
        except ssl.SSLError as fault:
            raise MqttAway(f"no TLS with the MQTT broker at {where}: {fault.reason or fault}") from None
        except (OSError, ValueError) as fault:
            raise MqttAway(f"the MQTT broker at {where} cannot be reached: {fault}") from None
        self._client.loop_start()
        if not self._answered.wait(self._knobs.timeout_s) or self._refusal is not None or not self.alive:
            self.close()
            raise MqttAway(f"the MQTT broker at {where} {self._refusal or 'does not answer'}")

    def _on_connect(self, _: Client, __: Any, ___: Any, reason: Any, ____: Any) -> None:
        if reason.is_failure:
            self._refusal = f"refuses us: {reason}"
        self._answered.set()

    def _on_disconnect(self, *_: Any) -> None:
        self._broken.set()
        self._answered.set()

    def _on_subscribe(self, _: Client, __: Any, number: int, reasons: Any, ___: Any) -> None:
        # A refusal is left to run out: it is as good as no answer.
        if not any(reason.is_failure for reason in reasons):
            self._subscribed.setdefault(number, threading.Event()).set()


def _tls(knobs: Mqtt) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=None if knobs.ca is None else str(knobs.ca.expanduser()))
        if knobs.certificate is not None and knobs.key is not None:
            context.load_cert_chain(str(knobs.certificate.expanduser()), str(knobs.key.expanduser()))
    except (OSError, ssl.SSLError) as fault:
        raise Misconfigured(f"mqtt.ca, mqtt.certificate or mqtt.key cannot be used: {fault}") from None
    return context

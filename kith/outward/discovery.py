"""Telling Home Assistant what there is (MQTT discovery): a device for each camera, with who is there and what happened.

Each entity has a retained message of its own under `homeassistant/COMPONENT/NODE/OBJECT/config`, which every version of
Home Assistant since 2023.8 reads (https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery); an empty one takes
the entity away. The state topics are those of kith.outward.topics.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kith.outward.broker import Message
from kith.outward.topics import OFFLINE, ONLINE, Topics
from kith.watching.events import EventKind

#: What Home Assistant says when it has started.
BIRTH = b"online"

#: An event entity wants its type under `event_type`, and takes the rest for its attributes. By `get`: events leave out
#: what they do not have, and Home Assistant gives the whole event up where JSON is made of something undefined.
_EVENT_TEMPLATE = (
    "{{ {'event_type': value_json.kind, 'subject': value_json.get('subject'), 'stranger': value_json.get('stranger'), "
    "'visit': value_json.get('visit'), 'why': value_json.get('why'), 'snapshot': value_json.get('snapshot')} "
    "| to_json }}"
)


@dataclass(frozen=True, slots=True)
class Discovery:
    """prefix: the topic under which Home Assistant looks for devices."""

    prefix: str
    topics: Topics

    @property
    def status(self) -> str:
        """Where Home Assistant says that it has started."""
        return f"{self.prefix}/status"

    def camera(self, camera: str) -> list[Message]:
        """What there is of a camera."""
        return [
            Message(topic, json.dumps(self._config(camera, what, **more)).encode(), retain=True)
            for topic, what, more in self._entities(camera)
        ]

    def no_camera(self, camera: str) -> Sequence[Message]:
        """Takes it away."""
        return [Message(topic, b"", retain=True) for topic, _, _ in self._entities(camera)]

    def _entities(self, camera: str) -> list[tuple[str, str, dict[str, Any]]]:
        number = {"state_class": "measurement", "unit_of_measurement": "people"}
        entities: list[tuple[str, str, dict[str, Any]]] = [
            ("binary_sensor", "presence", {"name": "Presence", "device_class": "occupancy"}),
            ("sensor", "count", {"name": "People", "icon": "mdi:account-multiple", **number}),
            ("sensor", "known", {"name": "People known", "icon": "mdi:account-check", **number}),
            (
                "event",
                "event",
                {
                    "name": "Event",
                    "icon": "mdi:face-recognition",
                    "event_types": [str(kind) for kind in EventKind],
                    "value_template": _EVENT_TEMPLATE,
                },
            ),
        ]
        node = self._node(camera)
        return [(f"{self.prefix}/{component}/{node}/{what}/config", what, more) for component, what, more in entities]

    def _config(self, camera: str, what: str, **more: Any) -> dict[str, Any]:
        node = self._node(camera)
        return {
            "unique_id": f"{node}_{what}",
            "state_topic": self.topics.of(camera, what),
            "availability_topic": self.topics.available,
            "payload_available": ONLINE.decode(),
            "payload_not_available": OFFLINE.decode(),
            "qos": 1,
            "device": {"identifiers": [node], "name": f"Kith {camera}", "manufacturer": "Kith", "model": "Camera"},
            "origin": {"name": "Kith"},
            **more,
        }

    def _node(self, camera: str) -> str:
        # Letters, digits, _ and - are all that a node's name may have.
        return re.sub(r"[^A-Za-z0-9_-]", "_", f"{self.topics.prefix}_{camera}")

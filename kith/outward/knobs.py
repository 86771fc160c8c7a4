"""The knobs of what is told outward (kith.settings); config/default.toml explains each."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from kith.knobs import Count, HttpUrl, Names, Positive, Section, Topic, Word
from kith.names import gallery_name


class Webhooks(Section):
    private: bool = False
    timeout_s: Positive = 10.0
    at_once: Annotated[int, Field(ge=2, le=256)] = 16
    retry_s: Positive = 1.0
    retry_max_s: Positive = 900.0
    give_up_s: Positive = 86_400.0
    max_webhooks: Count = 100
    max_dead: Count = 10_000
    lease_s: Annotated[float, Field(ge=0.2, le=60)] = 5.0


class Mqtt(Section):
    host: Word | None = None
    port: Annotated[int, Field(ge=1, le=65_535)] = 1883
    version: Literal["3.1.1", "5"] = "5"
    username: str = ""
    password: SecretStr = SecretStr("")
    tls: bool = False
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    timeout_s: Positive = 10.0
    retry_max_s: Positive = 30.0
    topic: Topic = "kith"
    galleries: Names = ()
    discovery: bool = True
    discovery_topic: Topic = "homeassistant"
    double_take: bool = False
    double_take_topic: Topic = "double-take"

    @model_validator(mode="after")
    def _a_certificate_has_its_key(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together: give both or neither")
        return self


class Frigate(Section):
    url: HttpUrl | None = None
    topic: Topic = "frigate"
    username: str = ""
    password: SecretStr = SecretStr("")
    gallery: Annotated[str, AfterValidator(gallery_name)] | None = None
    cameras: Names = ()
    snapshots: Annotated[int, Field(ge=1, le=64)] = 8
    sub_labels: bool = True
    timeout_s: Positive = 5.0
    give_up_s: Positive = 600.0

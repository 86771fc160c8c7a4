"""Every knob of Kith: frozen, read once at the entry point and passed down. `config/default.toml` explains each.

Order, first wins: environment (`KITH_STORE__KIND=s3`), the file named by `--config` or `KITH_CONFIG`, the defaults
here. Secrets are `SecretStr`: masked in reprs and logs, and readable from files (`KITH_SECRETS_DIR`, as Docker mounts
them).
"""

import json
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from kith.errors import Misconfigured
from kith.jobs import MAX_IMAGES_PER_JOB, Lane

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Redis(_Section):
    url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    timeout_s: Positive = 5.0
    prefix: Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,32}$")] = "kith"


class Broker(_Section):
    url: SecretStr | None = None
    redelivery_s: Positive = 120.0
    events: bool = False


class Store(_Section):
    kind: Literal["directory", "s3"] = "directory"
    directory: Path = Path("~/.kith/images")
    endpoint: str = "127.0.0.1:9000"
    bucket: str = "kith-images"
    access_key: SecretStr = SecretStr("")
    secret_key: SecretStr = SecretStr("")
    region: str = "us-east-1"
    tls: bool = False
    timeout_s: Positive = 5.0
    retries: Annotated[int, Field(ge=0, le=10)] = 3
    upload_expiry_s: Annotated[int, Field(ge=1, le=604_800)] = 900


class Model(_Section):
    pack: Path | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Annotated[int, Field(ge=0)] = 0


class Batch(_Section):
    size: Annotated[int, Field(ge=0, le=1024)] = 0
    window_ms: Annotated[float, Field(ge=0)] = 5.0
    queue: Count = 1024


class Worker(_Section):
    concurrency: Count = 8
    fetch_threads: Annotated[int, Field(ge=0)] = 0
    lanes: tuple[Lane, ...] = (Lane.LIVE, Lane.INTERACTIVE, Lane.BULK)
    heartbeat_s: Positive = 2.0
    sequence_wait_s: Positive = 2.0

    @property
    def beat_lifetime_s(self) -> float:
        """Silence after which a worker counts as dead: three beats, so that one late beat costs nothing."""
        return 3 * self.heartbeat_s


class Jobs(_Section):
    images_per_job: Annotated[int, Field(ge=1, le=MAX_IMAGES_PER_JOB)] = 16
    live_expiry_s: Positive = 5.0
    resend_after_s: Positive = 30.0
    started_timeout_s: Positive = 300.0
    max_deliveries: Count = 10
    max_retries: Count = 20
    retry_backoff_s: Positive = 1.0
    retry_backoff_max_s: Positive = 60.0
    sweep_every_s: Positive = 1.0
    max_open: Count = 1_000_000
    remember_done_s: Count = 86_400


class Gallery(_Section):
    default: str = "default"
    journal_keep_s: Count = 86_400
    follow_block_ms: Annotated[int, Field(ge=1, le=60_000)] = 500


class Decisions(_Section):
    cutoff: Annotated[float, Field(ge=-1, le=1)] | None = None
    margin: Annotated[float, Field(ge=0, le=2)] = 0.0
    min_quality: Annotated[float, Field(ge=0, le=1)] = 0.1
    min_face_px: Annotated[int, Field(ge=1)] = 24
    max_faces: Count = 32
    enrol_dominance: Annotated[float, Field(gt=1)] = 2.0


class Results(_Section):
    keep_s: Count = 604_800


class Limits(_Section):
    image_bytes: Count = 20_000_000
    image_pixels: Count = 50_000_000


class Settings(BaseSettings):
    """All sections; built by `load`, never at import."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix="KITH_",
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
    )

    home: Path = Path("~/.kith")
    redis: Redis = Redis()
    broker: Broker = Broker()
    store: Store = Store()
    model: Model = Model()
    batch: Batch = Batch()
    worker: Worker = Worker()
    jobs: Jobs = Jobs()
    gallery: Gallery = Gallery()
    decisions: Decisions = Decisions()
    results: Results = Results()
    limits: Limits = Limits()

    @model_validator(mode="after")
    def _s3_needs_its_keys(self) -> Self:
        if self.store.kind == "s3" and not (
            self.store.access_key.get_secret_value() and self.store.secret_key.get_secret_value()
        ):
            raise ValueError(
                "store.kind = 's3' needs store.access_key and store.secret_key (KITH_STORE__ACCESS_KEY, …)"
            )
        return self

    @property
    def broker_url(self) -> str:
        """The broker's URL with its secret: the configured one, else the same Redis that holds the state."""
        if self.broker.url is not None:
            return self.broker.url.get_secret_value()
        url = self.redis.url.get_secret_value()
        # redis-py says unix://, kombu says redis+socket:// for one and the same socket.
        return url.replace("unix://", "redis+socket://", 1) if url.startswith("unix://") else url


def load(config: Path | None = None, **overrides: Any) -> Settings:
    """Read the settings once. `config` (or `KITH_CONFIG`) is a TOML file; `overrides` are whole sections.

    Raises Misconfigured, naming the knob, its value's fault and where it may be set.
    """
    named = config or (Path(os.environ["KITH_CONFIG"]) if os.environ.get("KITH_CONFIG") else None)
    if named is not None and not named.is_file():
        raise Misconfigured(f"the configuration file {named} does not exist")

    class FromFile(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (no .env files: one place fewer to look)
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            file = (TomlConfigSettingsSource(settings_cls, named),) if named else ()
            return (init_settings, env_settings, file_secret_settings, *file)

    try:
        loaded = FromFile(_secrets_dir=os.environ.get("KITH_SECRETS_DIR"), **overrides)
    except tomllib.TOMLDecodeError as broken:
        raise Misconfigured(f"{named} is not valid TOML: {broken}") from None
    except ValidationError as broken:
        first = broken.errors(include_url=False, include_input=False)[0]
        knob = ".".join(str(part) for part in first["loc"]) or "settings"
        where = f"{named} or " if named else ""
        raise Misconfigured(f"{knob}: {first['msg']} (set in {where}KITH_{knob.replace('.', '__').upper()})") from None
    return loaded


def as_environment(settings: Settings) -> dict[str, str]:
    """`settings` as the variables that make `load` return them again, secrets in clear: for a child process alone."""
    flat: dict[str, str] = {}

    def add(name: str, value: Any) -> None:
        if isinstance(value, BaseModel):
            for part in type(value).model_fields:
                add(f"{name}__{part}" if name != "KITH" else f"KITH_{part}", getattr(value, part))
        elif isinstance(value, SecretStr):
            flat[name.upper()] = value.get_secret_value()
        elif isinstance(value, tuple):
            flat[name.upper()] = json.dumps([str(item) for item in value])
        elif value is not None:
            flat[name.upper()] = str(value)

    add("KITH", settings)
    return flat

"""Every knob of Kith: frozen, read once at the entry point and passed down. `config/default.toml` explains each.

Order, first wins: environment (`KITH_STORE__KIND=s3`), secrets as files (the directory `KITH_SECRETS_DIR`, one file per
knob, named like its variable, as Docker and Kubernetes mount them), the TOML file named by `--config` or `KITH_CONFIG`,
the defaults here. A variable that is set to nothing counts as not set. Secrets are `SecretStr`: masked in reprs and
logs.
"""

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from kith.errors import Misconfigured
from kith.jobs import MAX_IMAGES_PER_JOB, Lane
from kith.knobs import BrokerUrl, Count, ImportPath, Lanes, Names, Positive, RedisUrl, Section, Word
from kith.metrics.knobs import Metrics
from kith.names import gallery_name
from kith.outward.knobs import Frigate, Mqtt, Webhooks
from kith.settings_sources import CONFIG_VARIABLE, SECRETS_VARIABLE, Found, gather, variable_of


class Redis(Section):
    url: RedisUrl = SecretStr("redis://127.0.0.1:6379/0")
    timeout_s: Positive = 5.0
    prefix: Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,32}$")] = "kith"


class Broker(Section):
    url: BrokerUrl | None = None
    redelivery_s: Positive = 120.0
    events: bool = False


class Store(Section):
    kind: Literal["directory", "s3"] = "directory"
    directory: Path = Path("~/.kith/images")
    endpoint: Word = "127.0.0.1:9000"
    bucket: Word = "kith-images"
    access_key: SecretStr = SecretStr("")
    secret_key: SecretStr = SecretStr("")
    region: Word = "us-east-1"
    tls: bool = False
    timeout_s: Positive = 5.0
    retries: Annotated[int, Field(ge=0, le=10)] = 3
    upload_expiry_s: Annotated[int, Field(ge=1, le=604_800)] = 900

    @model_validator(mode="after")
    def _s3_needs_its_keys(self) -> Self:
        if self.kind == "s3" and not (self.access_key.get_secret_value() and self.secret_key.get_secret_value()):
            raise ValueError("kind = 's3' needs access_key and secret_key")
        return self


class Model(Section):
    pack: Path | None = None
    also: Names = ()
    device: Literal["auto", "cpu", "cuda"] = "auto"
    runtime: Literal["auto", "float32", "fused", "bfloat16", "float16", "onnxruntime", "compiled"] = "auto"
    threads: Annotated[int, Field(ge=0)] = 0


class Batch(Section):
    size: Annotated[int, Field(ge=0, le=1024)] = 0
    window_ms: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 5.0
    queue: Count = 1024


class Worker(Section):
    concurrency: Count = 8
    fetch_threads: Annotated[int, Field(ge=0)] = 0
    lanes: Lanes = (Lane.LIVE, Lane.INTERACTIVE, Lane.BULK)
    heartbeat_s: Positive = 2.0
    sequence_wait_s: Positive = 2.0

    @property
    def beat_lifetime_s(self) -> float:
        """Silence after which a worker counts as dead: three beats, so that one late beat costs nothing."""
        return 3 * self.heartbeat_s


class Jobs(Section):
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


class Gallery(Section):
    default: Annotated[str, AfterValidator(gallery_name)] = "default"
    journal_keep_s: Count = 86_400
    follow_block_ms: Annotated[int, Field(ge=1, le=60_000)] = 500
    precision: Literal["single", "half"] = "single"


class Decisions(Section):
    cutoff: Annotated[float, Field(ge=-1, le=1)] | None = None
    margin: Annotated[float, Field(ge=0, le=2)] = 0.0
    min_quality: Annotated[float, Field(ge=0, le=1)] = 0.1
    min_face_px: Annotated[int, Field(ge=1)] = 24
    max_faces: Count = 32
    enrol_dominance: Annotated[float, Field(gt=1, allow_inf_nan=False)] = 2.0


class Results(Section):
    keep_s: Count = 604_800
    keep_entries: Count = 1_000_000


class Watch(Section):
    min_quality: Annotated[float, Field(ge=0, le=1)] = 0.2
    confirm_crops: Count = 2
    clear_lead: Annotated[float, Field(gt=0, le=2)] = 0.15
    slack: Annotated[float, Field(ge=0, le=1)] = 0.05
    hold_ms: Annotated[int, Field(ge=0, le=60_000)] = 700
    gap_s: Positive = 60.0
    cooldown_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 10.0
    silence_s: Positive = 10.0
    stranger_crops: Annotated[int, Field(ge=2, le=100)] = 2
    stranger_margin: Annotated[float, Field(ge=0, le=1)] = 0.05
    keep_strangers_s: Count = 2_592_000
    max_strangers: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    keep_events_s: Count = 604_800
    keep_events: Count = 1_000_000
    max_waiting: Count = 20_000
    keep_waiting_s: Count = 3_600
    lease_s: Positive = 3.0


class Limits(Section):
    image_bytes: Count = 20_000_000
    image_pixels: Count = 50_000_000


class Security(Section):
    encrypt: bool = False
    keys_directory: Path | None = None
    keys: SecretStr = SecretStr("")
    kms: ImportPath | None = None
    audit_keep_s: Count = 31_536_000


class Cameras(Section):
    fps: Annotated[float, Field(gt=0, le=60)] = 5.0
    detect_px: Annotated[int, Field(ge=160, le=4096)] = 640
    min_face_px: Count = 32
    min_quality: Annotated[float, Field(ge=0, le=1)] = 0.2
    crops_per_track: Annotated[int, Field(ge=1, le=64)] = 8
    lost_s: Positive = 0.8
    late_s: Positive = 2.0
    open_s: Positive = 10.0
    stall_s: Positive = 5.0
    retry_s: Positive = 0.5
    retry_max_s: Positive = 30.0
    lease_s: Annotated[float, Field(ge=1, le=60)] = 10.0
    per_process: Count = 16
    max_waiting: Count = 32
    last_frame_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 10.0


class Api(Section):
    host: Word = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8600
    processes: Count = 1
    rate_per_s: Positive = 500.0
    burst: Count = 1000
    key_cache_s: Positive = 5.0
    body_bytes: Count = 100_000_000
    body_s: Positive = 60.0
    max_wait_s: Positive = 60.0
    max_listeners: Count = 1000
    session_s: Count = 43_200
    origins: Names = ()
    fetch: bool = False
    fetch_s: Positive = 10.0


class Settings(Section):
    """All sections. `Settings()` are the defaults; what this installation uses comes from `load`."""

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
    watch: Watch = Watch()
    limits: Limits = Limits()
    camera: Cameras = Cameras()
    security: Security = Security()
    api: Api = Api()
    webhooks: Webhooks = Webhooks()
    mqtt: Mqtt = Mqtt()
    frigate: Frigate = Frigate()
    metrics: Metrics = Metrics()

    @property
    def keys_directory(self) -> Path:
        """Where keys are kept: the configured place, else one in the home."""
        return (self.security.keys_directory or self.home / "keys").expanduser()

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

    Raises Misconfigured, naming the knob, its value's fault, where the value came from and where it may be set.
    """
    found = gather(config, frozenset(Settings.model_fields))
    try:
        return Settings.model_validate(found.values | overrides)
    except ValidationError as broken:
        first = broken.errors(include_url=False, include_input=False)[0]
        raise Misconfigured(_explained(first, found)) from None


def as_environment(settings: Settings) -> dict[str, str]:
    """`settings` as the variables that make `load` return them again, secrets in clear: for a child process alone.

    They are complete: added to any environment they hide its own KITH_ variables, its file and its secrets.
    """
    flat = {CONFIG_VARIABLE: "", SECRETS_VARIABLE: ""}
    for knob, value in _knobs(settings):
        flat[variable_of(knob)] = _as_text(value)
    return flat


def _explained(error: ErrorDetails, found: Found) -> str:
    # A part of a list is set with the list.
    parts = [str(part) for part in error["loc"] if not isinstance(part, int)]
    knob = ".".join(parts[:2])
    origin = found.origin(knob)
    said = f", as {origin} says" if origin else ""
    if error["type"] == "extra_forbidden":
        near = get_close_matches(knob, [name for name, _ in _knobs(Settings())], n=1, cutoff=0.5)
        return f"{knob}: there is no such setting{said}" + (f"; did you mean {near[0]}?" if near else "")
    message = error["msg"].removeprefix("Value error, ")
    section = Settings.model_fields[parts[0]].annotation if len(parts) == 1 else None
    whole = isinstance(section, type) and issubclass(section, BaseModel)
    variable = f"{variable_of(knob)}__…" if whole else variable_of(knob)
    return f"{knob}: {message}{said} (set {variable}{f', or {knob} in {found.file}' if found.file else ''})"


def _knobs(settings: Settings) -> Iterator[tuple[str, Any]]:
    """Every knob as `section.name`, with its value."""
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            for part in type(value).model_fields:
                yield f"{name}.{part}", getattr(value, part)
        else:
            yield name, value


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return ",".join(value) if isinstance(value, tuple) else str(value)

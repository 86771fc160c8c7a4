"""What knobs are made of: kinds of values, and the section that holds them (kith.settings)."""

import json
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from kith.jobs import Lane


def _listed(value: object) -> object:
    """A list as one writes it in a variable: `live,bulk`, or JSON."""
    if not isinstance(value, str):
        return value
    return json.loads(value) if value.startswith("[") else [part.strip() for part in value.split(",")]


def _speaks(*schemes: str) -> AfterValidator:
    def check(url: SecretStr) -> SecretStr:
        # The message must not repeat the value: it may hold a password.
        if not url.get_secret_value().startswith(tuple(f"{scheme}://" for scheme in schemes)):
            raise ValueError(f"a URL that starts with {', '.join(f'{scheme}://' for scheme in schemes)}")
        return url

    return AfterValidator(check)


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Word = Annotated[str, Field(min_length=1)]
Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Lanes = Annotated[tuple[Lane, ...], Field(min_length=1), BeforeValidator(_listed)]
RedisUrl = Annotated[SecretStr, _speaks("redis", "rediss", "unix")]
ImportPath = Annotated[str, Field(pattern=r"^\w+(\.\w+)*:\w+(\.\w+)*$")]
HttpUrl = Annotated[SecretStr, _speaks("http", "https")]
#: The beginning of MQTT topics: levels without wildcards, none of them empty.
Topic = Annotated[str, Field(pattern=r"^[^/+#\x00]+(/[^/+#\x00]+)*$", max_length=200)]
BrokerUrl = Annotated[SecretStr, _speaks("amqp", "amqps", "pyamqp", "redis", "rediss", "redis+socket", "memory")]


class Section(BaseModel):
    """A table of the configuration. Repeats no value in an error: it may be a secret."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

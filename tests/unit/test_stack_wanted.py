"""What `kith up` says of processes that it starts once there is something for them to do."""

from pathlib import Path

import pytest

from kith.settings import load
from kith.stack import Stack, local_settings


@pytest.mark.parametrize(
    ("listen", "says"),
    [
        ("", "has somebody to tell"),
        ("127.0.0.1:9464", "has somebody to tell, http://127.0.0.1:9466/metrics"),
        ("127.0.0.1:0", "has somebody to tell"),
    ],
)
def test_where_it_tells_prometheus_is_said_when_it_is_started(tmp_path: Path, listen: str, says: str) -> None:
    # With a broker it is wanted without asking anybody.
    settings = local_settings(load(mqtt={"host": "127.0.0.1"}, metrics={"listen": listen}), tmp_path)
    part = Stack(settings, valkey=False)._outward_part(tmp_path)
    death = part.death()
    assert death is not None
    assert death.how == says

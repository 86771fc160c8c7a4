"""What many unit tests ask for and takes long to make."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from kith import api_keys
from kith.evaluation.run import Evaluation
from tests.drawn_people import draw_people, evaluated


@pytest.fixture(scope="session", autouse=True)
def _hashes_cost_nothing() -> Iterator[None]:
    """Of the same kind, and not made to take long. What they cost in earnest is measured nowhere here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api_keys, "_HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        yield


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of 40 people, 16 of each; one more is broken, and one stands under two names."""
    root = tmp_path_factory.mktemp("drawn")
    draw_people(root / "faces", 40, 16)
    (root / "faces" / "person001" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    twin = (root / "faces" / "person002" / "0.png").read_bytes()
    (root / "faces" / "person003" / "copy.png").write_bytes(twin)
    return root


@pytest.fixture(scope="session")
def found(drawn: Path) -> Evaluation:
    """What an evaluation says of them."""
    return evaluated(drawn)

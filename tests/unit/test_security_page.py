"""docs/security.md names what carries each of its claims: that is there."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs/security.md"
NAMED = sorted(set(re.findall(r"`((?:tests|kith|producers|workers)/[\w/.]+\.py)(?:::(\w+))?`", PAGE.read_text())))


def test_the_page_names_many() -> None:
    """Else the one below tests nothing."""
    assert len(NAMED) > 30


@pytest.mark.parametrize(("file", "name"), NAMED, ids=lambda part: part or "file")
def test_what_carries_a_claim_is_there(file: str, name: str) -> None:
    path = PAGE.parents[1] / file

    assert path.is_file()
    assert not name or re.search(rf"^\s*(?:async )?def {name}\(", path.read_text(), re.M), f"{file} has no {name}"


def test_every_claim_of_a_table_names_something() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and not line.startswith("| threat")]

    assert [row for row in rows if "`" not in row.rsplit(" | ", 1)[1]] == []

"""Nobody is erased before it is sure that the proof of it can be written."""

import os
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from kith import cli
from kith.cli import forget
from kith.settings import Settings


@pytest.fixture
def erased(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Whom a client was asked to forget."""
    asked: list[str] = []

    def forgotten(subject: str, **_: object) -> None:
        asked.append(subject)
        raise KeyboardInterrupt

    client = SimpleNamespace(settings=Settings(home=tmp_path / "home"), forget=forgotten)
    monkeypatch.setattr(forget, "client_for", lambda _: nullcontext(client))
    return asked


@pytest.mark.parametrize("place", ["no/such/folder.json", "."])
def test_a_place_for_the_receipt_that_is_none_is_refused_at_once(place: str, erased: list[str], tmp_path: Path) -> None:
    done = CliRunner().invoke(cli.app, ["forget", "Ann", "--yes", "--receipt", str(tmp_path / place)])
    assert (done.exit_code, erased) == (2, [])
    assert "--receipt" in done.stderr


def test_a_folder_that_takes_no_files_is_refused_at_once(erased: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    # Root may write anywhere, so the answer is given for it.
    monkeypatch.setattr(os, "access", lambda *_: False)
    done = CliRunner().invoke(cli.app, ["forget", "Ann", "--yes"])
    assert (done.exit_code, erased) == (2, [])
    assert "the receipt cannot be written to" in done.stderr


def test_the_folder_of_receipts_is_made_for_its_owner_alone(erased: list[str], tmp_path: Path) -> None:
    CliRunner().invoke(cli.app, ["forget", "Ann", "--yes"])
    assert erased == ["Ann"]
    assert (tmp_path / "home" / "receipts").stat().st_mode & 0o777 == 0o700

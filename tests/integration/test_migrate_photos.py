"""A gallery of photographs moves between two real model packs, by the command, with the searches compared."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kith.checkpoints import load_pack
from kith.client import Client
from kith.jobs import Outcome
from kith.packs.shipped import shipped_packs
from kith.settings import Settings, as_environment, load
from kith.stack import Stack, local_settings
from tests.shared_data import shared_data

KITH = Path(sys.executable).with_name("kith")
PEOPLE = 12


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    small = shipped_packs().get("kith-small")
    if small is None:
        pytest.skip("kith-small did not ship with this checkout")
    model = {"pack": shared_data() / "weights", "also": (str(small),)}
    return local_settings(load(model=model), tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def client(settings: Settings) -> Iterator[Client]:
    with Stack(settings), Client.open(settings) as client:
        for folder in people():
            answers = client.enrol(folder.name, pictures(folder)[:2], gallery="staff", timeout_s=120)
            assert {each.outcome for each in answers} == {Outcome.ENROLLED}
        client.identify([pictures(folder)[2] for folder in people()], gallery="staff", timeout_s=120)
        yield client


def people() -> list[Path]:
    every = sorted((shared_data() / "faces/val").iterdir())
    return [folder for folder in every if folder.name.startswith("lfw_") and len(pictures(folder)) >= 3][:PEOPLE]


def pictures(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def migrate(settings: Settings, *arguments: str) -> dict[str, Any]:
    run = [str(KITH), "--home", str(settings.home), "migrate", "staff", "--json", *arguments]
    done = subprocess.run(run, env=os.environ | as_environment(settings), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_there_and_back_by_command_with_the_latest_searches_compared(settings: Settings, client: Client) -> None:
    first, small = load_pack(settings.model.pack or Path()), load_pack(Path(settings.model.also[0]))
    said = migrate(settings, "--to", "kith-small", "--shadow", "50")
    assert (said["model_id"], said["other"]["model_id"]) == (first.model_id, small.model_id)
    assert (said["other"]["missing"], said["failed"]) == (0, {})
    shadow = said["shadow"]
    assert shadow["asked"] == shadow["compared"] == PEOPLE
    assert (shadow["cutoff_now"], shadow["cutoff_then"]) == (first.default_cutoff, small.default_cutoff)
    assert shadow["now"]["mated"] == shadow["then"]["nonmated"] == 2 * PEOPLE
    assert min(shadow["now"]["tpir"], shadow["then"]["tpir"]) >= 0.5

    before = {each.label: each.subject for each in searches(client)}
    said = migrate(settings, "--switch", "--preview", "--shadow", "50")
    assert (said["model_id"], said["applied"], said["shadow"]["differ"]) == (first.model_id, False, shadow["differ"])
    said = migrate(settings, "--switch")
    assert said["model_id"] == small.model_id
    after = searches(client)
    assert {(each.model_id, each.cutoff) for each in after} == {(small.model_id, small.default_cutoff)}
    # The comparison told beforehand who would be answered otherwise.
    changed = {each.label for each in after if each.subject != before[each.label]}
    assert changed == {each["label"] for each in shadow["differ"]}

    assert migrate(settings, "--rollback")["model_id"] == first.model_id
    assert {each.label: each.subject for each in searches(client)} == before
    assert migrate(settings, "--status")["other"]["model_id"] == small.model_id
    assert migrate(settings, "--abandon", "--yes")["other"] is None


def searches(client: Client) -> list[Any]:
    return list(client.identify([pictures(folder)[2] for folder in people()], gallery="staff", timeout_s=120))

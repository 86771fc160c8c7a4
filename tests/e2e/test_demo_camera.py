"""The demo of cameras as a newcomer runs it: people come, are named or numbered, go; and nothing is left behind."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kith.errors import Misconfigured
from kith.packs.shipped import default_pack
from producers.rehearsal.rtsp_server import require_rtsp_server
from tests.e2e.conftest import processes_of
from tests.servers.fixtures import missing

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.needs("RTSP server")
def test_on_synthetic_people_it_shows_visits_names_and_a_stranger_who_is_named(tmp_path: Path) -> None:
    try:
        require_rtsp_server()
    except Misconfigured as absent:
        missing("RTSP server", absent)
    if default_pack() is None:
        missing("kith-small", "the shipped pack is not here")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KITH_")}
    done = subprocess.run(
        [sys.executable, "-m", "producers.rehearsal"],
        cwd=ROOT,
        env={**clean, "TMPDIR": str(tmp_path), "KITH_SHARED_DATA": str(tmp_path / "nowhere")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "synthetic people: nobody is shown" in done.stdout
    named = re.search(r"^named: (stranger-\d+) is (\S+), enrolled from \d+ crops", done.stdout, re.MULTILINE)
    assert named, done.stdout
    number, name = named.groups()
    before, after = done.stdout.split(named[0])
    assert re.search(rf" s  (new|update) .*{number}", before)
    assert name not in before
    assert re.search(rf" s  renamed  {number} was {name} ", after)
    assert re.search(rf" s  (new|update) +gate: .*{name}", after), "who was named is known when they come again"
    assert re.search(r"^ *5  visits announced: 4 people came", after, re.MULTILINE), "each once"
    assert re.search(r"^ *3  of the 3 people who are known were named", after, re.MULTILINE)
    assert processes_of(tmp_path) + [str(path) for path in tmp_path.iterdir()] == []


def test_a_folder_with_too_few_people_is_refused_with_what_it_takes(tmp_path: Path) -> None:
    try:
        require_rtsp_server()
    except Misconfigured as absent:
        missing("RTSP server", absent)
    done = subprocess.run(
        [sys.executable, "-m", "producers.rehearsal", "--faces", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 78
    assert f"{tmp_path} has 0 people to show: the demo of cameras needs 4" in done.stderr
    assert "Traceback" not in done.stderr

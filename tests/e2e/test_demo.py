"""The demo as a newcomer runs it: it shows what happens, and leaves nothing behind however it ends."""

import os
import pty
import re
import signal
import subprocess
from pathlib import Path

import pytest

from kith.checkpoints import simulated_pack
from tests.e2e.conftest import KITH, Kith, picture, processes_of, shown_on
from tests.shared_data import shared_data


@pytest.fixture
def bare(tmp_path: Path) -> Kith:
    """The command line without any system; its temporary files lie in a place of their own."""
    (tmp_path / "tmp").mkdir()
    return Kith(tmp_path / "home")


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """Ten people with six crops each."""
    for person in range(10):
        for shot in range(6):
            picture(tmp_path / f"people/Person {person}/{shot}.png", person, shot)
    return tmp_path / "people"


def left_behind(tmp_path: Path) -> list[str]:
    """Processes and files a demo left in its temporary place."""
    return processes_of(tmp_path / "tmp") + [str(path) for path in (tmp_path / "tmp").iterdir()]


def test_on_real_faces_the_demo_recognises_rejects_and_learns_somebody_new(bare: Kith, tmp_path: Path) -> None:
    shared = shared_data()
    done = bare("demo", TMPDIR=str(tmp_path / "tmp"), KITH_SHARED_DATA=str(shared))
    figures = {
        meaning: float(number)
        for number, meaning in re.findall(r"^ *([0-9.]+)(?: s)?  (.+?)(?: \(.*)?$", done.out, re.MULTILINE)
    }
    known = int(re.search(r"(\d+) of people known", done.out)[1])  # type: ignore[index]
    strangers = int(re.search(r"(\d+) of strangers", done.out)[1])  # type: ignore[index]
    assert known >= 100
    assert strangers >= 100
    # Far below what the model does on the whole set, far above what any fault of the pipeline would leave.
    assert figures["hits: the right name"] >= 0.85 * known
    assert figures["strangers answered with unknown"] >= 0.95 * strangers
    assert figures["wrong names: somebody called what they are not"] <= 5
    speed = re.search(r"^ *([1-9]\d*)  images a second, from the store to the published decision$", done.out, re.M)
    times = re.search(r"^ *(\d+\.\d\d) s  p50 from submit to decision, p99 (\d+\.\d\d) s: ", done.out, re.M)
    assert speed
    assert times
    assert 0 < float(times[1]) <= float(times[2])
    assert "kith-small, licence: research and evaluation only" in done.out.splitlines()[1]
    assert re.search(r"before: (\S+)/\S+ → unknown", done.out)
    assert re.search(r"after: (\S+)/\S+ → \1 ", done.out)
    assert "No retraining, no restart" in done.out
    assert left_behind(tmp_path) == []


def test_on_ones_own_faces_a_terminal_sees_decisions_as_they_come(
    bare: Kith, people: Path, pack: Path, tmp_path: Path
) -> None:
    ours, theirs = pty.openpty()
    environment = bare.environment(TMPDIR=str(tmp_path / "tmp"), TERM="xterm-256color")
    command = [KITH, "demo", "--faces", people, "--pack", pack, "--aligned"]
    running = subprocess.Popen(command, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = shown_on(ours)
    assert running.wait(30) == 0, shown.decode()
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert "recognising" in text
    assert "36/36" in text
    assert re.search(r"✓ +Person \d/\d.png +(Person \d|nobody we know) +\d", text)
    assert re.search(r"24 +hits: the right name \(100.0%\)", text), text[-3000:]
    assert re.search(r"12 +strangers answered with unknown \(100.0%\)", text)
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize(
    ("moment", "number", "status"),
    [
        ("starting Valkey", signal.SIGINT, 130),
        ("enrolled in", signal.SIGINT, 130),
        ("before:", signal.SIGTERM, 143),
    ],
)
def test_stopped_in_the_middle_the_demo_leaves_no_process_and_no_file(
    bare: Kith, people: Path, tmp_path: Path, moment: str, number: signal.Signals, status: int
) -> None:
    # Slow enough that there is a middle.
    slow = simulated_pack(tmp_path / "slow", seconds_per_batch=0.3, batch=4).path
    command = ("demo", "--faces", people, "--pack", slow, "--aligned")
    with bare.start(*command, TMPDIR=str(tmp_path / "tmp")) as running:
        running.until(moment)
        assert running.end(number) == status, running.lines
    assert left_behind(tmp_path) == []
    assert "Traceback" not in "\n".join(running.lines)
    assert "was stopped" in running.lines[-1]


@pytest.mark.parametrize("aligned", [False, True])
def test_without_any_faces_it_shows_itself_on_synthetic_people_and_says_so(
    bare: Kith, tmp_path: Path, aligned: bool
) -> None:
    weights = shared_data() / "weights"
    given = ("demo", "--pack", weights, *(["--aligned"] if aligned else []))
    done = bare(*given, TMPDIR=str(tmp_path / "tmp"), KITH_SHARED_DATA=str(tmp_path / "nowhere"))
    assert "synthetic people: nobody is shown" in done.out
    assert "make demo FACES=DIR" in done.out
    hits = re.search(r"(\d+)  hits: the right name", done.out)
    known = re.search(r"(\d+) of people known, (\d+) of strangers", done.out)
    unknown = re.search(r"(\d+)  strangers answered with unknown", done.out)
    assert hits is not None, done.out
    assert known is not None, done.out
    assert unknown is not None, done.out
    assert int(known[1]) == 40 * 3
    assert int(hits[1]) >= 0.95 * int(known[1])
    assert int(unknown[1]) >= 0.85 * int(known[2])
    assert re.search(r"after: (\S+)/\S+ → \1 ", done.out)
    assert left_behind(tmp_path) == []

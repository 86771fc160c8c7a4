"""A worker whose model breaks leaves at once, with its own exit status, and its jobs are done by a sound one."""

import os
import subprocess
import sys
from pathlib import Path

from kith.client import Client
from kith.jobs import Content, Kind, Outcome
from kith.settings import as_environment
from kith.stack import Stack
from tests.faults.cast import aligned_jpegs
from tests.faults.load import PATIENCE_S, impatient

#: A worker like any other, but its device dies at the first batch after the start.
BROKEN_WORKER = """
import sys
from kith.runtimes.simulated import SimulatedEmbedder
from workers.boot import run_embed

sound, calls = SimulatedEmbedder.forward, 0

def forward(self, batch):
    global calls
    calls += 1
    if calls > 1:
        raise RuntimeError("device-side assert triggered")
    return sound(self, batch)

SimulatedEmbedder.forward = forward
sys.exit(run_embed(["--name", "broken"]))
"""


def test_a_worker_whose_model_breaks_exits_with_status_70_and_its_job_is_decided_by_another(
    tmp_path: Path, repository: Path
) -> None:
    settings = impatient(tmp_path)
    with Stack(settings, embed=0), Client.open(settings) as client:
        client.galleries.create("g", model_id=model_id_of(settings.model.pack), dimension=128)
        refs = [client.intake.put(jpeg) for jpeg in aligned_jpegs(4)]
        job = client.intake.job(Kind.IDENTIFY, refs, gallery="g", content=Content.ALIGNED)
        environment = os.environ | as_environment(settings) | {"KITH_BATCH__SIZE": "8"}
        broken = subprocess.Popen(
            [sys.executable, "-c", BROKEN_WORKER], cwd=repository, env=environment, stderr=subprocess.PIPE, text=True
        )
        client.submit(job)
        _, said = broken.communicate(timeout=PATIENCE_S)
        assert broken.returncode == 70
        assert "device-side assert triggered" in said
        sound = subprocess.Popen([sys.executable, "-m", "workers.embed"], cwd=repository, env=environment)
        try:
            decisions = client.wait(job.job_id, timeout_s=PATIENCE_S)
        finally:
            sound.terminate()
            sound.wait(PATIENCE_S)
    assert [decision.outcome for decision in decisions] == [Outcome.UNKNOWN] * 4


def model_id_of(path: Path | None) -> str:
    from kith.checkpoints import load_pack  # noqa: PLC0415

    assert path is not None
    return load_pack(path).model_id

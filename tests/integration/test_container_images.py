"""The images of the Dockerfile, judged without building them: what they copy, install, hold and can do without."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.compose_manifest import ROOT, installed_by, ours, services, stages
from tests.integration.only_installed import hiding_all_but

#: What a role loads when it is at work, beyond what it imports when it starts.
LOADED_LATER = {
    "light": "producers.api.run producers.api.app producers.api.spans opentelemetry.exporter.otlp.proto.http"
    " workers.boot workers.outward_parts kith.backends.mqtt_paho kith.backends.images_minio kith.backends.queue_celery"
    " workers.health kith.cli kith.client",
    "camera": "producers.camera.run producers.camera.snapshot av cv2 onnxruntime kith.backends.images_minio"
    " kith.backends.queue_celery workers.health",
    "worker": "workers.boot workers.embed workers.models workers.job_spans opentelemetry.exporter.otlp.proto.http"
    " kith.searchers.searcher kith.networks onnxruntime cv2"
    " kith.backends.images_minio workers.health",
    "flower": "flower workers.app",
}
#: Weighs more than all else together, and comes with every accident of a dependency.
HEAVY = {
    "light": "torch onnxruntime cv2 av",
    "camera": "torch fastapi",
    "worker": "fastapi av",
    "flower": "torch onnxruntime cv2 av",
}


def _python(target: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | hiding_all_but(installed_by(f"build-{target}"), folder)
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def text() -> str:
    return (ROOT / "Dockerfile").read_text()


class TestStages:
    def test_each_target_built_is_a_stage(self) -> None:
        targets = {service["build"]["target"] for service in ours(services()).values()}

        assert targets == set(LOADED_LATER)
        assert targets <= set(stages())
        assert all(service["image"].startswith("kith-") for service in ours(services()).values())

    def test_each_argument_given_is_taken_and_used(self, text: str) -> None:
        given = {name for service in ours(services()).values() for name in service["build"].get("args", {})}

        assert given == set(re.findall(r"^ARG (\w+)=", text, re.M)) == set(re.findall(r'"\$(\w+)"', text))

    def test_the_gpu_worker_gets_an_onnxruntime_with_cuda_in_the_place_of_the_one_without(
        self, text: str, tmp_path: Path
    ) -> None:
        """The step of the Dockerfile, run by a shell whose pip only says what it was told."""
        [step] = re.findall(r"^RUN (if .*ONNXRUNTIME.*)$", text, re.M)
        (tmp_path / "pip").write_text('#!/bin/sh\necho "$@"\n')
        (tmp_path / "pip").chmod(0o755)

        def told(service: str) -> list[str]:
            arguments = services()[service]["build"].get("args", {})
            environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "ONNXRUNTIME": arguments.get("ONNXRUNTIME", "")}
            done = subprocess.run(
                ["sh", "-eu", "-c", step], env=environment, capture_output=True, text=True, check=True
            )
            return done.stdout.splitlines()

        assert told("embed") == []
        removed, installed = told("embed-gpu")
        assert removed == "uninstall -y onnxruntime"
        assert re.fullmatch(r"install onnxruntime-gpu\[cuda,cudnn\]==\d+\.\d+\.\d+", installed)

    def test_everything_copied_exists_and_is_let_in(self, text: str) -> None:
        sources = [source for line in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.M) for source in line.split()]
        let_in = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]

        assert sorted(set(sources)) == sorted(let_in)
        assert not [source for source in sources if not (ROOT / source).exists()]

    def test_every_image_takes_its_packages_from_the_stage_of_its_own_name(self, text: str) -> None:
        for target in LOADED_LATER:
            assert f"FROM application AS {target}\nCOPY --from=build-{target} /venv /venv\n" in text
            assert installed_by(f"build-{target}")


class TestPackages:
    """In a Python that sees nothing but what the image installs."""

    @pytest.mark.parametrize("target", sorted(LOADED_LATER))
    def test_an_image_installs_all_that_its_roles_load(self, target: str, tmp_path: Path) -> None:
        names = ", ".join(LOADED_LATER[target].split())
        done = _python(target, tmp_path / "hides", "-c", f"import {names}")

        assert done.returncode == 0, done.stderr[-2000:]

    @pytest.mark.parametrize("target", sorted(LOADED_LATER))
    def test_and_nothing_it_has_no_use_for(self, target: str, tmp_path: Path) -> None:
        hidden = hiding_all_but(installed_by(f"build-{target}"), tmp_path / "hides")["HIDDEN_MODULES"].split(",")

        assert set(HEAVY[target].split()) <= set(hidden)

    @pytest.mark.parametrize(
        ("target", "module"),
        sorted(
            {
                (service["build"]["target"], service["command"][2])
                for service in ours(services()).values()
                if service["command"][:2] == ["python", "-m"]
            }
        ),
    )
    def test_every_command_of_the_manifest_explains_itself_with_what_its_image_has(
        self, target: str, module: str, tmp_path: Path
    ) -> None:
        done = _python(target, tmp_path / "hides", "-m", module, "--help")

        assert done.returncode == 0, done.stderr[-2000:]
        assert f"python -m {module}" in done.stdout

    def test_the_cameras_detector_runs_with_what_their_image_has(self, tmp_path: Path) -> None:
        script = (
            "import numpy\n"
            "from kith.settings import Settings\n"
            "from producers.camera.run import equipment\n"
            "print(equipment(Settings()).detector.detect(numpy.zeros((120, 160, 3), numpy.uint8)))"
        )
        done = _python("camera", tmp_path / "hides", "-c", script)

        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout.strip() == "[]"

    def test_every_noun_of_the_command_line_is_there_in_the_light_image(self, tmp_path: Path) -> None:
        script = "import sys, kith.cli; sys.argv = ['kith', '--help']; kith.cli.main()"
        done = _python("light", tmp_path / "hides", "-c", script)

        assert done.returncode == 0, done.stderr[-2000:]
        for verb in ("enrol", "identify", "apikeys", "webhook", "camera", "dead", "status"):
            assert verb in done.stdout

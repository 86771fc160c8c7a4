"""How the services of docker-compose.yml are kept: watched, pinned, shut in, stopped in time."""

import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.integration.compose_manifest import ROOT, filled_in, manifest, ours, services, variables

#: Reaches root only to own its volume, and leaves it before it serves; see the manifest.
DROPS_ROOT_ITSELF = {"storage"}
#: What people reach with a browser or a client, and nothing else does.
PUBLISHED = {"api": 8600, "grafana": 3000, "flower": 5555}
#: Those who speak to others than Kith's own: callers, receivers, cameras, people's browsers.
OUTSIDE = {"api", "outward", "camera", "kith", "grafana", "flower"}


class TestServices:
    def test_each_one_has_a_health_check_or_says_why_not(self) -> None:
        without = {name for name, service in services().items() if "test" not in service["healthcheck"]}

        assert without == {"kith"}
        assert services()["kith"]["healthcheck"] == {"disable": True}

    def test_each_image_is_pinned_to_a_full_version(self) -> None:
        bases = re.findall(r"^FROM ([\w./-]+:\S+)", (ROOT / "Dockerfile").read_text(), re.M)
        images = [service["image"] for service in services().values()]

        assert bases
        assert not [image for image in (*images, *bases) if not re.search(r":v?\d+\.\d+(\.\d+)?(-[\w.-]+)?$", image)]

    def test_each_one_restarts_is_stopped_in_time_and_has_a_memory_limit(self) -> None:
        for name, service in services().items():
            assert service["restart"] == ("no" if name == "kith" else "unless-stopped")
            assert int(service["stop_grace_period"].removesuffix("s")) >= 30
            assert service["deploy"]["resources"]["limits"]["memory"]

    def test_none_runs_as_root_with_rights_it_could_abuse(self) -> None:
        assert re.search(r"^FROM base AS application\n(?:.+\n)*USER kith$", (ROOT / "Dockerfile").read_text(), re.M)
        for name, service in services().items():
            assert service["cap_drop"] == ["ALL"]
            assert service["security_opt"] == ["no-new-privileges:true"]
            assert ("cap_add" in service) == (name in DROPS_ROOT_ITSELF)
            assert "build" in service or service.get("user", "root") != "root" or name in DROPS_ROOT_ITSELF

    def test_all_but_the_one_that_owns_its_volume_first_run_on_a_read_only_file_system(self) -> None:
        assert {name for name, service in services().items() if not service.get("read_only")} == DROPS_ROOT_ITSELF

    def test_our_own_write_nowhere_but_in_tmp_the_keys_and_what_the_command_line_must_remember(self) -> None:
        for name, service in ours(services()).items():
            assert service["tmpfs"] == ["/tmp"]
            writable = [volume for volume in service.get("volumes", []) if not volume.endswith(":ro")]
            assert set(writable) <= {"keys:/keys", "home:/var/tmp"}
            assert ("home:/var/tmp" in writable) == (name == "kith")
        # In the volume: the container itself is removed after each command, and its tmpfs with it.
        assert variables(services()["kith"])["KITH_HOME"].startswith("/var/tmp/")

    def test_scaling_works_because_nobody_who_is_scaled_has_a_name_or_port_of_their_own(self) -> None:
        assert not [name for name, service in services().items() if "container_name" in service]
        for name, service in ours(services()).items():
            assert "hostname" not in service
            assert ("ports" in service) == (name in PUBLISHED)

    def test_what_is_published_is_published_to_this_machine_unless_somebody_says_otherwise(self) -> None:
        published = {name: service["ports"] for name, service in services().items() if "ports" in service}

        assert {name: filled_in(ports[0]) for name, ports in published.items()} == {
            name: f"127.0.0.1:{port}:{port}" for name, port in PUBLISHED.items()
        }
        assert all(re.match(r"\$\{\w+:-", ports[0]) for ports in published.values())

    def test_servers_and_decoders_of_pictures_have_no_way_out(self) -> None:
        networks = manifest()["networks"]

        assert networks == {"kith": {"internal": True}, "outside": {}}
        for name, service in services().items():
            assert service["networks"] == (["kith", "outside"] if name in OUTSIDE else ["kith"])

    def test_the_gpu_worker_asks_for_one_gpu_and_only_in_its_profile(self) -> None:
        gpu = services()["embed-gpu"]
        [device] = gpu["deploy"]["resources"]["reservations"]["devices"]

        assert gpu["profiles"] == ["gpu"]
        assert (device["driver"], device["count"], device["capabilities"]) == ("nvidia", 1, ["gpu"])
        assert {name for name, service in services().items() if "profiles" not in service} == {
            *("state", "broker", "storage", "embed", "publish", "upkeep", "watch", "api")
        }


class TestVolumes:
    def test_each_one_is_declared_and_used(self) -> None:
        used = {volume.partition(":")[0] for volume in _volumes()}

        assert {name for name in used if re.fullmatch(r"\w+", name)} == set(manifest()["volumes"])

    def test_whoever_reads_the_model_has_it_where_the_setting_may_say(self) -> None:
        """KITH_PACK=FOLDER is both; without it there is neither, and the pack that ships with Kith is meant."""
        for service in ours(services()).values():
            reads = "KITH_MODEL__PACK" in service["environment"]
            assert reads == ("${KITH_PACK:-pack}:/pack:ro" in service.get("volumes", []))
            assert not reads or service["environment"]["KITH_MODEL__PACK"] == "${KITH_PACK:+/pack}"

    def test_files_mounted_from_the_checkout_are_there(self) -> None:
        mounted = {volume.partition(":")[0] for volume in _volumes() if volume.startswith("./")}

        assert {"./config/valkey.conf", "./config/prometheus.yml", "./config/grafana/dashboards"} <= mounted
        assert not [name for name in mounted if not (ROOT / name).exists()]


class TestMetrics:
    def test_prometheus_looks_for_every_process_by_its_services_name_at_the_port_it_tells_at(self) -> None:
        [job] = YAML(typ="safe").load(ROOT / "config" / "prometheus.yml")["scrape_configs"]
        [looked_up] = job["dns_sd_configs"]
        tell = set(ours(services())) - {"kith", "flower"}

        assert set(looked_up["names"]) == tell
        assert {variables(services()[name])["KITH_METRICS__LISTEN"] for name in tell} == {
            f"0.0.0.0:{looked_up['port']}"
        }

    def test_its_port_is_published_by_nobody_and_the_page_says_whose_is_reached_from_outside_too(self) -> None:
        [port] = {variables(each)["KITH_METRICS__LISTEN"].rpartition(":")[2] for each in ours(services()).values()}
        said = (ROOT / "docs" / "operations.md").read_text().partition("Of `embed`")[2].partition("The profile")[0]
        inner, reached, others = re.split(r" only the inner network|\(", f"`embed`{said}".replace("\n", " "))

        assert not [each for name in PUBLISHED for each in services()[name]["ports"] if each.endswith(f":{port}")]
        telling = {name for name in ours(services()) if name not in {"kith", "flower"}}
        assert set(re.findall(r"`(\w+)`", reached)) - {"outside"} == telling & OUTSIDE
        assert set(re.findall(r"`(\w+)`", inner)) == telling - OUTSIDE - {"embed-gpu"}
        assert set(re.findall(r"`(\w+)`", others)) == OUTSIDE - telling

    def test_its_rules_lie_where_its_configuration_looks(self) -> None:
        folder = {filled_in(each).split(":")[1]: each.split(":")[0] for each in services()["prometheus"]["volumes"]}
        [pattern] = YAML(typ="safe").load(ROOT / "config" / "prometheus.yml")["rule_files"]
        place = Path("/etc/prometheus") / pattern

        assert list((ROOT / folder[str(place.parent)]).glob(place.name))

    def test_grafana_finds_prometheus_and_its_dashboards(self) -> None:
        provisioning = ROOT / "config" / "grafana" / "provisioning"
        [source] = YAML(typ="safe").load(provisioning / "datasources" / "prometheus.yml")["datasources"]
        [provider] = YAML(typ="safe").load(provisioning / "dashboards" / "kith.yml")["providers"]
        mounted = {each.split(":")[1] for each in services()["grafana"]["volumes"]}

        assert source["url"].split("/")[2].split(":")[0] in services()
        assert provider["options"]["path"] in mounted


def _volumes() -> list[Any]:
    return [filled_in(volume) for service in services().values() for volume in service.get("volumes", [])]

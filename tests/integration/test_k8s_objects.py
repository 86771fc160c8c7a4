"""How the objects for Kubernetes hang together: who selects, protects, scales and reaches whom; how pods are kept."""

import base64
from urllib.parse import urlsplit

import pytest
import redis

from kith.backends.cameras_redis import RedisCameras
from kith.backends.queue_celery import queue_name
from kith.cameras import Camera
from kith.jobs import LANES
from kith.settings import Settings
from tests.integration.compose_manifest import ours, services
from tests.integration.kubernetes_manifests import (
    OVERLAYS,
    WORKLOADS,
    Object,
    container_of,
    let_out,
    of_kind,
    pod_of,
    resolved,
    selected_by,
)

#: What the scalers of KEDA's documentation know (RabbitMQ Queue, Redis Lists); its models take any word here.
KNOWN = {
    "rabbitmq": {
        *("host", "hostFromEnv", "protocol", "mode", "value", "activationValue", "queueName", "vhostName", "unsafeSsl"),
        *("useRegex", "regexPageSize", "operation", "timeout", "excludeUnacknowledged", "username", "password"),
    },
    "redis": {
        *("address", "addressFromEnv", "host", "port", "username", "usernameFromEnv", "password", "passwordFromEnv"),
        *("listName", "listLength", "activationListLength", "databaseIndex", "enableTLS", "unsafeSsl"),
    },
}


@pytest.fixture(scope="module")
def overlays(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Object]]:
    return resolved(tmp_path_factory.mktemp("k8s"))


@pytest.fixture(params=["base", *OVERLAYS])
def objects(overlays: dict[str, list[Object]], request: pytest.FixtureRequest) -> list[Object]:
    """Those of each overlay in turn."""
    return overlays[request.param]


class TestPods:
    def test_none_could_do_harm_as_root_or_by_what_it_holds(self, objects: list[Object]) -> None:
        """More than the level `restricted` of Kubernetes asks, which the namespace enforces."""
        [namespace] = of_kind(objects, "Namespace").values()
        assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
        for workload in of_kind(objects, *WORKLOADS).values():
            pod, container = pod_of(workload), container_of(workload)
            assert pod["securityContext"]["runAsNonRoot"] is True
            assert pod["securityContext"]["runAsUser"] > 0
            assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert pod["automountServiceAccountToken"] is False
            assert pod["enableServiceLinks"] is False
            assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
            assert not [volume for volume in pod["volumes"] if "hostPath" in volume]
            assert container["resources"]["limits"]["memory"]
            assert container["resources"]["requests"]["cpu"]

    def test_a_pod_that_cannot_work_gets_no_work_and_only_one_that_is_dead_is_ended(
        self, objects: list[Object]
    ) -> None:
        for workload in of_kind(objects, "Deployment").values():
            container = container_of(workload)
            assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "metrics"}
            assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "metrics"}
            assert "metrics" in {port["name"] for port in container["ports"]}

    def test_every_mount_is_of_a_volume_and_every_volume_is_mounted(self, objects: list[Object]) -> None:
        for workload in of_kind(objects, *WORKLOADS).values():
            claims = {each["metadata"]["name"] for each in workload["spec"].get("volumeClaimTemplates", [])}
            there = {volume["name"] for volume in pod_of(workload)["volumes"]} | claims
            assert {mount["name"] for mount in container_of(workload)["volumeMounts"]} == there

    def test_sealing_keys_are_with_those_who_have_them_in_the_compose_file(self, objects: list[Object]) -> None:
        composed = {name for name, service in ours(services()).items() if "keys:/keys" in service.get("volumes", [])}
        [claim] = of_kind(objects, "PersistentVolumeClaim")
        holders = {
            name
            for name, workload in of_kind(objects, "Deployment").items()
            if {"name": "keys", "persistentVolumeClaim": {"claimName": claim}} in pod_of(workload)["volumes"]
        }
        assert holders == composed - {"embed-gpu", "kith"}


class TestSelectors:
    def test_every_workload_means_its_own_pods_and_no_others(self, objects: list[Object]) -> None:
        workloads = of_kind(objects, *WORKLOADS)
        for name, workload in workloads.items():
            assert selected_by(workload["spec"]["selector"], workloads) == {name}

    def test_every_service_leads_to_one_workload_at_a_port_it_has(self, objects: list[Object]) -> None:
        workloads = of_kind(objects, *WORKLOADS)
        for service in of_kind(objects, "Service").values():
            [found] = selected_by({"matchLabels": service["spec"]["selector"]}, workloads)
            ports = {port["name"] for port in container_of(workloads[found])["ports"]}
            assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports

    def test_a_drained_node_takes_one_of_each_role_at_once(self, objects: list[Object]) -> None:
        workloads = of_kind(objects, *WORKLOADS)
        protected = set()
        for budget in of_kind(objects, "PodDisruptionBudget").values():
            assert budget["spec"]["maxUnavailable"] == 1
            protected |= selected_by(budget["spec"]["selector"], workloads)
        assert protected == set(of_kind(objects, "Deployment"))

    def test_each_scaler_has_a_deployment_that_does_not_say_itself_how_many(self, objects: list[Object]) -> None:
        deployments = of_kind(objects, "Deployment")
        scalers = of_kind(objects, "HorizontalPodAutoscaler", "ScaledObject").values()
        scaled = [each["spec"]["scaleTargetRef"]["name"] for each in scalers]

        assert len(scaled) == len(set(scaled))
        for name, deployment in deployments.items():
            assert ("replicas" in deployment["spec"]) == (name not in scaled)

    def test_of_what_must_not_stand_still_there_are_two(self, overlays: dict[str, list[Object]]) -> None:
        deployments = of_kind(overlays["base"], "Deployment")
        replicas = {name: each["spec"].get("replicas") for name, each in deployments.items()}

        expected = {"embed": 2, "publish": 2, "watch": 2, "outward": 2, "upkeep": 1, "camera": 1, "api": None}
        assert replicas == expected
        assert of_kind(overlays["base"], "HorizontalPodAutoscaler")["api"]["spec"]["minReplicas"] == 2


class TestNetwork:
    def test_nobody_speaks_to_anybody_unless_a_policy_says_so(self, objects: list[Object]) -> None:
        policies = of_kind(objects, "NetworkPolicy")

        assert policies["nothing"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}

    def test_every_policy_means_somebody_and_ports_that_they_have(self, objects: list[Object]) -> None:
        workloads = of_kind(objects, *WORKLOADS)
        for policy in of_kind(objects, "NetworkPolicy").values():
            meant = selected_by(policy["spec"]["podSelector"], workloads)
            assert meant
            ports = {
                value
                for name in meant
                for port in container_of(workloads[name])["ports"]
                for value in (port["name"], port["containerPort"])
            }
            asked = {port["port"] for rule in policy["spec"].get("ingress", []) for port in rule["ports"]}
            assert asked <= ports

    def test_who_decodes_pictures_reaches_names_and_the_servers_and_nothing_else(self, objects: list[Object]) -> None:
        names = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}
        servers = {"podSelector": {"matchLabels": {"kith/server": "yes"}}}

        # A rule without `to` would let them reach every address there is.
        assert [rule.get("to") for rule in let_out("embed", objects)] == [[names], [servers]]

    def test_who_calls_cameras_receivers_or_collectors_reaches_all_but_the_machine_s_credentials(
        self, objects: list[Object]
    ) -> None:
        anywhere = [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}}]
        workloads = of_kind(objects, *WORKLOADS)
        free = {name for name in workloads if {"to": anywhere} in let_out(name, objects)}

        # Those whom the compose file has in the network `outside`, and that run here.
        composed = {name for name, service in ours(services()).items() if "outside" in service["networks"]}
        assert free == composed & set(workloads) == {"api", "camera", "outward"}

    def test_the_ports_of_the_servers_that_are_brought_are_among_those_that_may_be_reached(
        self, overlays: dict[str, list[Object]]
    ) -> None:
        [rule] = [rule for rule in let_out("embed", overlays["dev"]) if "podSelector" in rule["to"][0]]
        servers = of_kind(overlays["dev"], "StatefulSet")
        ports = {port["containerPort"] for each in servers.values() for port in container_of(each)["ports"]}

        assert selected_by(rule["to"][0]["podSelector"], of_kind(overlays["dev"], *WORKLOADS)) == set(servers)
        assert ports == {port["port"] for port in rule["ports"]}


class TestKeda:
    def test_its_scalers_are_told_what_they_know(self, overlays: dict[str, list[Object]]) -> None:
        authentications = of_kind(overlays["keda"], "TriggerAuthentication")
        for scaled in of_kind(overlays["keda"], "ScaledObject").values():
            assert scaled["spec"]["maxReplicaCount"] > scaled["spec"]["minReplicaCount"]
            for trigger in scaled["spec"]["triggers"]:
                known = KNOWN[trigger["type"]]
                given = authentications[trigger["authenticationRef"]["name"]]["spec"]["secretTargetRef"]
                assert set(trigger["metadata"]) <= known
                assert {each["parameter"] for each in given} <= known
                assert all(isinstance(text, str) for text in trigger["metadata"].values())

    def test_it_finds_the_servers_from_its_own_namespace(self, overlays: dict[str, list[Object]]) -> None:
        """Where `state` alone would be a service of its own."""
        services_of_dev = {f"{name}.kith.svc" for name in of_kind(overlays["dev"], "Service")}
        [camera] = of_kind(overlays["keda"], "ScaledObject")["camera"]["spec"]["triggers"]
        [reference] = of_kind(overlays["keda"], "TriggerAuthentication")["broker"]["spec"]["secretTargetRef"]
        secret = of_kind(overlays["keda"], "Secret")[reference["name"]]
        broker = urlsplit(base64.b64decode(secret["data"][reference["key"]]).decode())

        assert camera["metadata"]["address"].partition(":")[0] in services_of_dev
        assert broker.hostname in services_of_dev

    def test_embed_workers_are_counted_by_every_lane_under_its_name_at_the_broker(
        self, overlays: dict[str, list[Object]]
    ) -> None:
        triggers = of_kind(overlays["keda"], "ScaledObject")["embed"]["spec"]["triggers"]

        assert [each["metadata"]["queueName"] for each in triggers] == [queue_name(Settings(), lane) for lane in LANES]
        # What is more urgent may wait less.
        values = [int(each["metadata"]["value"]) for each in triggers]
        assert values == sorted(values)

    def test_cameras_are_counted_where_they_stand_in_redis(
        self, overlays: dict[str, list[Object]], redis_client: redis.Redis, prefix: str
    ) -> None:
        [trigger] = of_kind(overlays["keda"], "ScaledObject")["camera"]["spec"]["triggers"]
        assert trigger["metadata"]["listLength"] == str(Settings().camera.per_process)
        name = trigger["metadata"]["listName"].replace(Settings().redis.prefix, prefix, 1)

        registry = RedisCameras(redis_client, prefix)
        for number in range(3):
            registry.add(Camera(f"c{number}", "rtsp://10.0.0.7/stream", "staff"))

        # What the scaler does with a hash, for all that its field is called a list.
        assert redis_client.type(name) == b"hash"
        assert redis_client.hlen(name) == 3

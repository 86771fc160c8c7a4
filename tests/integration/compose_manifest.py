"""docker-compose.yml and the Dockerfile as the tests read them, and what the pages about them have people type."""

import re
import subprocess
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]

Manifest = dict[str, Any]

#: The settings' own variables, which need no prefix of ours to be seen.
OURS = "KITH_"


def manifest() -> Manifest:
    """The whole of docker-compose.yml, its anchors resolved, its variables not."""
    loaded: Manifest = YAML(typ="safe").load(ROOT / "docker-compose.yml")
    return loaded


def services() -> dict[str, Manifest]:
    """Name → service."""
    found: dict[str, Manifest] = manifest()["services"]
    return found


def ours(of: dict[str, Manifest]) -> dict[str, Manifest]:
    """The services that run our code."""
    return {name: service for name, service in of.items() if "build" in service}


def filled_in(text: str) -> str:
    """`text` as Compose reads it where no variable is set: `${NAME:-default}` is its default, `${NAME:+…}` nothing."""
    return re.sub(r"\$\{\w+:\+.*?\}", "", re.sub(r"\$\{\w+:-(.*?)\}", r"\1", text))


def variables(service: Manifest) -> dict[str, str]:
    """A service's environment where no variable is set."""
    return {name: filled_in(str(text)) for name, text in service.get("environment", {}).items()}


def secrets_of(service: Manifest) -> set[str]:
    """The names of the secrets it is given."""
    return {each if isinstance(each, str) else each["source"] for each in service.get("secrets", [])}


def block(page: str, holding: str) -> str:
    """The first block of shell commands of a page in docs/ that holds these words."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / page).read_text(), re.S)
    return str(next(each for each in blocks if holding in each))


def make_secrets(directory: Path) -> Path:
    """Run what docs/deployment.md says, in an empty directory; the folder it leaves."""
    subprocess.run(["sh", "-eu", "-c", block("deployment.md", "mkdir -p secrets")], cwd=directory, check=True)
    return directory / "secrets"


def stages() -> list[str]:
    """The names of the Dockerfile's stages."""
    return re.findall(r"^FROM \S+ AS (\S+)$", (ROOT / "Dockerfile").read_text(), re.M)


def installed_by(stage: str) -> list[str]:
    """What the pip of this build stage, and of those it stands on, is told to install: `.[api]` for the wheel."""
    text = (ROOT / "Dockerfile").read_text()
    found = re.search(rf"^FROM (\S+) AS {stage}\n((?:(?!FROM ).*\n)*)", text, re.M)
    if found is None:
        return []
    steps = re.findall(r"pip install -c constraints.txt '?([^'\n]+)'?$", found[2], re.M)
    return [*installed_by(found[1]), *steps, *(["torch"] if "^torch==" in found[2] else [])]

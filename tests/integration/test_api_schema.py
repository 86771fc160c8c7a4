"""The door keeps to its own description, whatever is sent: schemathesis finds nothing."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.http_door import House, front


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with front(tmp_path_factory.mktemp("api"), api={"max_wait_s": 0.05, "rate_per_s": 1e5, "burst": 100_000}) as house:
        yield house


@pytest.fixture(scope="module")
def schema(door: House) -> dict[str, Any]:
    described: dict[str, Any] = httpx.get(f"{door.url}/openapi.json").json()
    return described


def test_schemathesis_finds_nothing(door: House, repository: Path, tmp_path: Path) -> None:
    with door.caller() as caller:
        key = caller.headers["authorization"]
    command = [
        *(Path(sys.executable).with_name("st"), "--config-file", repository / "tests/integration/schemathesis.toml"),
        *("run", f"{door.url}/openapi.json", "-H", f"Authorization: {key}", "--checks", "all"),
        # Streams do not end, nor does that of a job nobody works on here (test_api_jobs follows one to its end).
        *("--exclude-path-regex", "(stream|job_id}/events)$"),
        # The rest is bounded by the number of examples, and the same in each run.
        *("--phases", "examples,coverage,fuzzing", "--max-examples", "3"),
        # One thread draws the examples. Hypothesis reads the source of its strategies' lambdas by ast.parse, the
        # depth of which the threads of a CPython 3.11 count together: two at once now and then raise SystemError
        # (gh-106905), and Hypothesis tells that as "inconsistent results". It was seen in 4 of 6 runs with two
        # threads that took turns every microsecond, and in none of 6 with one.
        *("--workers", "1", "--generation-deterministic", "--request-timeout", "20"),
        *("--continue-on-failure", "--no-color"),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=280)

    assert done.returncode == 0, done.stdout + done.stderr


def test_every_operation_is_explained_and_every_refusal_is_a_problem(schema: dict[str, Any]) -> None:
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            assert operation.get("summary"), f"{method} {path}"
            assert operation.get("description"), f"{method} {path}"
            assert operation["responses"]["default"]["content"].keys() == {"application/problem+json"}


def test_every_body_has_an_example_or_examples_of_its_fields(schema: dict[str, Any]) -> None:
    for name, described in schema["components"]["schemas"].items():
        if described.get("additionalProperties") is False:
            assert "examples" in str(described) or described["properties"], name


def test_nothing_internal_is_described(schema: dict[str, Any]) -> None:
    assert "vector" not in schema["components"]["schemas"]["Decision"]["properties"]
    assert "HTTPValidationError" not in schema["components"]["schemas"]

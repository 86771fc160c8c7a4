"""Every error of Kith has its answer over HTTP, and tells what to do about it."""

import pytest

from kith import errors
from kith.errors import JobRejected, KithError, Rejected, Retryable
from kith.outward import errors as outward
from producers.api.problems import Problem, of_error, unexpected


def leaves(kind: type[KithError]) -> list[type[KithError]]:
    below = kind.__subclasses__()
    return [kind] if not below else [leaf for each in below for leaf in leaves(each)]


LEAVES = [leaf for leaf in leaves(KithError) if leaf.__module__ in (errors.__name__, outward.__name__)]


@pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.__name__)
def test_each_is_a_client_s_fault_or_passes_as_its_root_says(kind: type[KithError]) -> None:
    problem = of_error(kind("why"))
    body = problem.body("r", "/v1/x")

    assert body["code"] == kind("").code
    assert body["detail"] == "why"
    assert len(body["remedy"]) > 10
    if issubclass(kind, Retryable):
        assert problem.status in (429, 503, 504)
        assert problem.status == 504 or problem.retry_s
    else:
        assert 400 <= problem.status < 500


def test_the_leaves_are_all_there() -> None:
    """The test above cannot quietly test nothing."""
    assert len(LEAVES) > 40
    assert {Retryable, Rejected} & set(LEAVES) == set()
    assert any(issubclass(each, JobRejected) for each in LEAVES)


def test_of_what_was_not_foreseen_nothing_is_told() -> None:
    body = unexpected(ValueError("/secret/path, password")).body("4bf9", "/v1/x")

    assert "secret" not in str(body)
    assert (body["status"], body["code"], body["request_id"]) == (500, "internal", "4bf9")


def test_retry_after_is_whole_seconds_and_never_none_at_all() -> None:
    answers = [Problem(429, "c", "d", retry_s=wait_s).response("r", "/") for wait_s in (0.001, 1.0, 1.2)]

    assert [each.headers["retry-after"] for each in answers] == ["1", "1", "2"]
    assert "retry-after" not in Problem(404, "c", "d").response("r", "/").headers

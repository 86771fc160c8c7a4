"""Problem details (RFC 9457) as the errors of Kith: who catches UnknownSubject here catches it over HTTP as well."""

import json
from collections.abc import Mapping
from functools import cache

from kith import amending, errors, ledger
from kith.errors import ApiRefused, ApiUnavailable, KithError, NoAnswerYet
from kith.outward import errors as outward

#: Longest pause that Retry-After is believed about.
_MOST_S = 3600.0


def refusal(status: int, body: bytes) -> KithError:
    """What an answer that is no success means. The message has the limit, the remedy and the request's id."""
    try:
        problem = json.loads(body)
    except (ValueError, RecursionError):
        problem = None
    if not isinstance(problem, Mapping) or "detail" not in problem:
        # A proxy, or no Kith at all.
        return _by_status(status)(f"the server answered {status}, and not as Kith does; check the address")
    said = [str(problem["detail"])]
    if problem.get("limit") is not None and str(problem["limit"]) not in said[0]:
        said.append(f"limit: {problem['limit']}")
    if problem.get("remedy"):
        said.append(str(problem["remedy"]))
    message = "; ".join(said) + f" (request {problem.get('request_id', 'unknown')})"
    code = str(problem.get("code", ""))
    known = _errors().get(code)
    if known is None:
        return _by_status(status)(f"{code}: {message}")
    return known(message)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that an answer asks to wait, None where it does not say. Dates are not read: Kith sends none."""
    said = headers.get("retry-after", "")
    return min(float(said), _MOST_S) if said.isascii() and said.isdigit() else None


@cache
def _errors() -> Mapping[str, type[KithError]]:
    named = (kind for module in (errors, amending, ledger, outward) for kind in vars(module).values())
    kinds = (kind for kind in named if isinstance(kind, type) and issubclass(kind, KithError))
    return {kind("").code: kind for kind in kinds}


def _by_status(status: int) -> type[KithError]:
    if status == 504:
        return NoAnswerYet
    return ApiUnavailable if status == 429 or status >= 500 else ApiRefused

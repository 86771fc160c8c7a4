"""MinIO's and urllib3's exceptions to ours, decided in one place."""

from xml.etree.ElementTree import ParseError

from minio.error import InvalidResponseError, MinioException, S3Error, ServerError
from urllib3.exceptions import (
    HTTPError,
    LocationParseError,
    LocationValueError,
    ProxySchemeUnknown,
    ProxySchemeUnsupported,
    URLSchemeUnknown,
)

from kith.errors import KithError, Misconfigured, MissingImage, StoreDenied, StoreUnavailable

#: Codes that pass by themselves although their HTTP status says the request was wrong (or says nothing).
_PASSING = {
    "BandwidthLimitExceeded",
    "InternalError",
    "OperationAborted",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "SlowDownRead",
    "SlowDownWrite",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
}

#: The address itself is wrong; no waiting makes it right.
_WRONG_ADDRESS = (LocationParseError, LocationValueError, ProxySchemeUnknown, ProxySchemeUnsupported, URLSchemeUnknown)


class NoBucket(StoreDenied):
    """The bucket does not exist: for everybody but the store, which may create it, one of the ways to be denied."""

    @property
    def code(self) -> str:
        return "store_denied"


def mapped(failure: Exception, where: str, key: str | None = None) -> KithError:
    """What any exception out of MinIO's client means to us; the one place where that is decided.

    The rule where nothing more is known: the store did not answer as a store, so StoreUnavailable. A job then waits
    and is tried again within its limits, which loses nothing.
    """
    if isinstance(failure, S3Error):
        return _mapped_s3(failure, where, key)
    if isinstance(failure, _WRONG_ADDRESS):
        return Misconfigured(f"store.endpoint cannot be used ({where}): {failure}")
    status = _status(failure)
    if status in (401, 403):
        return StoreDenied(f"{where} refused the credentials with HTTP {status}")
    if isinstance(failure, (MinioException, HTTPError, OSError, ParseError)):
        return StoreUnavailable(f"{where} cannot be reached: {_said(failure)}")
    return StoreUnavailable(f"{where} answered what its client does not understand: {_said(failure)}")


def _mapped_s3(failure: S3Error, where: str, key: str | None) -> KithError:
    code, status = failure.code or "", getattr(failure.response, "status", 0)
    if code in _PASSING or status in (408, 429) or status >= 500:
        return StoreUnavailable(f"{where} asks to come back later: {code or status}")
    if code == "NoSuchBucket":
        return NoBucket(f"{where}: the bucket does not exist; create it or set store.bucket")
    if key is not None and (code in ("NoSuchKey", "NoSuchObject") or status == 404):
        return MissingImage(f"{key} is not in {where}")
    remedy = (
        "set this machine's clock"
        if code == "RequestTimeTooSkewed"
        else "see store.access_key, store.secret_key, store.bucket"
    )
    return StoreDenied(f"{where} refused the request: {code or status} ({failure.message or 'no message'}); {remedy}")


def _status(failure: Exception) -> int | None:
    if isinstance(failure, ServerError):
        return int(failure.status_code)
    # No public name for it; a client that renames it leaves us with the catch-all.
    return getattr(failure, "_code", None) if isinstance(failure, InvalidResponseError) else None


def _said(failure: Exception) -> str:
    return f"{type(failure).__name__}: {str(failure)[:200]}"

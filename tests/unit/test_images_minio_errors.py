"""Every exception of MinIO's client and of urllib3 below it becomes one of Kith's, and only some are tried again."""

import http.client
import inspect
import io
import traceback
from typing import Any
from unittest.mock import Mock
from xml.etree import ElementTree

import minio.error
import pytest
import urllib3.exceptions
from pydantic import SecretStr

from kith.backends import images_minio
from kith.backends.images_minio import MinioImageStore
from kith.backends.minio_errors import mapped
from kith.errors import (
    CorruptImage,
    ImageTooLarge,
    KithError,
    Misconfigured,
    MissingImage,
    StoreDenied,
    StoreUnavailable,
)
from kith.imagestore import content_key
from kith.settings import Store

WHERE = "http://127.0.0.1:1/pics"
KEY = content_key(b"a picture")
SECRET = "very-secret-indeed"


def classes(module: Any) -> list[type[Exception]]:
    """All exceptions of a module and, since some are built from strings only, no warnings."""
    return [
        cls
        for _, cls in inspect.getmembers(module, inspect.isclass)
        if issubclass(cls, Exception) and not issubclass(cls, Warning)
    ]


def blank(cls: type[Exception]) -> Exception:
    """An instance whatever its constructor asks for."""
    if cls is urllib3.exceptions.IncompleteRead:
        return urllib3.exceptions.IncompleteRead(1, 2)
    if cls is http.client.IncompleteRead:
        return http.client.IncompleteRead(b"half", 2)
    if cls is urllib3.exceptions.InvalidChunkLength:
        response: Any = Mock(length_remaining=1, tell=lambda: 1)
        return urllib3.exceptions.InvalidChunkLength(response, b"zz")
    return cls.__new__(cls, "what it said")


def s3(code: str, status: int) -> minio.error.S3Error:
    response: Any = Mock(status=status)
    return minio.error.S3Error(response, code, "no luck", "/pics", "id", "host")


#: What is not simply "cannot be reached": the address is wrong, no waiting helps.
WRONG_ADDRESS = {
    urllib3.exceptions.LocationParseError,
    urllib3.exceptions.LocationValueError,
    urllib3.exceptions.ProxySchemeUnknown,
    urllib3.exceptions.ProxySchemeUnsupported,
    urllib3.exceptions.URLSchemeUnknown,
}


@pytest.mark.parametrize("cls", classes(urllib3.exceptions), ids=lambda cls: cls.__name__)
def test_every_exception_of_urllib3_is_mapped(cls: type[Exception]) -> None:
    expected = Misconfigured if cls in WRONG_ADDRESS else StoreUnavailable
    assert type(mapped(blank(cls), WHERE, KEY)) is expected


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (minio.error.MinioException("odd"), StoreUnavailable),
        (minio.error.MinioAdminException("500", "odd"), StoreUnavailable),
        (minio.error.ServerError("odd", 500), StoreUnavailable),
        (minio.error.ServerError("odd", 403), StoreDenied),
        (minio.error.InvalidResponseError(502, "text/html", "<html>"), StoreUnavailable),
        (minio.error.InvalidResponseError(200, "text/html", "<html>"), StoreUnavailable),
        (minio.error.InvalidResponseError(403, "text/html", "<html>"), StoreDenied),
        (minio.error.InvalidResponseError(401, None, None), StoreDenied),
        (s3("NoSuchKey", 404), MissingImage),
    ],
)
def test_every_exception_of_minio_is_mapped(failure: Exception, expected: type[KithError]) -> None:
    assert type(mapped(failure, WHERE, KEY)) is expected


def test_no_exception_of_minio_was_forgotten_above() -> None:
    assert {cls.__name__ for cls in classes(minio.error)} == {
        "InvalidResponseError",
        "MinioAdminException",
        "MinioException",
        "S3Error",
        "ServerError",
    }


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("AccessDenied", 403, StoreDenied),
        ("InvalidAccessKeyId", 403, StoreDenied),
        ("SignatureDoesNotMatch", 403, StoreDenied),
        ("ExpiredToken", 400, StoreDenied),
        ("RequestTimeTooSkewed", 403, StoreDenied),
        ("QuotaExceeded", 403, StoreDenied),
        ("MethodNotAllowed", 405, StoreDenied),
        ("NoSuchBucket", 404, StoreDenied),
        ("InvalidBucketName", 400, StoreDenied),
        ("SomethingNew", 400, StoreDenied),
        ("NoSuchKey", 404, MissingImage),
        ("SomethingNew", 404, MissingImage),
        ("SlowDown", 503, StoreUnavailable),
        ("SlowDown", 429, StoreUnavailable),
        ("RequestTimeout", 400, StoreUnavailable),
        ("InternalError", 500, StoreUnavailable),
        ("SomethingNew", 503, StoreUnavailable),
        ("SomethingNew", 429, StoreUnavailable),
        ("SomethingNew", 408, StoreUnavailable),
    ],
)
def test_what_s3_says_decides(code: str, status: int, expected: type[KithError]) -> None:
    error = mapped(s3(code, status), WHERE, KEY)
    assert isinstance(error, expected)
    assert WHERE in str(error)


def test_a_missing_bucket_is_denied_in_every_word_that_leaves_us() -> None:
    error = mapped(s3("NoSuchBucket", 404), WHERE)
    assert error.code == "store_denied"


def test_a_wrong_clock_is_named() -> None:
    assert "clock" in str(mapped(s3("RequestTimeTooSkewed", 403), WHERE))


@pytest.mark.parametrize(
    "failure",
    [
        OSError("reset"),
        TimeoutError(),
        ElementTree.ParseError("not XML"),
        ValueError("too many values to unpack"),
        KeyError("x"),
    ],
)
def test_whatever_else_comes_out_of_the_client_is_a_store_that_does_not_answer_as_one(failure: Exception) -> None:
    error = mapped(failure, WHERE, KEY)
    assert type(error) is StoreUnavailable
    assert type(failure).__name__ in str(error)


def store(monkeypatch: pytest.MonkeyPatch, **client: Any) -> tuple[MinioImageStore, list[float]]:
    """A store whose client is replaced by `client`'s methods, and the pauses it takes."""
    pauses: list[float] = []
    monkeypatch.setattr(images_minio.time, "sleep", pauses.append)
    settings = Store(kind="s3", access_key=SecretStr("us"), secret_key=SecretStr(SECRET), retries=3)
    made = MinioImageStore(settings, image_bytes=100)
    monkeypatch.setattr(made, "_client", Mock(spec=made._client, **client))
    return made, pauses


@pytest.mark.parametrize(
    "failure",
    [urllib3.exceptions.ProtocolError("gone"), s3("SlowDown", 503), s3("InternalError", 500), TimeoutError()],
)
def test_what_passes_by_itself_is_tried_again_with_growing_random_pauses(
    failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = Mock(side_effect=[failure, failure, failure, None])
    made, pauses = store(monkeypatch, put_object=put)
    monkeypatch.setattr(images_minio.random, "uniform", lambda low, high: high)
    assert made.put(b"a picture") == KEY
    assert pauses == [0.1, 0.2, 0.4]


def test_every_attempt_sends_all_the_bytes_in_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[bytes] = []

    def put(bucket: str, key: str, data: io.BytesIO, length: int, part_size: int) -> None:
        assert part_size >= length
        sent.append(data.read())
        if len(sent) == 1:
            raise urllib3.exceptions.ProtocolError("gone half-way")

    big = bytes(6 * 1024 * 1024)
    store(monkeypatch, put_object=put)[0].put(big)
    assert sent == [big, big]


def test_after_the_last_attempt_the_store_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    get = Mock(side_effect=s3("SlowDown", 503))
    made, pauses = store(monkeypatch, get_object=get)
    with pytest.raises(StoreUnavailable, match="SlowDown"):
        made.get(KEY)
    assert get.call_count == 4
    assert len(pauses) == 3
    assert all(0 <= pause <= 2 for pause in pauses)


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (s3("AccessDenied", 403), StoreDenied),
        (s3("NoSuchKey", 404), MissingImage),
        (urllib3.exceptions.LocationParseError("???"), Misconfigured),
    ],
)
def test_what_does_not_pass_by_itself_is_asked_once(
    failure: Exception, expected: type[KithError], monkeypatch: pytest.MonkeyPatch
) -> None:
    get = Mock(side_effect=failure)
    made, pauses = store(monkeypatch, get_object=get)
    with pytest.raises(expected):
        made.get(KEY)
    assert get.call_count == 1
    assert pauses == []


def test_a_bucket_that_may_not_be_created_is_denied_with_both_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = store(
        monkeypatch,
        put_object=Mock(side_effect=s3("NoSuchBucket", 404)),
        make_bucket=Mock(side_effect=s3("AccessDenied", 403)),
        bucket_exists=Mock(return_value=False),
    )
    with pytest.raises(StoreDenied, match=r"the bucket is missing and creating it was refused.*AccessDenied"):
        made.put(b"a picture")


def test_a_bucket_another_process_created_first_is_as_good(monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = store(
        monkeypatch,
        put_object=Mock(side_effect=[s3("NoSuchBucket", 404), None]),
        make_bucket=Mock(side_effect=s3("BucketAlreadyExists", 409)),
        bucket_exists=Mock(return_value=True),
    )
    assert made.put(b"a picture") == KEY


def response(data: bytes) -> Mock:
    return Mock(headers={"Content-Length": str(len(data))}, read=Mock(return_value=data))


def test_an_object_larger_than_an_image_may_be_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    huge = response(bytes(101))
    with pytest.raises(ImageTooLarge, match=r"limits\.image_bytes allows 100"):
        store(monkeypatch, get_object=Mock(return_value=huge))[0].get(KEY)
    huge.read.assert_not_called()
    huge.close.assert_called()


def test_bytes_that_are_not_the_keys_are_corrupt_and_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    get = Mock(return_value=response(b"another picture"))
    with pytest.raises(CorruptImage):
        store(monkeypatch, get_object=get)[0].get(KEY)
    assert get.call_count == 1


def test_the_secret_appears_in_no_repr_message_or_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = store(monkeypatch, get_object=Mock(side_effect=s3("AccessDenied", 403)))
    real = MinioImageStore(Store(kind="s3", access_key=SecretStr("us"), secret_key=SecretStr(SECRET)))
    credentials = real._client._provider.retrieve()  # type: ignore[union-attr]
    assert credentials.secret_key == SECRET
    with pytest.raises(StoreDenied) as caught:
        made.get(KEY)
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    for text in (repr(real), repr(credentials), str(caught.value), "".join(shown.format())):
        assert SECRET not in text


@pytest.mark.parametrize("endpoint", ["127.0.0.1:9000/path", "127.0.0.1:port"])
def test_an_address_that_cannot_be_one_is_misconfigured(endpoint: str) -> None:
    with pytest.raises(Misconfigured, match=r"store\.endpoint"):
        MinioImageStore(Store(kind="s3", endpoint=endpoint, access_key=SecretStr("us"), secret_key=SecretStr(SECRET)))

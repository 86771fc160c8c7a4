"""One contract for every image store: a directory and a real S3 server answer alike."""

import io
import os
import socket
import stat
import threading
import time
import urllib.error
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from kith.backends.images_directory import STALE_AFTER_S, DirectoryImageStore
from kith.backends.images_minio import MinioImageStore
from kith.errors import CorruptImage, EmptyImage, ImageTooLarge, MissingImage, StoreDenied, StoreUnavailable
from kith.imagestore import ImageStore
from kith.settings import Store
from tests.servers.radosgw import Radosgw

LIMIT_BYTES = 8_000_000

BAD_KEYS = [
    "",
    "..",
    "../../etc/passwd",
    "/etc/passwd",
    "ab/../../../etc/passwd",
    "incoming",
    "ab",
    "ab/" + "a" * 64,
    "ab/ab" + "c" * 61,
    "ab/ab" + "c" * 62 + "\n",
    "AB/AB" + "C" * 62,
    "ab/ab" + "c" * 62 + "/../x",
    "ab\\ab" + "c" * 62,
    "ab/ab" + "c" * 61 + "\0",
    "ab/ab" + "٣" * 62,
]


@pytest.fixture(params=["directory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ImageStore:
    if request.param == "directory":
        return DirectoryImageStore(tmp_path / "not yet" / "images", image_bytes=LIMIT_BYTES)
    return MinioImageStore(request.getfixturevalue("s3_store_settings"), image_bytes=LIMIT_BYTES)


def fresh(size: int = 3000) -> bytes:
    """Bytes no other test has stored."""
    return os.urandom(size)


def upload(url: str, data: bytes) -> int:
    """Put `data` there as somebody without credentials would."""
    if url.startswith("file:"):
        Path(unquote(urlsplit(url).path)).write_bytes(data)
        return 200
    request = urllib.request.Request(url, data=data, method="PUT")
    with urllib.request.urlopen(request, timeout=10) as response:
        return int(response.status)


def key_of(data: bytes) -> str:
    digest = sha256(data).hexdigest()
    return digest[:2] + "/" + digest


def test_what_was_put_comes_back_under_its_hash(store: ImageStore) -> None:
    data = fresh()
    key = store.put(data)
    assert key == key_of(data)
    assert store.get(key) == data


def test_the_same_bytes_twice_are_one_image(store: ImageStore) -> None:
    data = fresh()
    assert store.put(data) == store.put(data)
    assert store.delete(key_of(data)) is True
    assert store.exists(key_of(data)) is False


def test_zero_bytes_are_refused(store: ImageStore) -> None:
    with pytest.raises(EmptyImage):
        store.put(b"")
    assert store.exists(key_of(b"")) is False


def test_an_image_of_several_megabytes_goes_in_and_out(store: ImageStore) -> None:
    data = fresh(6_500_000)
    assert store.get(store.put(data)) == data


def test_an_image_nobody_put_is_missing(store: ImageStore) -> None:
    store.check()
    key = key_of(fresh())
    assert store.exists(key) is False
    assert store.delete(key) is False
    with pytest.raises(MissingImage, match=key):
        store.get(key)


def test_a_deleted_image_is_gone_and_others_stay(store: ImageStore) -> None:
    gone, kept = store.put(fresh()), store.put(fresh())
    assert store.exists(gone) is True
    assert store.delete(gone) is True
    assert store.delete(gone) is False
    assert store.exists(gone) is False
    assert store.exists(kept) is True


def test_check_makes_a_store_usable_and_may_be_repeated(store: ImageStore) -> None:
    store.check()
    store.check()
    assert store.get(store.put(b"after check")) == b"after check"


def test_an_uploaded_image_is_there(store: ImageStore) -> None:
    store.check()
    data = fresh()
    assert upload(store.upload_url(key_of(data)), data) == 200
    assert store.get(key_of(data)) == data


def test_an_upload_that_does_not_hash_to_its_key_is_corrupt_until_the_right_bytes_are_put(store: ImageStore) -> None:
    store.check()
    data = fresh()
    upload(store.upload_url(key_of(data)), data[:-1])
    assert store.exists(key_of(data)) is True
    with pytest.raises(CorruptImage, match="do not hash to it"):
        store.get(key_of(data))
    store.put(data)
    assert store.get(key_of(data)) == data


def test_an_upload_larger_than_an_image_may_be_is_not_read(store: ImageStore) -> None:
    store.check()
    key = key_of(fresh())
    upload(store.upload_url(key), bytes(LIMIT_BYTES + 1))
    with pytest.raises(ImageTooLarge, match=r"8,000,001 bytes, limits\.image_bytes allows 8,000,000"):
        store.get(key)


@pytest.fixture(params=["directory", "s3"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> ImageStore:
    """A store in which no other test has put anything."""
    if request.param == "directory":
        return DirectoryImageStore(tmp_path / "not yet" / "images")
    return MinioImageStore(request.getfixturevalue("radosgw").settings(new_bucket()))


def pages(store: ImageStore, prefix: str = "", limit: int = 3) -> list[str]:
    """The keys listed page by page, the last of each page leading to the next."""
    found: list[str] = []
    while page := store.listed(prefix, after=found[-1] if found else "", limit=limit):
        assert len(page) <= limit
        found += [each.key for each in page]
    return found


def test_nothing_is_listed_where_nothing_was_put(empty: ImageStore) -> None:
    assert empty.listed() == []
    empty.check()
    assert empty.listed() == []


def test_everything_is_listed_once_by_key_however_long_the_pages_are(empty: ImageStore) -> None:
    keys = sorted(empty.put(fresh(20)) for _ in range(11))
    for limit in (1, 3, 11, 1000):
        assert pages(empty, limit=limit) == keys, limit
    empty.delete(keys[4])
    assert pages(empty) == keys[:4] + keys[5:]
    # From a key that is no more as well.
    assert [each.key for each in empty.listed(after=keys[4])] == keys[5:]


def test_keys_are_listed_by_how_they_begin(empty: ImageStore) -> None:
    keys = sorted(empty.put(fresh(20)) for _ in range(40))
    for prefix in (keys[7][:1], keys[7][:2], keys[7][:3], keys[7][:6], keys[7]):
        assert pages(empty, prefix) == [key for key in keys if key.startswith(prefix)], prefix
    assert empty.listed("zz") == empty.listed(keys[7] + "0") == []


def test_a_listed_image_has_its_size_and_when_it_was_last_put(empty: ImageStore) -> None:
    before_ms = time.time() * 1000
    key = empty.put(b"twelve bytes")
    [first] = empty.listed()
    assert (first.key, first.size_bytes) == (key, 12)
    # S3 keeps whole seconds, or less.
    assert before_ms - 1000 <= first.stored_ms <= time.time() * 1000 + 1000
    time.sleep(1.1)
    empty.put(b"twelve bytes")
    assert empty.listed()[0].stored_ms >= first.stored_ms + 1000


@pytest.mark.parametrize("key", BAD_KEYS)
def test_what_is_not_a_key_reaches_nothing(key: str, store: ImageStore, tmp_path: Path) -> None:
    store.check()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(MissingImage):
        store.get(key)
    with pytest.raises(MissingImage):
        store.upload_url(key)
    assert store.exists(key) is False
    assert store.delete(key) is False
    assert sorted(tmp_path.rglob("*")) == before


def test_many_threads_put_the_same_and_read_it_whole(store: ImageStore) -> None:
    data = fresh(200_000)
    store.put(data)
    with ThreadPoolExecutor(8) as pool:
        puts = [pool.submit(store.put, data) for _ in range(24)]
        gets = [pool.submit(store.get, key_of(data)) for _ in range(24)]
    assert {put.result() for put in puts} == {key_of(data)}
    assert {sha256(get.result()).hexdigest() for get in gets} == {sha256(data).hexdigest()}


# What only S3 can do to us.


def new_bucket() -> str:
    return f"kith-{uuid.uuid4().hex[:12]}"


def test_a_wrong_secret_is_denied_by_every_call_and_not_shown(radosgw: Radosgw, s3_store_settings: Store) -> None:
    key = MinioImageStore(s3_store_settings).put(b"a picture")
    wrong = MinioImageStore(radosgw.settings(s3_store_settings.bucket, secret_key="a-wrong-secret"))
    calls = (
        lambda: wrong.put(b"a picture"),
        lambda: wrong.get(key),
        lambda: wrong.exists(key),
        lambda: wrong.delete(key),
        wrong.listed,
        wrong.check,
    )
    for call in calls:
        with pytest.raises(StoreDenied) as refused:
            call()
        assert "a-wrong-secret" not in str(refused.value)


def test_an_unknown_access_key_is_denied(radosgw: Radosgw) -> None:
    with pytest.raises(StoreDenied, match="InvalidAccessKeyId"):
        MinioImageStore(radosgw.settings(new_bucket(), access_key="nobody")).put(b"a picture")


def test_an_upload_signed_with_the_wrong_secret_or_too_long_ago_is_refused(
    radosgw: Radosgw, s3_store_settings: Store
) -> None:
    data = fresh()
    MinioImageStore(s3_store_settings).check()
    wrong = MinioImageStore(radosgw.settings(s3_store_settings.bucket, secret_key="wrong"))
    late = MinioImageStore(radosgw.settings(s3_store_settings.bucket, upload_expiry_s=1)).upload_url(key_of(data))
    time.sleep(2.1)
    for url in (wrong.upload_url(key_of(data)), late):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            upload(url, data)
    assert MinioImageStore(s3_store_settings).exists(key_of(data)) is False


def test_objects_of_others_in_the_bucket_are_passed_over(radosgw: Radosgw) -> None:
    settings = radosgw.settings(new_bucket())
    store = MinioImageStore(settings)
    keys = sorted(store.put(fresh(20)) for _ in range(5))
    for name in ("ab/notes.txt", "00", "backup/ab/" + "a" * 64, keys[0] + ".bak"):
        store._client.put_object(settings.bucket, name, io.BytesIO(b"x"), 1)
    assert pages(store, limit=2) == keys


def test_workers_that_start_together_on_a_missing_bucket_all_succeed(radosgw: Radosgw) -> None:
    settings = radosgw.settings(new_bucket())
    pictures = [fresh() for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        keys = list(pool.map(lambda data: MinioImageStore(settings).put(data), pictures))
    reader = MinioImageStore(settings)
    assert [reader.get(key) for key in keys] == pictures


def test_reading_from_a_bucket_that_does_not_exist_names_it(radosgw: Radosgw) -> None:
    settings = radosgw.settings(new_bucket())
    with pytest.raises(StoreDenied, match=settings.bucket):
        MinioImageStore(settings).get(key_of(b"a picture"))
    assert MinioImageStore(settings).exists(key_of(b"a picture")) is False


def test_a_gateway_that_is_away_is_unavailable_soon_and_works_again_when_it_is_back(
    radosgw: Radosgw, s3_store_settings: Store
) -> None:
    store = MinioImageStore(s3_store_settings)
    key = store.put(b"a picture")
    radosgw.stop()
    try:
        started = time.monotonic()
        calls = (lambda: store.get(key), lambda: store.put(b"x"), lambda: store.exists(key), store.listed, store.check)
        for call in calls:
            with pytest.raises(StoreUnavailable, match=str(radosgw.port)):
                call()
        # Each of three attempts, each refused at once, and pauses of at most 0.1 and 0.2 s.
        assert time.monotonic() - started < len(calls) * (0.1 + 0.2 + 0.7)
    finally:
        radosgw.start()
    assert store.get(key) == b"a picture"


def test_a_gateway_that_comes_back_between_two_attempts_is_not_noticed(radosgw: Radosgw) -> None:
    store = MinioImageStore(radosgw.settings(new_bucket(), retries=10))
    key = store.put(b"a picture")
    radosgw.stop()
    # The call waits in another thread and this one starts the server, which dies with the thread that started it.
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(store.get, key)
        time.sleep(0.2)
        radosgw.start()
        assert answer.result(30) == b"a picture"


def test_a_store_that_accepts_and_never_answers_is_given_up_after_its_timeouts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"127.0.0.1:{silent.getsockname()[1]}"
        store = MinioImageStore(
            Store(kind="s3", endpoint=endpoint, access_key="us", secret_key="them", timeout_s=0.3, retries=1)
        )
        started = time.monotonic()
        with pytest.raises(StoreUnavailable, match="ReadTimeout"):
            store.get(key_of(b"a picture"))
        assert 0.6 <= time.monotonic() - started < 2


def test_a_server_that_is_no_s3_server_but_says_ok_is_found_out_by_the_hash() -> None:
    with socket.create_server(("127.0.0.1", 0)) as odd:

        def answer() -> None:
            connection, _ = odd.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

        thread = threading.Thread(target=answer)
        thread.start()
        endpoint = f"127.0.0.1:{odd.getsockname()[1]}"
        store = MinioImageStore(Store(kind="s3", endpoint=endpoint, access_key="us", secret_key="them", retries=0))
        with pytest.raises(CorruptImage):
            store.get(key_of(b"a picture"))
        thread.join()


# What only a directory can do to us.


def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    store = DirectoryImageStore(tmp_path / "images")
    store.put(b"a picture")
    for path in (tmp_path / "images", *(tmp_path / "images").rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o600 if path.is_file() else 0o700)


def test_what_a_dead_writer_left_is_swept_and_a_living_one_is_not(tmp_path: Path) -> None:
    store = DirectoryImageStore(tmp_path)
    store.check()
    old, new = tmp_path / "incoming" / "old", tmp_path / "incoming" / "new"
    for path in (old, new):
        path.write_bytes(b"half a pic")
    os.utime(old, (0, time.time() - STALE_AFTER_S - 60))
    store.check()
    assert not old.exists()
    assert new.exists()


def test_half_written_files_and_files_of_others_are_not_listed(tmp_path: Path) -> None:
    store = DirectoryImageStore(tmp_path)
    key = store.put(b"a picture")
    (tmp_path / "incoming" / "half").write_bytes(b"half a pic")
    (tmp_path / key[:2] / "notes.txt").write_text("somebody's")
    (tmp_path / "ab").mkdir(exist_ok=True)
    (tmp_path / "zz").write_text("no folder")
    assert pages(store) == [key]


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = DirectoryImageStore(tmp_path)
    store.check()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(StoreUnavailable, match="No space left"):
        store.put(b"a picture")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_place_that_cannot_be_a_directory_is_unavailable_and_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = DirectoryImageStore(tmp_path / "file" / "images")
    for call in (
        store.check,
        lambda: store.put(b"x"),
        lambda: store.get(key_of(b"x")),
        lambda: store.exists(key_of(b"x")),
        store.listed,
    ):
        with pytest.raises(StoreUnavailable, match="file"):
            call()


def test_a_place_that_may_not_be_written_is_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = DirectoryImageStore(tmp_path / "images")

    # Not by mode bits: they do not bind root, as whom containers run tests.
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(StoreDenied, match="change its owner or mode"):
        store.check()
    with pytest.raises(StoreDenied):
        store.put(b"a picture")

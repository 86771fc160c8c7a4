"""Models over the network: whole, resumed, refused; against a real HTTP server on this machine."""

import hashlib
import io
import json
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kith.errors import InvalidPack, NameTaken, Rejected
from kith.manifest import EmbedderSpec
from kith.packs.catalogue import Entry, File
from kith.packs.downloading import Patience, fetch
from kith.packs.errors import DownloadFailed
from kith.packs.importing import Wish
from kith.packs.pulling import pull_entry, pull_url
from tests.onnx_models import embedder, scrfd

BODY = bytes(range(256)) * 1500
HASH = hashlib.sha256(BODY).hexdigest()
QUICK = Patience(timeout_s=5, attempts=3, backoff_s=0.01)


@dataclass
class Site:
    """What the server does. body: of /file; cut_after: bytes of one answer, then the connection is closed, for as many
    answers as there are numbers; busy: answers with 503 first; asked: the Range header of each request for a file."""

    body: bytes = BODY
    tag: str = '"v1"'
    ranges: bool = True
    cut_after: list[int] = field(default_factory=list)
    busy: int = 0
    says_length: bool = True
    asked: list[str | None] = field(default_factory=list)
    redirects: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        site = self.site
        if self.path in site.redirects:
            self.send_response(302)
            self.send_header("Location", site.redirects[self.path])
            self.end_headers()
            return
        body = site.body if self.path == "/file" else site.files.get(self.path)
        if body is None:
            self.send_error(404)
            return
        wanted = self.headers["Range"]
        site.asked.append(wanted)
        if site.busy:
            site.busy -= 1
            self.send_error(503)
            return
        start = 0
        if wanted and site.ranges and self.headers.get("If-Range", site.tag) == site.tag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        self.send_header("ETag", site.tag)
        if site.says_length:
            self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        part = body[start:]
        if site.cut_after:
            part = part[: site.cut_after.pop(0)]
        self.wfile.write(part)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OfThisTest", (Handler,), {"site": made}))
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "downloads" / "net.onnx"


class TestFetch:
    def test_a_file_arrives_whole_and_progress_is_told(self, site: Site, file: Path) -> None:
        told: list[tuple[int, int | None]] = []
        assert fetch(f"{site.url}/file", HASH, file, tell=lambda done, total: told.append((done, total))) == file
        assert file.read_bytes() == BODY
        assert told[-1] == (len(BODY), len(BODY))
        assert [done for done, _ in told] == sorted(done for done, _ in told)
        assert not file.with_name("net.onnx.part").exists()

    def test_what_is_there_already_is_not_asked_for_again(self, site: Site, file: Path) -> None:
        fetch(f"{site.url}/file", HASH, file)
        fetch(f"{site.url}/file", HASH, file)
        assert len(site.asked) == 1

    def test_a_cut_connection_is_resumed_at_once(self, site: Site, file: Path) -> None:
        site.cut_after = [100_000, 50_000]
        fetch(f"{site.url}/file", HASH, file, patience=QUICK)
        assert file.read_bytes() == BODY
        assert site.asked == [None, "bytes=100000-", "bytes=150000-"]

    def test_a_later_call_goes_on_where_an_earlier_one_gave_up(self, site: Site, file: Path) -> None:
        site.cut_after = [200_000]
        site.busy = 0
        with pytest.raises(DownloadFailed, match="200,000 bytes are kept, the same command goes on"):
            fetch(f"{site.url}/file", HASH, file, patience=Patience(attempts=1))
        fetch(f"{site.url}/file", HASH, file, patience=QUICK)
        assert site.asked == [None, "bytes=200000-"]
        assert file.read_bytes() == BODY

    def test_a_server_without_ranges_sends_all_again(self, site: Site, file: Path) -> None:
        site.cut_after, site.ranges = [100_000], False
        fetch(f"{site.url}/file", HASH, file, patience=QUICK)
        assert file.read_bytes() == BODY

    def test_a_file_that_changed_in_between_is_fetched_anew(self, site: Site, file: Path) -> None:
        site.body, site.tag, site.cut_after = b"old" * 100_000, '"v0"', [100_000]
        with pytest.raises(DownloadFailed):
            fetch(f"{site.url}/file", HASH, file, patience=Patience(attempts=1))
        site.body, site.tag = BODY, '"v1"'
        fetch(f"{site.url}/file", HASH, file, patience=QUICK)
        assert file.read_bytes() == BODY

    def test_a_part_that_is_whole_is_not_fetched_again(self, site: Site, file: Path) -> None:
        file.parent.mkdir()
        file.with_name("net.onnx.part").write_bytes(BODY)
        fetch(f"{site.url}/file", HASH, file, patience=QUICK)
        assert file.read_bytes() == BODY
        assert site.asked == [f"bytes={len(BODY)}-"]

    def test_a_part_longer_than_the_file_is_thrown_away(self, site: Site, file: Path) -> None:
        file.parent.mkdir()
        file.with_name("net.onnx.part").write_bytes(BODY + b"more")
        fetch(f"{site.url}/file", HASH, file, patience=QUICK)
        assert file.read_bytes() == BODY

    def test_another_hash_is_refused_and_nothing_is_kept(self, site: Site, file: Path) -> None:
        site.body = BODY[:-1] + b"!"
        with pytest.raises(InvalidPack, match=f"has SHA-256 .*, not {HASH} as pinned"):
            fetch(f"{site.url}/file", HASH, file)
        assert [each.name for each in file.parent.iterdir()] == ["net.onnx.part.lock"]

    def test_a_redirect_is_followed_with_the_range(self, site: Site, file: Path) -> None:
        site.redirects["/latest"] = "/file"
        site.cut_after = [100_000]
        fetch(f"{site.url}/latest", HASH, file, patience=QUICK)
        assert file.read_bytes() == BODY
        assert site.asked == [None, "bytes=100000-"]

    @pytest.mark.parametrize("target", ["ftp://127.0.0.1/file", "file:///etc/passwd", "http://192.0.2.1/file"])
    def test_a_redirect_to_anything_but_https_is_refused(self, site: Site, file: Path, target: str) -> None:
        site.redirects["/latest"] = target
        with pytest.raises(Rejected, match=r"over https only|is not allowed"):
            fetch(f"{site.url}/latest", HASH, file, patience=QUICK)

    @pytest.mark.parametrize(
        "url", ["http://example.org/a", "ftp://example.org/a", "file:///etc/passwd", "net.onnx", "http://"]
    )
    def test_so_is_such_an_address(self, file: Path, url: str) -> None:
        with pytest.raises(Rejected, match="https only"):
            fetch(url, HASH, file)

    def test_an_address_with_nothing_there_is_said_at_once(self, site: Site, file: Path) -> None:
        with pytest.raises(Rejected, match="answers 404 Not Found; is the address right"):
            fetch(f"{site.url}/nothing", HASH, file, patience=Patience(backoff_s=60))

    def test_a_server_that_is_busy_is_asked_again(self, site: Site, file: Path) -> None:
        site.busy = 2
        fetch(f"{site.url}/file", HASH, file, patience=QUICK)
        site.busy, site.asked = 5, []
        with pytest.raises(DownloadFailed, match="answers 503"):
            fetch(f"{site.url}/file", HASH, file.with_name("other"), patience=QUICK)
        assert len(site.asked) == 3

    def test_nobody_listening_is_a_failure_that_may_pass(self, file: Path) -> None:
        with pytest.raises(DownloadFailed, match="cannot be fetched"):
            fetch("http://127.0.0.1:9/file", HASH, file, patience=QUICK)

    @pytest.mark.parametrize("says_length", [True, False])
    def test_a_file_beyond_the_limit_is_given_up(self, site: Site, file: Path, says_length: bool) -> None:
        site.says_length = says_length
        with pytest.raises(InvalidPack, match="the limit is 100,000; nothing was kept"):
            fetch(f"{site.url}/file", HASH, file, limit=100_000, patience=QUICK)
        assert not file.with_name("net.onnx.part").exists()

    def test_two_at_once_do_not_mix_their_bytes(self, site: Site, file: Path) -> None:
        def second(_done: int, _total: int | None) -> None:
            with pytest.raises(DownloadFailed, match="another command is downloading"):
                fetch(f"{site.url}/file", HASH, file)

        fetch(f"{site.url}/file", HASH, file, tell=second)
        assert file.read_bytes() == BODY


def archive(**networks: bytes) -> bytes:
    """A .zip in InsightFace's format."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as opened:
        for name, data in networks.items():
            opened.writestr(f"{name}.onnx", data)
    return made.getvalue()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class TestPull:
    def test_an_archive_becomes_a_pack_and_leaves_no_download(self, site: Site, tmp_path: Path) -> None:
        data = archive(det_500m=scrfd(), w600k_mbf=embedder(8))
        site.files["/buffalo_sc.zip"] = data
        found = pull_url(f"{site.url}/buffalo_sc.zip", sha256(data), tmp_path, Wish(), patience=QUICK)
        assert found.pack.path == tmp_path / "packs" / "buffalo_sc"
        assert [each.name for each in (tmp_path / "packs").rglob("*") if each.is_file()] != []
        assert list((tmp_path / "packs" / ".downloads").iterdir()) == []

    def entry(self, site: Site) -> Entry:
        data = embedder(8)
        site.files["/net.onnx"] = data
        file = File("net.onnx", f"{site.url}/net.onnx", sha256(data), len(data), "a test")
        spec = EmbedderSpec(format="onnx", file="net.onnx", sha256="0" * 64, dimension=8)
        return Entry("listed", "MIT", "a test", "net (onnx)", 8, None, (file,), spec)

    def test_an_entry_is_imported_by_its_conventions_under_its_name(self, site: Site, tmp_path: Path) -> None:
        told: list[tuple[str, int, int | None]] = []
        entry = self.entry(site)
        found = pull_entry(entry, tmp_path, Wish(), lambda *progress: told.append(progress), QUICK)
        assert found.pack.path == tmp_path / "packs" / "listed"
        assert found.pack.manifest.licence == "MIT"
        assert told[-1] == ("net.onnx", entry.files[0].size, entry.files[0].size)

    def test_a_name_that_is_taken_is_said_before_anything_is_downloaded(self, site: Site, tmp_path: Path) -> None:
        entry = self.entry(site)
        pull_entry(entry, tmp_path, Wish(), patience=QUICK)
        site.asked.clear()
        with pytest.raises(NameTaken):
            pull_entry(entry, tmp_path, Wish(), patience=QUICK)
        assert site.asked == []
        pull_entry(entry, tmp_path, Wish(replace=True), patience=QUICK)

    def test_a_file_larger_than_listed_is_not_read_to_its_end(self, site: Site, tmp_path: Path) -> None:
        entry = self.entry(site)
        site.files["/net.onnx"] += b"more"
        with pytest.raises(InvalidPack, match="the limit is"):
            pull_entry(entry, tmp_path, Wish(), patience=QUICK)
        assert not (tmp_path / "packs" / "listed").exists()

    def test_a_network_nobody_knows_is_kept_for_an_import_that_names_it(self, site: Site, tmp_path: Path) -> None:
        data = embedder(8)
        site.files["/net.onnx"] = data
        with pytest.raises(Rejected, match=r"--channels.*is kept: kith models import (\S+)") as refused:
            pull_url(f"{site.url}/net.onnx", sha256(data), tmp_path, Wish(), patience=QUICK)
        kept = str(refused.value).split("kith models import ")[1].split()[0]
        assert Path(kept).read_bytes() == data


class TestCommand:
    def kith(self, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [Path(sys.executable).with_name("kith"), "--home", home, "models", *arguments]
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)

    def test_the_terms_come_first_and_nobody_is_taken_to_have_agreed(self, site: Site, tmp_path: Path) -> None:
        refused = self.kith(tmp_path, "pull", "buffalo_sc")
        assert refused.returncode == 2
        assert "RESEARCH ONLY: non-commercial research only" in refused.stderr
        assert "add --yes" in refused.stderr
        assert self.kith(tmp_path, "pull", f"{site.url}/file", "--yes").returncode == 2, "an address needs its hash"
        unknown = self.kith(tmp_path, "pull", "nothing-known")
        assert unknown.returncode == 2
        assert "opencv-sface" in unknown.stderr

    def test_a_model_is_pulled_listed_verified_and_shown(self, site: Site, tmp_path: Path) -> None:
        data = archive(det_500m=scrfd(), w600k_mbf=embedder(8))
        site.files["/tiny.zip"] = data
        pulled = self.kith(tmp_path, "pull", f"{site.url}/tiny.zip", "--sha256", sha256(data), "--yes")
        assert pulled.returncode == 0, pulled.stderr
        listed = [json.loads(line) for line in self.kith(tmp_path, "list", "--json").stdout.splitlines()]
        [tiny] = [each for each in listed if each["name"] == "tiny"]
        assert tiny["where"] == "imported"
        verified = self.kith(tmp_path, "verify", "tiny")
        assert verified.returncode == 0, verified.stderr
        assert verified.stdout.splitlines()[-1] == f"{tiny['model_id']} OK"
        assert "embedder.dimension = 8" in self.kith(tmp_path, "show", "tiny").stdout
        (tmp_path / "packs" / "tiny" / "w600k_mbf.onnx").write_bytes(embedder(8, seed=1))
        broken = self.kith(tmp_path, "verify", "tiny")
        assert broken.returncode == 78
        assert "w600k_mbf.onnx has SHA-256" in broken.stderr

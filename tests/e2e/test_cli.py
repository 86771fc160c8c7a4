"""Every command as a process, against a system as `kith up` starts it."""

import hashlib
import json
import os
import pty
import signal
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis

from kith.client import Client
from kith.jobs import Content, Kind, Lane
from kith.settings import load
from kith.stack import local_settings
from tests.e2e.conftest import KITH, Kith, picture, processes_of, published, shown_on, wait_for


@pytest.fixture(scope="module")
def client(kith: Kith) -> Iterator[Client]:
    with Client.open(local_settings(load(), kith.home)) as client:
        yield client


@pytest.fixture
def gallery(client: Client, tmp_path: Path) -> str:
    """A gallery of Ada (person 1, two shots) and Grace (person 2)."""
    name = f"g{uuid.uuid4().hex[:10]}"
    people = [("Ada", picture(tmp_path / f"enrol/ada{shot}.png", 1, shot)) for shot in range(2)]
    people += [("Grace", picture(tmp_path / "enrol/grace.png", 2))]
    images = [client.intake.put(path.read_bytes(), subject=who, label=path.name) for who, path in people]
    client.ask(client.intake.job(Kind.ENROL, images, gallery=name, content=Content.ALIGNED), 60)
    return name


def test_somebody_enrolled_is_recognised_and_a_stranger_is_nobody_we_know(
    kith: Kith, gallery: str, tmp_path: Path
) -> None:
    ada, stranger = picture(tmp_path / "ada.png", 1, 7), picture(tmp_path / "who.png", 9)
    enrolled = kith("enrol", "-g", gallery, "--aligned", "Mary Jackson", picture(tmp_path / "mary.png", 3))
    assert "Mary Jackson enrolled (quality " in enrolled.out
    known = kith("identify", "-g", gallery, "--aligned", ada)
    assert known.out.startswith(f"{ada}: Ada (score ")
    both = kith("identify", "-g", gallery, "--aligned", "--json", ada, stranger, status=3).lines
    assert [each["outcome"] for each in both] == ["match", "unknown"]
    assert both[0]["face"]["subject"] == "Ada"
    assert "subject" not in both[1]["face"]
    assert "nobody we know (score" in kith("identify", "-g", gallery, "--aligned", stranger, status=3).out
    assert kith("verify", "-g", gallery, "--aligned", "Ada", ada).out.startswith(f"{ada}: Ada (score")
    assert f"{ada}: not Grace (score" in kith("verify", "-g", gallery, "--aligned", "Grace", ada, status=3).out


def test_an_unusable_image_is_refused_alone_and_the_others_are_answered(
    kith: Kith, gallery: str, tmp_path: Path
) -> None:
    ada, empty, text = picture(tmp_path / "ada.png", 1, 7), tmp_path / "empty.png", tmp_path / "text.jpg"
    empty.touch()
    text.write_text("Dear Sir or Madam")
    answers = kith(
        "identify", "-g", gallery, "--aligned", "--json", empty, text, tmp_path / "gone.jpg", ada, status=1
    ).lines
    assert [(each["outcome"], each.get("reason", "").partition(":")[0]) for each in answers] == [
        ("rejected", "empty_image"),
        ("rejected", "not_an_image"),
        ("rejected", "unreadable"),
        ("match", ""),
    ]
    human = kith("enrol", "-g", gallery, "--aligned", "Ada", empty, ada, status=1)
    assert "empty.png: not sent: empty_image" in human.err
    assert "Ada enrolled" in human.out


def test_errors_are_one_line_with_a_status_that_tells_what_to_do(
    kith: Kith, gallery: str, pack: Path, tmp_path: Path
) -> None:
    ada = picture(tmp_path / "ada.png", 1)
    unknown = kith("verify", "-g", gallery, "Nobody", ada, status=1)
    assert unknown.err.startswith("kith: ")
    assert unknown.err.count("\n") == 1
    assert kith("identify", "-g", "nowhere", ada, status=1).err.startswith("kith: ")
    assert "control character" in kith("enrol", "a\x07b", ada, status=1).err
    elsewhere = kith("--home", tmp_path / "empty", "status", status=69)
    assert elsewhere.err == f"kith: nothing runs in {tmp_path / 'empty'}; start it with `kith up`\n"
    assert "does not exist" in kith("--config", tmp_path / "no.toml", "status", status=78).err
    assert "kith up` runs in" in kith("up", status=78).err, "a second stack in the same home"
    assert "/dev/null/home" in kith("--home", "/dev/null/home", "up", "--pack", pack, status=1).err
    assert kith("nonsense", status=2).out == ""
    debug = subprocess.run(
        [KITH, "--debug", "subjects", "list", "-g", "x"], env=kith.environment(), capture_output=True, check=False
    )
    assert b"Traceback" in debug.stderr


def test_a_name_of_three_hundred_characters_is_refused_with_the_limit_and_the_remedy(
    kith: Kith, gallery: str, tmp_path: Path
) -> None:
    ada = picture(tmp_path / "ada.png", 1)
    long = "n" * 300
    for command in (["enrol", "-g", gallery, long, ada], ["subjects", "rename", "-g", gallery, "Ada", long]):
        refused = kith(*command, status=1)
        said = f"the subject name {long[:20]!r}… has 300 characters, the limit is 200; shorten it"
        assert (refused.out, refused.err) == ("", f"kith: {said}\n")
    assert [each["name"] for each in kith("subjects", "list", "-g", gallery, "--json").lines] == ["Ada", "Grace"]


def test_a_folder_is_submitted_once_decided_and_summed_up(
    kith: Kith, gallery: str, client: Client, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    for number in range(40):
        picture(folder / f"{number:02}.png", 1 if number < 10 else 50 + number, number)
    (folder / "empty.jpg").touch()
    (folder / "text.jpg").write_text("no image")
    summary = kith("submit", folder, "-g", gallery, "--aligned", "--json", status=1).json
    assert summary["outcomes"] == {"match": 10, "unknown": 30, "rejected": 1}
    assert (summary["images"], summary["handed_in"], summary["decided"]) == (42, 41, 41)
    assert list(summary["not_handed_in"]) == ["empty.jpg"]
    assert list(summary["not_done"]) == ["text.jpg"]
    (folder / "empty.jpg").unlink()
    (folder / "text.jpg").unlink()
    picture(folder / "new.png", 2, 3)
    again = kith("submit", folder, "-g", gallery, "--aligned", status=1)
    assert "1 images handed in, 41 before" in again.out
    assert "42 decided: 30 unknown, 11 match, 1 rejected" in again.out
    assert "  text.jpg: not_an_image: " in again.out
    counts = published(client, gallery)
    assert all(counts[f"{number:02}.png"] == 1 for number in range(40))
    assert (counts["text.jpg"], counts["new.png"], counts["empty.jpg"]) == (1, 1, 0)


def test_people_are_enrolled_from_a_folder_of_folders(kith: Kith, tmp_path: Path) -> None:
    name = f"g{uuid.uuid4().hex[:10]}"
    for person in range(5):
        for shot in range(3):
            picture(tmp_path / f"staff/Person {person}/{shot}.png", 100 + person, shot)
    picture(tmp_path / "staff/stray.png", 1)
    summary = kith("submit", tmp_path / "staff", "-g", name, "--enrol", "--aligned", "--json", status=1).json
    assert summary["outcomes"] == {"enrolled": 15}
    assert list(summary["not_handed_in"]) == ["stray.png"]
    subjects = kith("subjects", "list", "-g", name, "--json").lines
    assert [(each["name"], each["templates"]) for each in subjects] == [(f"Person {n}", 3) for n in range(5)]


def test_a_submission_killed_again_and_again_neither_loses_nor_repeats_an_image(
    kith: Kith, gallery: str, client: Client, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    for number in range(400):
        picture(folder / f"{number:03}.png", number)
    command = ("submit", folder, "-g", gallery, "--aligned", "--no-wait")
    # One image a job: the more often it writes, the more places there are to be killed at.
    # Killed between the ledger and the broker, a job waits for the sweeper: not for half a minute here.
    small = {"KITH_JOBS__IMAGES_PER_JOB": "1", "KITH_JOBS__RESEND_AFTER_S": "1"}
    records = kith.home / "submissions"
    before = set(records.glob("*.jsonl")) if records.exists() else set()

    def written() -> int:
        return sum(len(path.read_bytes().splitlines()) for path in set(records.glob("*.jsonl")) - before)

    kills = 0
    for share in (50, 200, 420):
        with kith.start(*command, **small) as running:
            wait_for(
                lambda share=share, running=running: written() > share or running.process.poll() is not None,  # type: ignore[misc]
                f"{share} lines of record",
            )
            running.process.kill()
            kills += running.process.wait() == -signal.SIGKILL
        # Whoever comes while it is down shifts every later group.
        picture(folder / f"{share:03}a.png", 5000 + share)
    assert kills >= 2, "too fast to be killed in the middle: make the folder larger"
    summary = kith("submit", folder, "-g", gallery, "--aligned", "--json", **small).json
    assert summary["decided"] == summary["images"] == 403
    counts = published(client, gallery)
    wanted = {path.name for path in folder.iterdir()}
    assert {label: counts[label] for label in wanted} == dict.fromkeys(wanted, 1)


def test_on_a_terminal_a_submission_shows_bars(kith: Kith, gallery: str, tmp_path: Path) -> None:
    for number in range(20):
        picture(tmp_path / f"photos/{number}.png", number)
    ours, theirs = pty.openpty()
    command = [KITH, "submit", tmp_path / "photos", "-g", gallery, "--aligned"]
    environment = kith.environment(TERM="xterm-256color")
    done = subprocess.run(
        command,
        env=environment,
        stdin=theirs,
        stderr=theirs,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(theirs)
    shown = shown_on(ours)
    assert done.returncode == 0, shown
    assert b"handed in" in shown
    assert b"20/20" in shown
    assert "20 decided" in done.stdout


def test_results_are_read_from_any_point_and_shared_within_a_group(kith: Kith, gallery: str, tmp_path: Path) -> None:
    everything = kith("results", "-g", gallery, "--json").lines
    assert [each["face"]["subject"] for each in everything] == ["Ada", "Ada", "Grace"]
    after_first = kith("results", "-g", gallery, "--json", "--from", everything[0]["entry"]).lines
    assert after_first == everything[1:]
    assert "Grace enrolled" in kith("results", "-g", gallery).out
    group = ("results", "--group", f"readers-{gallery}", "-g", gallery, "--json")
    assert kith(*group).lines == everything
    assert kith(*group).lines == [], "they were acknowledged"


def test_following_prints_what_comes_and_ends_with_ctrl_c(kith: Kith, gallery: str, tmp_path: Path) -> None:
    with kith.start("results", "--follow", "-g", gallery, "--json") as follower:
        # Following starts at "now": a look that found nothing yet means that it has started.
        wait_for(lambda: psutil.Process(follower.process.pid).net_connections("unix"), "a connection")
        # From the connection to the first look it is one command; a busy machine takes its time over it.
        time.sleep(2)
        kith("identify", "-g", gallery, "--aligned", picture(tmp_path / "ada.png", 1, 4))
        follower.until('"match"')
        assert follower.end() == 0
    assert len(follower.lines) == 1
    assert json.loads(follower.lines[0])["face"]["subject"] == "Ada"


def test_subjects_are_listed_shown_renamed_and_forgotten(kith: Kith, gallery: str) -> None:
    listed = kith("subjects", "list", "-g", gallery, "--json").lines
    assert [(each["name"], each["templates"]) for each in listed] == [("Ada", 2), ("Grace", 1)]
    assert "Grace" in kith("subjects", "list", "-g", gallery).out
    renamed = kith("subjects", "rename", "-g", gallery, "Ada", "Ada Lovelace", "--json").json
    assert (renamed["old"], renamed["new"]) == ("Ada", "Ada Lovelace")
    detail = kith("subjects", "show", "-g", gallery, "Ada Lovelace", "--json").json
    assert (detail["subject_id"], len(detail["templates"])) == (listed[0]["subject_id"], 2)
    assert "Ada Lovelace  (id " in kith("subjects", "show", "-g", gallery, "Ada Lovelace").out
    kith("subjects", "rename", "-g", gallery, "Ada Lovelace", "Grace", status=1)
    assert "add --yes" in kith("forget", "-g", gallery, "Grace", status=2).err
    forgotten = kith("forget", "-g", gallery, "Grace", "--yes", "--json").json
    assert {each["kind"]: each["count"] for each in forgotten["erased"]}["vectors"] == 1
    assert (forgotten["subject_id"], forgotten["silent"]) == (listed[1]["subject_id"], [])
    assert "genuine" in kith("receipts", "verify", forgotten["file"]).out
    assert kith("forget", "--check", forgotten["file"]).out.startswith("nothing is left")
    kith("subjects", "show", "-g", gallery, "Grace", status=1)


def test_a_correction_is_previewed_on_what_was_decided_and_made_afterwards(
    kith: Kith, gallery: str, tmp_path: Path
) -> None:
    kith("identify", "-g", gallery, "--aligned", picture(tmp_path / "seen.png", 1, 4))
    before = kith("gallery", "show", gallery, "--json").json
    effect = kith("gallery", "merge", gallery, "Ada", "Grace", "--preview", "--json").json["preview"]
    assert (effect["looked_at"], effect["open"]) == (1, [])
    [changed] = effect["changed"]
    assert (changed["before"], changed["after"]) == ("Ada", "Grace")
    assert kith("gallery", "show", gallery, "--json").json == before
    kith("gallery", "merge", gallery, "Ada", "Grace")
    answer = kith("identify", "-g", gallery, "--aligned", tmp_path / "seen.png", "--json").json
    assert answer["face"]["subject"] == "Grace"
    undone = kith("gallery", "undo", gallery, str(before["sequence"] + 1), "--preview").out
    assert "1 would be answered otherwise" in undone or "1 may be" in undone


def test_pictures_are_found_that_nothing_refers_to(kith: Kith, gallery: str, client: Client) -> None:
    key = client.store.put(b"of a job that was never accepted")
    assert "pictures of" in kith("images", "unused").out
    assert kith("images", "unused", "--json").lines == []
    # By the time the store tells: nothing here has been put more than a week ago.
    os.utime(client.settings.store.directory.expanduser() / key, (0, 0))
    assert [each["key"] for each in kith("images", "unused", "--json").lines] == [key]
    assert "1 pictures are deleted" in kith("images", "unused", "--remove", "--yes").out
    assert not client.store.exists(key)
    assert kith("audit", "--action", "deleted", "--json").lines


def test_status_shows_lanes_workers_with_their_model_and_galleries(kith: Kith, gallery: str) -> None:
    status = kith("status", "--json").json
    assert set(status["lanes"]) == {"live", "interactive", "bulk", "publish"}
    assert Counter(beat["role"] for beat in status["workers"]) == {"embed": 1, "publish": 1, "upkeep": 1, "watch": 1}
    [embed] = [beat for beat in status["workers"] if beat["role"] == "embed"]
    assert (embed["model_name"], embed["runtime"]) == ("simulated", "simulated")
    assert {"batch_size", "batch_fill", "rss_mb"} <= set(embed)
    [mine] = [each for each in status["galleries"] if each["name"] == gallery]
    assert (mine["subjects"], mine["templates"]) == (2, 3)
    assert kith("gallery", "list", "--json").lines == status["galleries"]
    assert gallery in kith("gallery", "list").out
    human = kith("status").out
    assert "simulated" in human
    assert gallery in human
    assert "open jobs" in human


def test_dead_letters_are_listed_shown_retried_and_dropped(kith: Kith, gallery: str, client: Client) -> None:
    # A message from a newer version: what no worker of this one can do. The ledger never accepted it, so it is filed
    # under its content and not under the id it claims.
    payload = json.dumps({"wire": 99, "job_id": "from-the-future", "lane": "interactive"})
    dead_id = f"unreadable-{hashlib.sha256(payload.encode()).hexdigest()[:16]}"
    client.queue.send(payload, Lane.INTERACTIVE)
    wait_for(lambda: client.ledger.dead_letter(dead_id), "a dead letter")
    [listed] = [each for each in kith("dead", "list", "--json").lines if each["dead_id"] == dead_id]
    assert listed["code"] == "unknown_wire_version"
    assert dead_id in kith("dead", "list").out
    shown = kith("dead", "show", dead_id, "--json").json
    assert shown["job"] == json.loads(payload)
    assert '"wire": 99' in kith("dead", "show", dead_id).out
    assert kith("dead", "retry", dead_id, "--json").json == {"retried": 1, "missing": []}
    wait_for(lambda: client.ledger.dead_letter(dead_id), "it to be dead again")
    assert "1 dropped" in kith("dead", "drop", dead_id).out
    kith("dead", "show", dead_id, status=1)
    assert kith("dead", "drop", dead_id, "--json", status=1).json == {
        "dropped": 0,
        "missing": [dead_id],
    }


def test_config_shows_every_setting_in_force(kith: Kith) -> None:
    shown = kith("config", "show", "--json", KITH_JOBS__MAX_OPEN="77").json
    assert shown["jobs"]["max_open"] == 77
    assert shown["home"] == str(kith.home)
    assert shown["redis"]["url"].startswith("unix://")
    assert "jobs.max_open = 77\n" in kith("config", "show", KITH_JOBS__MAX_OPEN="77").out


def test_a_reader_that_goes_away_early_does_not_make_noise(kith: Kith, gallery: str) -> None:
    piped = subprocess.run(
        f"{KITH} results --json | head -n 1",
        shell=True,
        executable="/bin/bash",
        env=kith.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert piped.returncode == 0
    assert piped.stdout.count("\n") == 1
    assert "Traceback" not in piped.stderr


def test_up_says_what_runs_and_where_and_sigterm_ends_all_of_it(kith: Kith, pack: Path, tmp_path: Path) -> None:
    with kith.start("up", "--home", tmp_path / "h", "--pack", pack, "--publish", "2") as up:
        up.until("Ctrl-C ends it")
        shown = "\n".join(up.lines)
        for part in (
            str(tmp_path / "h"),
            "valkey",
            "embed-1",
            "publish-2",
            "upkeep",
            "watch",
            str(pack),
            "licence: none: there are no weights",
        ):
            assert part in shown
        assert len(processes_of(tmp_path / "h")) >= 7
        assert up.end(signal.SIGTERM) == 0
    assert processes_of(tmp_path / "h") == []


def test_up_tells_a_program_what_runs_what_happens_to_it_and_its_end(kith: Kith, pack: Path, tmp_path: Path) -> None:
    with kith.start("up", "--home", tmp_path / "h", "--pack", pack, "--json") as up:
        up.until('"event":"up"')
        event = json.loads(up.lines[-1])
        assert event["model"]["licence"] == "none: there are no weights"
        assert [each["name"] for each in event["workers"]] == ["api-1", "embed-1", "publish-1", "upkeep", "watch"]
        os.kill(event["valkey"]["pid"], signal.SIGKILL)
        up.until("valkey ended")
        assert up.end() == 0
    events = [json.loads(line)["event"] for line in up.lines]
    assert (events[:2], events[-1]) == (["up", "notice"], "stopped")


def test_up_interrupted_while_it_starts_leaves_nothing(kith: Kith, pack: Path, tmp_path: Path) -> None:
    with kith.start("up", "--home", tmp_path / "h", "--pack", pack) as up:
        wait_for((tmp_path / "h" / "logs" / "embed-1.log").exists, "a worker")
        assert up.end() == 0
    assert processes_of(tmp_path / "h") == []


def test_up_with_a_pack_that_is_none_says_so(kith: Kith, tmp_path: Path) -> None:
    (tmp_path / "pack").mkdir()
    failed = kith("up", "--home", tmp_path / "h", "--pack", tmp_path / "pack", status=78)
    assert failed.err.startswith(f"kith: {tmp_path / 'pack'} has no manifest.json")
    assert processes_of(tmp_path / "h") == []


def test_valkey_is_the_real_one(kith: Kith) -> None:
    with redis.Redis.from_url(local_settings(load(), kith.home).redis.url.get_secret_value()) as server:
        assert server.info("server")["server_name"] == "valkey"


def test_completion_is_offered() -> None:
    asked = {"_KITH_COMPLETE": "complete_bash", "COMP_WORDS": "kith ide", "COMP_CWORD": "1"}
    shown = subprocess.run([KITH], env=asked, capture_output=True, text=True, check=False).stdout
    assert shown.split() == ["identify"]

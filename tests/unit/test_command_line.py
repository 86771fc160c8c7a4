"""What the command line says and how it ends, as far as that needs no running system."""

import inspect
import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from kith import cli, errors
from kith.checkpoints import simulated_pack
from kith.cli import results
from kith.cli.config import masked
from kith.cli.exits import MEANINGS, Exit, exit_of
from kith.cli.terminal import printable
from kith.cli.up import with_pack
from kith.cli.wording import age_of, verdict_of
from kith.errors import InvalidPack, KithError, Misconfigured, Rejected, Retryable, StateUnavailable
from kith.installation import check_running, settings_of
from kith.jobs import Decision, Face, Kind, Lane, Outcome, Quality
from kith.results import Entry
from kith.settings import Settings, load


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("KITH_REDIS__URL", "KITH_CONFIG", "KITH_MODEL__PACK", "KITH_SHARED_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KITH_HOME", str(tmp_path / "home"))


def leaves() -> list[type[KithError]]:
    found = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, KithError)]
    return [each for each in found if not each.__subclasses__()]


def test_every_error_ends_with_the_status_of_its_kind() -> None:
    expected = {each: exit_of(each()) for each in leaves()}
    for each, status in expected.items():
        if each in (Misconfigured, InvalidPack):
            assert status == 78
        elif issubclass(each, Retryable):
            assert status == 69, each
        else:
            assert issubclass(each, Rejected)
            assert status == 1, each


def test_help_documents_every_exit_status_and_every_command() -> None:
    shown = CliRunner().invoke(cli.app, ["--help"], env={"COLUMNS": "200"}).output
    assert set(MEANINGS) == set(Exit)
    for code, meaning in MEANINGS.items():
        assert f"{code.value}  {meaning}" in shown
    faces, system = ["enrol", "identify", "verify", "submit"], ["up", "demo", "status", "dead", "config"]
    for command in [*faces, *system, "results", "subjects", "gallery"]:
        assert f"│ {command} " in shown
        assert CliRunner().invoke(cli.app, [command, "--help"]).exit_code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["results", "--from", "yesterday"],
        ["results", "--from", "1-"],
        ["results", "--consumer", "me"],
        ["dead", "drop"],
        ["dead", "retry", "--all", "x"],
        ["submit", "/no/such/folder"],
        ["submit", "/tmp", "--lane", "fast"],
        ["identify"],
        ["nonsense"],
    ],
)
def test_a_wrong_command_line_ends_with_status_2(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    # Nobody listens there and nobody is asked: what is wrong shows before any connection.
    monkeypatch.setenv("KITH_REDIS__URL", "redis://127.0.0.1:1/0")
    assert CliRunner().invoke(cli.app, arguments).exit_code == 2


def test_a_folder_under_the_home_directory_is_found_though_no_shell_says_where_that_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KITH_SHARED_DATA", str(tmp_path / "none"))
    monkeypatch.setattr("kith.cli.up.default_pack", lambda: None)
    for person in ("ada", "bob"):
        (tmp_path / "photos" / person).mkdir(parents=True)
        for name in ("1.jpg", "2.jpg"):
            (tmp_path / "photos" / person / name).touch()
    demo = CliRunner().invoke(cli.app, ["demo", "--faces=~/photos"])
    assert "no model pack is named" in str(demo.exception)
    submit = CliRunner().invoke(cli.app, ["submit", "~/photos"])
    assert isinstance(submit.exception, StateUnavailable), submit.output


def test_two_readers_of_a_group_share_no_name_unless_they_are_given_one(monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []

    class Results:
        def join(self, *_: object) -> None: ...

        def take(self, _group: str, consumer: str, **_options: object) -> list[Entry]:
            names.append(consumer)
            return []

    client = SimpleNamespace(results=Results())
    monkeypatch.setattr(results, "client_for", lambda _: nullcontext(client))
    for more in ([], [], ["--consumer", "me"], ["--consumer", "me"]):
        assert CliRunner().invoke(cli.app, ["results", "--group", "doors", *more]).exit_code == 0
    assert len(set(names[:2])) == 2, "two that share one would both get what either holds"
    assert names[2:] == ["me", "me"]


def decision(outcome: Outcome, kind: Kind = Kind.IDENTIFY, **parts: object) -> Decision:
    return Decision(
        decision_id="j:0",
        job_id="j",
        index=0,
        kind=kind,
        gallery="g",
        lane=Lane.BULK,
        image="key",
        outcome=outcome,
        created_ms=1,
        decided_ms=2,
        **parts,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (
            decision(Outcome.MATCH, face=Face(Outcome.MATCH, score=0.617, subject="Ada", nearest="Ada"), cutoff=0.45),
            "Ada (score 0.62, a match needs 0.45)",
        ),
        (
            decision(Outcome.UNKNOWN, face=Face(Outcome.UNKNOWN, score=0.2, nearest="Ada"), cutoff=0.45),
            "nobody we know (score 0.20, a match needs 0.45)",
        ),
        (decision(Outcome.UNKNOWN, face=Face(Outcome.UNKNOWN)), "nobody we know (nobody is enrolled)"),
        (
            decision(Outcome.UNKNOWN, Kind.VERIFY, face=Face(Outcome.UNKNOWN, score=0.2, nearest="Ada"), cutoff=0.45),
            "not Ada (score 0.20, a match needs 0.45)",
        ),
        (decision(Outcome.NO_FACE, reason="no_face: nothing there"), "no_face: nothing there"),
        (decision(Outcome.EXPIRED), "expired"),
        (
            decision(
                Outcome.ENROLLED,
                Kind.ENROL,
                face=Face(Outcome.ENROLLED, subject="Ada", quality=Quality(0.8, 1, 1, 1, 1)),
                gallery_version=7,
            ),
            "Ada enrolled (quality 0.80, change 7)",
        ),
    ],
)
def test_a_decision_in_words_names_somebody_only_where_it_knows_them(made: Decision, words: str) -> None:
    assert verdict_of(made) == words


def test_ages_are_said_in_one_unit() -> None:
    assert [age_of(ms) for ms in (-5, 900, 59_999, 60_000, 7_300_000, 200_000_000)] == [
        *("0 s", "0 s", "59 s", "1 min", "2 h", "2 d")
    ]


def test_a_name_from_outside_cannot_move_the_cursor_or_turn_the_text() -> None:
    assert printable("a\x1b[2Jb\u202egpj.exe\udcff") == "a\\x1b[2Jb\\x202egpj.exe\\xdcff"
    assert printable("José 👩‍👩‍👧 Ада\n") == "José 👩‍👩‍👧 Ада\n"


def test_secrets_are_masked_and_the_rest_of_a_url_is_not() -> None:
    settings = Settings.model_validate(
        {
            "redis": {"url": "rediss://me:hunter2@db.example:6380/1?password=hunter2&db=1"},
            "broker": {"url": "amqp://guest:hunter2@mq//"},
            "store": {"kind": "s3", "access_key": "hunter2", "secret_key": "hunter2"},
        }
    )
    shown = masked(settings)
    assert "hunter2" not in json.dumps(shown)
    assert shown["redis"]["url"] == "rediss://me:********@db.example:6380/1?db=1"
    assert shown["broker"]["url"] == "amqp://guest:********@mq//"
    assert (shown["store"]["access_key"], shown["store"]["bucket"]) == ("********", "kith-images")
    assert shown["worker"]["lanes"] == ["live", "interactive", "bulk"]
    assert masked(load())["redis"]["url"] == "redis://127.0.0.1:6379/0"


def test_without_a_named_redis_the_stack_in_home_is_meant(tmp_path: Path) -> None:
    settings = settings_of()
    assert settings.redis.url.get_secret_value() == f"unix://{tmp_path}/home/valkey/valkey.sock?db=0"
    assert settings.store.directory == tmp_path / "home" / "images"
    with pytest.raises(StateUnavailable, match="start it with `kith up`"):
        check_running(settings)


@pytest.mark.parametrize("url", ["redis://127.0.0.1:6379/0", "redis://elsewhere:6379/0"])
def test_a_named_redis_is_meant_even_when_it_repeats_the_default(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "kith.toml"
    config.write_text(f'[redis]\nurl = "{url}"\n')
    assert settings_of(config).redis.url.get_secret_value() == url
    monkeypatch.setenv("KITH_REDIS__URL", url)
    assert settings_of().redis.url.get_secret_value() == url
    assert settings_of(home=tmp_path).redis.url.get_secret_value().startswith("unix://"), "--home was typed, it wins"


def test_a_redis_named_in_a_file_under_the_home_directory_or_as_a_secret_is_meant(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "k.toml").write_text('[redis]\nurl = "redis://elsewhere:6379/0"\n')
    with monkeypatch.context() as named:
        named.setenv("KITH_CONFIG", "~/k.toml")
        assert settings_of().redis.url.get_secret_value() == "redis://elsewhere:6379/0"
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/KITH_REDIS__URL").write_text("redis://127.0.0.1:6379/0\n")
    monkeypatch.setenv("KITH_SECRETS_DIR", str(tmp_path / "secrets"))
    assert settings_of().redis.url.get_secret_value() == "redis://127.0.0.1:6379/0"


def test_another_knob_of_redis_does_not_name_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KITH_REDIS__TIMEOUT_S", "3")
    settings = settings_of()
    assert settings.redis.url.get_secret_value().startswith("unix://")
    assert settings.redis.timeout_s == 3


def test_the_model_pack_is_the_named_one_or_a_clear_line_says_how_to_name_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KITH_SHARED_DATA", str(tmp_path / "none"))
    monkeypatch.setattr("kith.cli.up.default_pack", lambda: None)
    with pytest.raises(Misconfigured, match="--pack"):
        with_pack(load(), None)
    with pytest.raises(Misconfigured, match="is not a folder"):
        with_pack(load(), tmp_path / "nowhere")
    configured = load(model={"pack": tmp_path})
    assert with_pack(configured, None).model.pack == tmp_path
    (tmp_path / "other").mkdir()
    assert with_pack(configured, tmp_path / "other").model.pack == tmp_path / "other"


def test_where_no_pack_is_named_the_shipped_one_is_used_before_the_development_weights(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "data" / "weights").mkdir(parents=True)
    (tmp_path / "shipped").mkdir()
    monkeypatch.setenv("KITH_SHARED_DATA", str(tmp_path / "data"))
    monkeypatch.setattr("kith.cli.up.default_pack", lambda: None)
    assert with_pack(load(), None).model.pack == tmp_path / "data" / "weights"
    monkeypatch.setattr("kith.cli.up.default_pack", lambda: tmp_path / "shipped")
    assert with_pack(load(), None).model.pack == tmp_path / "shipped"


def test_a_pack_is_named_by_what_it_is_called_in_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pack = simulated_pack(tmp_path / "home" / "packs" / "mine").path
    assert with_pack(load(), Path("mine")).model.pack == pack
    monkeypatch.setenv("KITH_MODEL__PACK", "mine")
    assert with_pack(load(), None).model.pack == pack
    with pytest.raises(Misconfigured, match=r"no model pack is called theirs.*packs here: .*mine"):
        with_pack(load(), Path("theirs"))

"""Settings: one page that explains them all, one order of places, errors that say where to look, and no secret told."""

import logging
import os
import re
import string
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr, ValidationError

from kith.errors import Misconfigured
from kith.jobs import Lane
from kith.settings import Settings, Store, as_environment, load

SECRETS = (
    *("redis.url", "broker.url", "store.access_key", "store.secret_key", "security.keys"),
    *("mqtt.password", "frigate.url", "frigate.password"),
)


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _kith_variables():
        monkeypatch.delenv(name)


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Path]:
    """A configuration file with this text."""

    def write(text: str) -> Path:
        file = tmp_path / "kith.toml"
        file.write_text(text)
        return file

    return write


@pytest.fixture
def secret_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """A directory of secrets, as a container finds it."""

    def write(**files: str) -> Path:
        directory = tmp_path / "secrets"
        directory.mkdir(exist_ok=True)
        for name, text in files.items():
            (directory / name).write_text(text)
        monkeypatch.setenv("KITH_SECRETS_DIR", str(directory))
        return directory

    return write


class TestDefaultToml:
    def test_it_says_exactly_the_defaults(self, repository: Path) -> None:
        assert load(repository / "config" / "default.toml") == Settings()

    def test_no_knob_is_missing_from_it_and_none_is_in_it_that_does_not_exist(self, repository: Path) -> None:
        text = (repository / "config" / "default.toml").read_text()

        assert _names_in(text) == sorted(knob for knob, _ in _knobs(Settings()))

    def test_only_knobs_without_a_default_are_commented_out(self, repository: Path) -> None:
        written = tomllib.loads((repository / "config" / "default.toml").read_text())
        given_knobs = {
            name if not isinstance(value, dict) else f"{name}.{part}"
            for name, value in written.items()
            for part in (value if isinstance(value, dict) else [None])
        }

        assert given_knobs == {knob for knob, value in _knobs(Settings()) if value is not None}

    def test_examples_that_stand_commented_out_work_when_they_are_let_in(
        self, repository: Path, written: Callable[[str], Path]
    ) -> None:
        text = (repository / "config" / "default.toml").read_text()

        loaded = load(written(re.sub(r"^# (?=[a-z_]+ = )", "", text, flags=re.M)))

        assert all(value is not None for _, value in _knobs(loaded))

    def test_every_knob_is_explained(self, repository: Path) -> None:
        """A comment stands above it, or above the knobs that directly precede it."""
        explained = False
        for line in (repository / "config" / "default.toml").read_text().splitlines():
            if not line.strip() or line.startswith("["):
                explained = False
            elif line.startswith("#"):
                explained = True
            else:
                assert explained, f"nobody says why: {line}"


class TestOrder:
    def test_environment_beats_secrets_beat_file_beats_default(
        self, written: Callable[[str], Path], secret_files: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = written('[store]\nregion = "file"\nbucket = "file"\nendpoint = "file"')
        secret_files(KITH_STORE__REGION="secret", KITH_STORE__BUCKET="secret")
        monkeypatch.setenv("KITH_STORE__REGION", "environment")

        store = load(file).store

        assert (store.region, store.bucket, store.endpoint, store.retries) == ("environment", "secret", "file", 3)

    def test_one_variable_leaves_the_rest_of_its_section_alone(
        self, written: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("KITH_JOBS__MAX_RETRIES", "3")

        jobs = load(written("[jobs]\nmax_deliveries = 4")).jobs

        assert (jobs.max_retries, jobs.max_deliveries, jobs.images_per_job) == (3, 4, 16)

    def test_overrides_in_code_beat_everything(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KITH_STORE__BUCKET", "environment")

        assert load(store=Store(bucket="code")).store.bucket == "code"

    def test_the_file_named_by_the_caller_beats_the_one_in_the_environment(
        self, written: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("KITH_CONFIG", str(tmp_path / "absent.toml"))

        assert load(written("[batch]\nsize = 7")).batch.size == 7

    def test_an_empty_variable_counts_as_not_set(
        self, written: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("KITH_MODEL__PACK", "KITH_BROKER__URL", "KITH_CONFIG", "KITH_SECRETS_DIR", "KITH_BATCH__SIZE"):
            monkeypatch.setenv(name, "")

        assert load() == Settings()

    def test_the_environment_is_read_when_asked_and_the_defaults_do_not_know_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("KITH_BATCH__SIZE", "9")

        assert (load().batch.size, Settings().batch.size) == (9, 0)

    @pytest.mark.parametrize("text", ["live,bulk", " live , bulk ", '["live", "bulk"]'])
    def test_lanes_in_a_variable_are_a_list_with_commas_or_json(
        self, text: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("KITH_WORKER__LANES", text)

        assert load().worker.lanes == (Lane.LIVE, Lane.BULK)


class TestSecretFiles:
    def test_every_secret_can_be_a_file_named_like_its_variable(self, secret_files: Callable[..., Path]) -> None:
        secret_files(
            KITH_REDIS__URL="rediss://:one@state/0\n",
            KITH_BROKER__URL="amqp://kith:two@broker//\n",
            KITH_STORE__ACCESS_KEY="three\n",
            KITH_STORE__SECRET_KEY="four\n",
            KITH_SECURITY__KEYS="five\n",
        )

        loaded = load()

        assert loaded.redis.url.get_secret_value() == "rediss://:one@state/0"
        assert loaded.broker_url == "amqp://kith:two@broker//"
        assert loaded.store.access_key.get_secret_value() == "three"
        assert loaded.store.secret_key.get_secret_value() == "four"
        assert loaded.security.keys.get_secret_value() == "five"

    def test_other_programs_secrets_beside_ours_are_not_even_opened(
        self, secret_files: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        directory = secret_files(KITH_BATCH__SIZE="3")
        (directory / "rabbitmq.conf").write_bytes(b"\xff\xfe not text")
        # As Kubernetes mounts them: data in a hidden directory, links beside it.
        (directory / "..data").mkdir()

        assert load().batch.size == 3

    def test_a_directory_that_is_not_there_is_an_error(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KITH_SECRETS_DIR", str(tmp_path / "absent"))

        with pytest.raises(Misconfigured, match=r"KITH_SECRETS_DIR: .*absent cannot be read"):
            load()

    def test_a_secret_that_is_no_text_is_an_error_without_its_bytes(self, secret_files: Callable[..., Path]) -> None:
        directory = secret_files()
        (directory / "KITH_STORE__SECRET_KEY").write_bytes(b"hunter2\xff")

        with pytest.raises(Misconfigured, match="not text in UTF-8") as refused:
            load()
        assert "hunter2" not in str(refused.value)


class TestErrors:
    def test_a_bad_value_names_the_knob_its_origin_and_where_to_set_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KITH_BATCH__SIZE", "many")

        with pytest.raises(Misconfigured) as refused:
            load()
        message = str(refused.value)
        assert message.startswith("batch.size: ")
        assert "as the variable KITH_BATCH__SIZE says" in message
        assert "(set KITH_BATCH__SIZE)" in message

    def test_a_bad_value_in_a_file_names_the_file(self, written: Callable[[str], Path]) -> None:
        file = written("[jobs]\nimages_per_job = 65")

        with pytest.raises(Misconfigured) as refused:
            load(file)
        message = str(refused.value)
        assert message.startswith("jobs.images_per_job: ")
        assert f"as {file} says" in message
        assert f"set KITH_JOBS__IMAGES_PER_JOB, or jobs.images_per_job in {file}" in message

    def test_the_place_that_won_is_blamed_not_the_one_that_lost(
        self, written: Callable[[str], Path], secret_files: Callable[..., Path]
    ) -> None:
        directory = secret_files(KITH_BATCH__SIZE="-1")

        with pytest.raises(Misconfigured, match=f"as the file {directory}/KITH_BATCH__SIZE says"):
            load(written("[batch]\nsize = 8"))

    @pytest.mark.parametrize(
        ("variable", "meant"),
        [
            ("KITH_BATCH__SIZ", "batch.size"),
            ("KITH_BATHC__SIZE", "batch.size"),
            ("KITH_STORE__SECRET", "store.secret_key"),
        ],
    )
    def test_a_misspelt_variable_is_refused_with_the_name_that_was_meant(
        self, variable: str, meant: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(variable, "8")

        with pytest.raises(Misconfigured, match=f"there is no such setting.*did you mean {re.escape(meant)}"):
            load()

    def test_variables_that_kubernetes_makes_of_a_service_named_kith_are_not_ours(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, text in {"KITH_PORT": "tcp://10.0.0.1:80", "KITH_SERVICE_HOST": "10.0.0.1"}.items():
            monkeypatch.setenv(name, text)

        assert load() == Settings()

    def test_a_misspelt_line_of_a_file_is_refused(self, written: Callable[[str], Path]) -> None:
        with pytest.raises(Misconfigured, match=r"batch\.windows_ms: there is no such setting, as .*kith\.toml says"):
            load(written("[batch]\nwindows_ms = 5"))

    def test_s3_without_keys_says_what_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KITH_STORE__KIND", "s3")

        with pytest.raises(Misconfigured, match=r"^store: kind = 's3' needs access_key and secret_key.*KITH_STORE__…"):
            load()

    def test_a_wrong_lane_is_set_with_the_list_it_stands_in(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KITH_WORKER__LANES", "live,fast")

        with pytest.raises(Misconfigured, match=r"^worker\.lanes: .*set KITH_WORKER__LANES\)"):
            load()

    @pytest.mark.parametrize("text", ["", "[batch\nsize = 1", "\x00"])
    def test_a_section_that_is_no_section_or_a_broken_file_is_one_line(
        self, text: str, written: Callable[[str], Path]
    ) -> None:
        with pytest.raises(Misconfigured) as refused:
            load(written(text or "batch = 3"))
        assert "kith.toml" in str(refused.value)
        assert "\n" not in str(refused.value)

    def test_a_file_that_is_not_there_is_an_error_not_the_defaults(self, tmp_path: Path) -> None:
        with pytest.raises(Misconfigured, match=r"absent\.toml does not exist"):
            load(tmp_path / "absent.toml")

    @pytest.mark.parametrize(
        ("variable", "value"),
        [
            ("KITH_REDIS__URL", "hunter2"),
            ("KITH_BROKER__URL", "kafka://me:hunter2@broker"),
            ("KITH_REDIS__TIMEOUT_S", "inf"),
            ("KITH_REDIS__PREFIX", "Kith Rules"),
            ("KITH_GALLERY__DEFAULT", "../etc"),
            ("KITH_WORKER__LANES", "[]"),
            ("KITH_DECISIONS__CUTOFF", "nan"),
            ("KITH_DECISIONS__MARGIN", "2.1"),
            ("KITH_LIMITS__IMAGE_BYTES", "0"),
        ],
    )
    def test_what_cannot_work_is_refused_at_once_and_not_repeated(
        self, variable: str, value: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(variable, value)

        with pytest.raises(Misconfigured, match=variable) as refused:
            load()
        assert "hunter2" not in str(refused.value)


class TestSecrecy:
    def _secretive(self) -> Settings:
        return Settings.model_validate(
            {
                "redis": {"url": "redis://:hunter2@state/0"},
                "broker": {"url": "amqp://kith:hunter2@broker//"},
                "store": {"access_key": "hunter2-id", "secret_key": "hunter2"},
                "security": {"keys": "door:hunter2"},
                "mqtt": {"password": "hunter2"},
                "frigate": {"url": "http://kith:hunter2@frigate:5000", "password": "hunter2"},
            }
        )

    def test_no_way_of_printing_settings_shows_a_secret(self, caplog: pytest.LogCaptureFixture) -> None:
        settings = self._secretive()
        logging.getLogger("test").warning("%s %r %s", settings, settings, settings.model_dump())
        shown = [repr(settings), str(settings), f"{settings.store}", settings.model_dump_json(), caplog.text]

        assert not [text for text in shown if "hunter2" in text]
        assert "amqp://kith:hunter2@broker//" in as_environment(settings).values()

    def test_an_error_about_settings_made_in_code_does_not_show_them_either(self) -> None:
        with pytest.raises(ValidationError) as refused:
            Store.model_validate({"kind": "S3", "secret_key": "hunter2", "nonsense": "hunter2"})
        assert "hunter2" not in str(refused.value)

    def test_every_setting_that_may_hold_a_secret_is_one(self) -> None:
        masked = {knob for knob, value in _knobs(self._secretive()) if isinstance(value, SecretStr)}

        assert masked == set(SECRETS)


class TestFrozen:
    @pytest.mark.parametrize(("section", "knob"), [(None, "home"), ("store", "kind"), ("worker", "lanes")])
    def test_nothing_can_be_changed_after_loading(self, section: str | None, knob: str) -> None:
        settings = load()

        with pytest.raises(ValidationError, match="frozen"):
            setattr(getattr(settings, section) if section else settings, knob, "other")


class TestBrokerUrl:
    @pytest.mark.parametrize(
        ("redis", "broker", "expected"),
        [
            ("redis://h/1", None, "redis://h/1"),
            ("unix:///run/v.sock?db=1", None, "redis+socket:///run/v.sock?db=1"),
            ("redis://h/1", "amqp://u:p@h//", "amqp://u:p@h//"),
        ],
    )
    def test_it_is_the_state_in_kombus_words_unless_another_is_named(
        self, redis: str, broker: str | None, expected: str
    ) -> None:
        settings = Settings.model_validate({"redis": {"url": redis}, "broker": {"url": broker}})

        assert settings.broker_url == expected


#: What may stand in a variable and still mean something: no NUL, no surrogate, no outer space (secrets are stripped).
_texts = st.text(string.ascii_letters + string.digits + "äß😀 =#'\"$\\%:/@", min_size=1, max_size=30)
_settings = st.fixed_dictionaries(
    {},
    optional={
        "home": _texts.map(lambda text: f"/{text}"),
        "redis": st.builds(lambda text: {"url": f"redis://:{text}@host/0"}, _texts),
        "broker": st.one_of(st.just({}), st.builds(lambda text: {"url": f"amqp://u:{text}@host//"}, _texts)),
        "store": st.fixed_dictionaries(
            {"bucket": _texts, "secret_key": _texts, "access_key": st.one_of(_texts, st.just(""))},
            optional={"tls": st.booleans(), "timeout_s": st.floats(1e-6, 1e6)},
        ),
        "model": st.fixed_dictionaries({}, optional={"pack": _texts, "device": st.sampled_from(["cpu", "cuda"])}),
        "worker": st.builds(
            lambda lanes: {"lanes": lanes}, st.lists(st.sampled_from(list(Lane)), min_size=1, unique=True)
        ),
        "decisions": st.fixed_dictionaries({}, optional={"cutoff": st.floats(-1, 1), "margin": st.floats(0, 2)}),
        "jobs": st.builds(lambda n: {"max_open": n}, st.integers(1, 10**12)),
    },
)


class TestAsEnvironment:
    @given(_settings)
    def test_a_child_loads_what_its_parent_had_whatever_else_surrounds_it(self, values: dict[str, Any]) -> None:
        settings = Settings.model_validate(values)
        surroundings = {
            "KITH_CONFIG": "/absent.toml",
            "KITH_SECRETS_DIR": "/absent",
            "KITH_DECISIONS__CUTOFF": "0.1",
            "KITH_BATCH__SIZE": "3",
        }
        with pytest.MonkeyPatch.context() as environment:
            for name, text in (surroundings | as_environment(settings)).items():
                environment.setenv(name, text)

            assert load() == settings

    def test_it_names_every_knob(self) -> None:
        expected = {f"KITH_{knob.replace('.', '__').upper()}" for knob, _ in _knobs(Settings())}

        assert set(as_environment(Settings())) == expected | {"KITH_CONFIG", "KITH_SECRETS_DIR"}


def _kith_variables() -> list[str]:
    return [name for name in os.environ if name.upper().startswith("KITH_")]


def _knobs(settings: Settings) -> Iterator[tuple[str, Any]]:
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            yield from ((f"{name}.{part}", getattr(value, part)) for part in type(value).model_fields)
        else:
            yield name, value


def _names_in(toml: str) -> list[str]:
    """Every knob a file sets, commented out or not, as `section.name`."""
    section, names = "", []
    for line in toml.splitlines():
        if header := re.fullmatch(r"\[(\w+)\]", line):
            section = f"{header[1]}."
        elif line_of := re.match(r"(?:# )?([a-z_]+) = ", line):
            names.append(section + line_of[1])
    return sorted(names)

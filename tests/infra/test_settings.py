"""What an operator writes is what runs, and a slip of the pen stops the start with one clear line."""

from __future__ import annotations

import shlex
from pathlib import Path

import msgspec
import pytest

from adapters.log.settings import Sealing
from adapters.storage.settings import S3
from api.settings import DEVELOPMENT_LIMIT, Rates
from commands.settings import Service
from domain.sections import Secret, Url, variable
from infra.settings import (
    Settings,
    SettingsError,
    markdown,
    read_settings,
    require_all,
    sections,
    settings_fields,
    shown,
    unknown_variables,
    with_table,
)

README = Path(__file__).parents[2] / "README.md"

COMPLETE = {
    "LEDGERLINE_POSTGRES_URL": "postgresql://ledgerline:hunter2@db/ledgerline",
    "LEDGERLINE_NATS_URL": "nats://ledgerline:hunter2@nats:4222",
    "LEDGERLINE_S3_URL": "http://s3:9000",
    "LEDGERLINE_S3_ACCESS_KEY": "key",
    "LEDGERLINE_S3_SECRET_KEY": "hunter2",
    "LEDGERLINE_SECRET_KEY": "hunter2" * 5,
}


def test_an_empty_environment_means_the_documented_defaults() -> None:
    assert read_settings({}) == Settings()
    assert (Service().env, Service().host, Service().port) == ("production", "127.0.0.1", 8000)
    assert Settings().value("rate_limit_per_minute") == 60
    assert Settings().value("demo_limit_per_hour") == 5
    assert Settings().value("upload_bytes_max") == 50 * 1024 * 1024


def test_every_kind_of_value_is_read() -> None:
    settings = read_settings(
        {
            "LEDGERLINE_PORT": "9000",
            "LEDGERLINE_EMAIL_VERIFICATION_REQUIRED": "true",
            "LEDGERLINE_LEASE_SECONDS": "2.5",
            "LEDGERLINE_OUTBOUND_ALLOW": "127.0.0.1, git.example.com:8443,[::1]:80",
            "LEDGERLINE_WEBHOOK_RETRY_SECONDS": "1, 2.5",
            "LEDGERLINE_MONTHLY_ANALYSIS_LIMITS": "free=3, pro=40",
            "LEDGERLINE_DATA_DIR": "~/music",
            "LEDGERLINE_S3_SECRET_KEY": "a,b=c",
        }
    )
    assert settings.value("port") == 9000
    assert settings.value("email_verification_required") is True
    assert settings.value("lease_seconds") == 2.5
    assert settings.value("outbound_allow") == ("127.0.0.1", "git.example.com:8443", "[::1]:80")
    assert settings.value("webhook_retry_seconds") == (1, 2.5)
    assert settings.value("monthly_analysis_limits") == {"free": 3, "pro": 40}
    assert settings.value("data_dir") == Path.home() / "music"
    assert settings[S3].s3_secret_key.reveal() == "a,b=c"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("PORT", "http", "a whole number from 0 to 65535, not 'http'"),
        ("PORT", "65536", "a whole number from 0 to 65535"),
        ("ENV", "staging", "development or production, not 'staging'"),
        ("EMAIL_VERIFICATION_REQUIRED", "perhaps", "true or false"),
        ("LEASE_SECONDS", "0", "a number above 0"),
        ("LEASE_SECONDS", "inf", "a finite number"),
        ("S3_BUCKET", "ab", "a text of 3 to 63 characters"),
        ("MONTHLY_ANALYSIS_LIMITS", "free", "a list like name=number"),
        ("MONTHLY_ANALYSIS_LIMITS", "free=-1", "at least 0"),
        ("WEBHOOK_RETRY_SECONDS", "5,soon", "numbers of at least 0 with commas between"),
        ("WEBHOOK_RETRY_SECONDS", "-5", "at least 0"),
        ("OUTBOUND_ALLOW", "http://git", "hosts or host:port"),
        ("OUTBOUND_ALLOW", "git:port", "hosts or host:port"),
        ("POSTGRES_URL", "mysql://db", "postgresql or postgres://"),
        ("NATS_URL", "nats://a:4222,b", "nats or tls"),
        ("SECRET_KEY", "short", "at least 32 characters"),
        ("WEBHOOK_JITTER", "2", "a number from 0 to 1"),
        ("ANALYSIS_MEMORY_BYTES_MAX", "1073741823", "a whole number of at least 1073741824, not '1073741823'"),
    ],
)
def test_a_wrong_value_names_itself_and_says_what_it_must_be(name: str, text: str, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({f"LEDGERLINE_{name}": text})
    assert str(caught.value).startswith(f"LEDGERLINE_{name} must ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_secret_is_seen_in_a_repr_or_a_refusal() -> None:
    settings = read_settings(COMPLETE)
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in f"{settings[Sealing].secret_key} {settings[S3].s3_secret_key!r}"
    with pytest.raises(SettingsError) as caught:
        read_settings({"LEDGERLINE_POSTGRES_URL": "postgresql:/ledgerline:hunter2@db"})
    assert "hunter2" not in str(caught.value)
    with pytest.raises(TypeError):
        msgspec.json.encode(settings[Sealing].secret_key)


def test_a_secret_is_equal_only_to_the_same_secret() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert not Secret("")


def test_a_url_reads_as_itself_everywhere_but_in_its_repr() -> None:
    url = Url("postgresql://me:pass:word@db/x")
    assert f"{url}" == "postgresql://me:pass:word@db/x"
    assert repr(url) == "'postgresql://me:***@db/x'"


@pytest.mark.parametrize(
    ("written", "public"),
    [
        ("postgresql://h/db?user=a&password=hunter2", "postgresql://h/db?user=a&password=***"),
        ("postgresql://h?sslpassword=hunter2&sslmode=require", "postgresql://h?sslpassword=***&sslmode=require"),
        ("postgresql://h/db?PASS%77ORD=hunter2@h", "postgresql://h/db?PASS%77ORD=***"),
        ("postgresql://h?oauth_client_secret=hunter2", "postgresql://h?oauth_client_secret=***"),
        ("postgresql://me:hun@ter2:hunter2@db/x", "postgresql://me:***@db/x"),
        ("postgresql://me@db/x?application_name=a@b", "postgresql://me@db/x?application_name=a@b"),
        ("postgresql://:hunter2@a:1,b:2/x", "postgresql://:***@a:1,b:2/x"),
        ("nats://hunter2@a:4222,tls://me:hunter2@b,ws://c", "nats://***@a:4222,tls://me:***@b,ws://c"),
        ("https://hunter2@keys.example/jwks", "https://***@keys.example/jwks"),
        ("smtp://me@mail?starttls=1", "smtp://me@mail?starttls=1"),
        ("http://s3:9000/a@b", "http://s3:9000/a@b"),
    ],
)
def test_passwords_and_tokens_are_hidden_wherever_a_url_has_them(written: str, public: str) -> None:
    assert repr(Url(written)) == repr(public)
    assert f"LEDGERLINE_POSTGRES_URL={shlex.quote(public)}" in shown(Settings(postgres_url=Url(written)))


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("k" * 40 + "\n")
    assert read_settings({"LEDGERLINE_SECRET_KEY_FILE": str(path)})[Sealing].secret_key.reveal() == "k" * 40
    with pytest.raises(SettingsError, match="both set"):
        read_settings({"LEDGERLINE_SECRET_KEY_FILE": str(path), "LEDGERLINE_SECRET_KEY": "k" * 40})
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        read_settings({"LEDGERLINE_SECRET_KEY_FILE": str(tmp_path / "none")})


def test_what_another_process_is_told_reads_as_the_same_settings() -> None:
    settings = read_settings(
        COMPLETE
        | {
            "LEDGERLINE_ENV": "development",
            "LEDGERLINE_OUTBOUND_ALLOW": "a,b:1",
            "LEDGERLINE_WEBHOOK_RETRY_SECONDS": "1,2",
        }
        | {"LEDGERLINE_MONTHLY_ANALYSIS_LIMITS": "free=1", "LEDGERLINE_EMAIL_VERIFICATION_REQUIRED": "1"}
    )
    assert read_settings(settings.environment()) == settings


def test_development_on_loopback_leaves_room_for_long_test_runs() -> None:
    settings = read_settings({"LEDGERLINE_ENV": "development"})
    assert settings[Rates].register_limit_per_hour == settings[Rates].sign_in_limit_per_hour == DEVELOPMENT_LIMIT >= 200
    for other in (
        {"LEDGERLINE_ENV": "development", "LEDGERLINE_HOST": "0.0.0.0"},
        {"LEDGERLINE_ENV": "production"},
        {"LEDGERLINE_ENV": "development", "LEDGERLINE_REGISTER_LIMIT_PER_HOUR": "20"},
    ):
        assert read_settings(other)[Rates].register_limit_per_hour == 20


def test_the_command_line_comes_before_the_environment() -> None:
    assert read_settings({"LEDGERLINE_PORT": "1"}, port=2, host=None)[Service].port == 2


def test_a_role_on_its_own_needs_all_its_servers() -> None:
    assert require_all(read_settings(COMPLETE))
    for missing in COMPLETE:
        with pytest.raises(SettingsError, match=f"{missing} is missing"):
            require_all(read_settings({name: text for name, text in COMPLETE.items() if name != missing}))


def test_a_misspelt_variable_is_pointed_out() -> None:
    said = list(unknown_variables({"LEDGERLINE_POSTGRES_URI": "x", "LEDGERLINE_PORT": "1", "OTHER": "", **COMPLETE}))
    assert said == ["LEDGERLINE_POSTGRES_URI is not a setting. Did you mean LEDGERLINE_POSTGRES_URL?"]


def test_the_service_knows_its_own_address() -> None:
    assert read_settings({})[Service].url == "http://127.0.0.1:8000"
    assert read_settings({"LEDGERLINE_HOST": "::1"})[Service].url == "http://[::1]:8000"
    assert read_settings({"LEDGERLINE_PUBLIC_URL": "https://beats.example/"})[Service].url == "https://beats.example"


@pytest.mark.parametrize(
    ("host", "loopback"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False)]
)
def test_only_addresses_of_this_machine_are_loopback(host: str, loopback: bool) -> None:
    assert read_settings({"LEDGERLINE_HOST": host})[Service].is_loopback is loopback


def test_a_section_is_found_where_an_extension_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write_section(tmp_path / "press_house", "bottles_max: int = 6")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("LEDGERLINE_EXTENSIONS", "press_house")

    settings = read_settings({"LEDGERLINE_BOTTLES_MAX": "7"})
    (section,) = [each for each in sections() if each.__module__.startswith("press_house")]

    assert settings[section] == section(bottles_max=7)
    assert settings.environment()["LEDGERLINE_BOTTLES_MAX"] == "7"
    assert "| `LEDGERLINE_BOTTLES_MAX` | `6` | How many |" in markdown()
    with pytest.raises(SettingsError, match="LEDGERLINE_BOTTLES_MAX must be a whole number, not 'six'"):
        read_settings({"LEDGERLINE_BOTTLES_MAX": "six"})


@pytest.mark.parametrize(
    ("package", "field", "words"),
    [
        ("second_house", "port: int = 6", "LEDGERLINE_PORT is a setting of .*Service.* and of"),
        ("third_house", "bottles_max: int", "LEDGERLINE_BOTTLES_MAX of .* has no default"),
    ],
)
def test_two_sections_cannot_have_one_variable_and_every_field_has_a_default(
    package: str, field: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write_section(tmp_path / package, field)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("LEDGERLINE_EXTENSIONS", package)

    with pytest.raises(TypeError, match=words):
        read_settings({})


def _write_section(package: Path, field: str) -> None:
    name, annotation = field.split(": ")
    kind, _, default = annotation.partition(" = ")
    (package / "commands").mkdir(parents=True)
    for folder in (package, package / "commands"):
        (folder / "__init__.py").touch()
    (package / "commands" / "settings.py").write_text(
        "from typing import Annotated\n"
        "from domain.sections import Section, says\n"
        "class Bottles(Section, frozen=True):\n"
        f"    {name}: Annotated[{kind}, says('How many')]{default and f' = {default}'}\n"
    )


def test_the_table_has_a_line_for_every_setting_and_the_readme_repeats_it() -> None:
    table = markdown()
    for name in settings_fields():
        assert table.count(f"| `{variable(name)}` |") == 1
    assert table in README.read_text(encoding="utf-8"), "`make readme` writes it"


def test_the_table_is_renewed_in_place() -> None:
    once = with_table("# A\n<!-- settings -->\n\n## B\n")
    assert once.startswith(f"# A\n<!-- settings -->\n\n{markdown()}\n<!-- /settings -->\n")
    assert once.endswith("\n## B\n")
    assert with_table(once.replace("| Variable |", "| Old |")) == once
    with pytest.raises(SettingsError, match="no line <!-- settings -->"):
        with_table("# A\n")

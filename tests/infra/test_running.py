"""An errand finds the servers of a running `up` by its data directory, and agrees with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from domain.sections import Secret, Url
from infra.embedded.directories import DirectoryLock
from infra.embedded.nats import EmbeddedNats
from infra.running import read_settings_of
from infra.settings import SettingsError

KEY = "k" * 40


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EmbeddedNats:
    """A directory in which an `up` runs, of whose servers one is its own."""
    for name in ("POSTGRES_URL", "S3_URL", "S3_ACCESS_KEY", "S3_SECRET_KEY", "SECRET_KEY", "NATS_URL", "DATA_DIR"):
        monkeypatch.delenv(f"LEDGERLINE_{name}", raising=False)
    (tmp_path / "secret_key").write_text(KEY + "\n")
    return EmbeddedNats(tmp_path / "nats")


def test_what_runs_in_the_directory_needs_no_variables(running: EmbeddedNats, tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path, "Ledgerline")
    lock.take()
    with running as nats:
        settings = read_settings_of(tmp_path)
    lock.release()

    assert settings.value("nats_url") == nats.url
    assert settings.value("secret_key") == Secret(KEY)
    assert settings.value("postgres_url") == Url("")


def test_a_directory_in_which_nothing_runs_says_so(running: EmbeddedNats, tmp_path: Path) -> None:
    with running, pytest.raises(SettingsError, match=f"Nothing runs in {tmp_path}"):
        read_settings_of(tmp_path)


def test_a_variable_that_names_another_server_is_refused_beside_the_directory_and_goes_before_a_default(
    running: EmbeddedNats, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEDGERLINE_NATS_URL", "nats://me:hunter2@elsewhere")
    lock = DirectoryLock(tmp_path, "Ledgerline")
    lock.take()
    with running:
        with pytest.raises(
            SettingsError, match=r"LEDGERLINE_NATS_URL is nats://me:.*@elsewhere, but what runs"
        ) as caught:
            read_settings_of(tmp_path)
        monkeypatch.setenv("LEDGERLINE_DATA_DIR", str(tmp_path))
        assert read_settings_of(None).value("nats_url") == "nats://me:hunter2@elsewhere"
    lock.release()
    assert "hunter2" not in str(caught.value)

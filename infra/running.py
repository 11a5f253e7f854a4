"""The settings of a process that stands on its own, and the running `up` that it may belong to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import structlog

from domain.sections import Secret, variable
from infra import telemetry
from infra.settings import Operation, Settings, SettingsError, public, read_settings, require_all, unknown_variables

log = structlog.get_logger()


def settings_for(role: str, *, data_dir: Path | None = None, **given: Any) -> Settings:
    """The settings of a process that needs all its servers, with logging set up by them. Raises `SettingsError`."""
    settings = read_settings_of(data_dir, **given)
    telemetry.configure(role, settings[Operation].log_level, settings[Operation].log_format)
    for sentence in unknown_variables():
        log.warning("settings.unknown", message=sentence)
    return require_all(settings)


def read_settings_of(data_dir: Path | None, **given: Any) -> Settings:
    """The settings of this environment; what it does not say of servers is what the `up` of the data directory runs.

    A directory that was asked for must agree with the environment; one that only is the default fills gaps.
    """
    settings = read_settings(data_dir=data_dir, **given)
    if data_dir is None and _has_servers(settings):
        return settings
    directory = settings[Operation].data_dir.expanduser().absolute()
    from infra.embedded.stack import running_in

    found = running_in(directory)
    if found and not settings.value("secret_key") and (directory / "secret_key").exists():
        settings = settings.changed(secret_key=Secret((directory / "secret_key").read_text().strip()))
    for name, value in found.items():
        ours = settings.value(name)
        if data_dir is not None and ours and ours != value:
            raise SettingsError(
                f"{variable(name)} is {public(ours)}, but what runs in {directory} is {public(value)}. "
                f"Unset {variable(name)} or leave out --data-dir."
            )
    if data_dir is not None and not found and not _has_servers(settings):
        raise SettingsError(f"Nothing runs in {directory}. Start it with `ledgerline up --data-dir {directory}`.")
    return settings.changed(**{name: value for name, value in found.items() if not settings.value(name)})


def _has_servers(settings: Settings) -> bool:
    return all(settings.value(name) for name in ("postgres_url", "nats_url", "s3_url", "secret_key"))

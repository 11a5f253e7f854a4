"""The runner that `up` starts beside the roles. It builds what others wrote, and is told nothing of our settings."""

from __future__ import annotations

import os
import time

from adapters.log.settings import Sealing
from adapters.vault import Vault
from commands.settings import Service
from domain.repositories.settings import Repositories
from domain.sections import PREFIX
from infra.settings import Operation, Settings


def of_up(settings: Settings, url: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """What it is started with: where we are, and a token that registers it."""
    # What knows of builds takes a while to load; by now the roles have begun.
    from api.builds.runners import REGISTRATION_SECONDS, registration_token

    arguments = ["runner", "--url", url, "--name", "up"]
    arguments += ["--state", str(settings[Operation].data_dir / "runner.json")]
    if settings[Service].env == "development":
        arguments += [word for root in settings[Repositories].build_local_roots for word in ("--local-root", root)]
    vault = Vault(settings[Sealing].secret_key.reveal().encode())
    token = registration_token(vault, int(time.time()) + REGISTRATION_SECONDS)
    inherited = {name: text for name, text in os.environ.items() if not name.startswith(PREFIX)}
    return tuple(arguments), inherited | {f"{PREFIX}RUNNER_TOKEN": token}

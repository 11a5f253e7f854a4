"""Everything that follows from the server's own secret, so that none of it has to be stored."""

from __future__ import annotations

import base64
import hmac
from functools import cache
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

from adapters import secrets
from adapters.log.settings import Sealing
from adapters.provides import provides
from domain.identity.addresses import normal

#: What tokens begin with, so that scanners and our own logs recognise them.
SESSION_PREFIX = "bzs_"
INVITATION_PREFIX = "bzi_"
DEVICE_PREFIX = "bzd_"
SIGNING_PREFIX = "whsec_"


#: HMAC (RFC 2104) hashes with SHA-256 in blocks of so many bytes, its key once under each of these masks.
_BLOCK_BYTES = 64
_INNER, _OUTER = (bytes(byte ^ mask for byte in range(256)) for mask in (0x36, 0x5C))
_Keyed = tuple[Any, Any]


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class Vault:
    """Digests, tokens, codes and signing secrets under one server secret; a purpose never opens what is another's."""

    def __init__(self, secret: bytes) -> None:
        def of(purpose: str) -> _Keyed:
            key = hmac.digest(secret, f"ledgerline {purpose}".encode(), "sha256").ljust(_BLOCK_BYTES, b"\0")
            return sha256(key.translate(_INNER)), sha256(key.translate(_OUTER))

        # There are a few dozen purposes, and none of them comes from outside. Their keys are in both hashes already
        # (RFC 2104, 4), which costs a quarter of a new HMAC each time, and half of a copy of the library's.
        self._keyed = cache(of)

    def new_id(self) -> str:
        """A random id."""
        return str(uuid4())

    def new_api_key(self) -> tuple[str, str, str]:
        """A new API key, what is shown of it, and its digest."""
        key = secrets.new_api_key()
        return key, secrets.shown(key), secrets.digest(key)

    def key_digest(self, key: str) -> str:
        """The digest of an API key or a session token."""
        return secrets.digest(key)

    def new_session_token(self) -> tuple[str, str]:
        """A new session token and its digest."""
        token = secrets.new_api_key(SESSION_PREFIX)
        return token, secrets.digest(token)

    def invitation_token(self, workspace_id: str, invitation_id: str) -> str:
        """What a letter of invitation brings: the workspace it leads to, and the proof that we wrote it."""
        place = UUID(workspace_id).bytes
        return INVITATION_PREFIX + _base64(place + self._mac("token invitation", f"{workspace_id}/{invitation_id}"))

    def invited_to(self, token: str, invitation_id: str) -> str | None:
        """The workspace that an invitation's token leads to; None when it is no token of this invitation."""
        try:
            data = base64.urlsafe_b64decode(token.removeprefix(INVITATION_PREFIX) + "==")
            workspace_id = str(UUID(bytes=data[:16]))
        except ValueError:
            return None
        return workspace_id if self.same(self.invitation_token(workspace_id, invitation_id), token) else None

    def email_digest(self, email: str) -> str:
        """The keyed digest of an address, the same however it is written; raises NotAnAddress."""
        return self._mac("email", normal(email)).hex()

    def kept_email_digest(self, email: str) -> str:
        """The digest under which an address was kept, perhaps before there was one normal form.

        Of a normal form both digests are the same.
        """
        return self._mac("email", email.strip().casefold()).hex()

    def token(self, purpose: str, subject: str) -> str:
        """A token that proves having been told about a subject."""
        return _base64(self._mac(f"token {purpose}", subject))

    def device_token(self, device_id: str, email_digest: str, expires: int) -> str:
        """What shows that somebody has signed in with an address on a device; it ends at so many seconds since 1970."""
        head = UUID(device_id).bytes + expires.to_bytes(8)
        return DEVICE_PREFIX + _base64(head + self._mac("device", f"{device_id}/{email_digest}/{expires}"))

    def device(self, token: str, email_digest: str, now: float) -> str | None:
        """The device of a token, if somebody has signed in there with this address; None for all other tokens."""
        try:
            head = base64.urlsafe_b64decode(token.removeprefix(DEVICE_PREFIX) + "==")[:24]
            device_id, expires = str(UUID(bytes=head[:16])), int.from_bytes(head[16:])
        except ValueError:
            return None
        is_ours = self.same(self.device_token(device_id, email_digest, expires), token)
        return device_id if is_ours and now < expires else None

    def same(self, one: str, other: str) -> bool:
        """Whether two secrets are the same, in constant time."""
        return secrets.same(one, other)

    def code(self, challenge_id: str) -> str:
        """The six digits of a challenge: known to whoever has the secret and the challenge, written down nowhere."""
        return f"{int.from_bytes(self._mac('code', challenge_id)[:8]) % 1_000_000:06d}"

    def signing_secret(self, secret_id: str) -> str:
        """A webhook signing secret, as `whsec_` and base64 of 32 bytes."""
        return SIGNING_PREFIX + base64.b64encode(self._mac("webhook", secret_id)).decode()

    def license_id(self, code: str) -> str:
        """What the licence of an activation code is known by."""
        return self._mac("activation code", code)[:16].hex()

    def machine_digest(self, license_id: str, machine: str) -> str:
        """All that is kept of a machine's id, another one for each licence, so that nobody is followed by it."""
        return self._mac("machine", f"{license_id}/{machine}")[:16].hex()

    def fingerprint_digest(self, license_id: str, place: int, component: str) -> str:
        """All that is kept of a component of a machine."""
        return self._mac("fingerprint", f"{license_id}/{place}/{component}")[:16].hex()

    def activation_code(self, batch_id: str, number: int) -> str:
        """The n-th code of a batch, a random UUID to everybody else: the same batch gives the same codes."""
        return str(UUID(bytes=self._mac("new activation code", f"{batch_id}/{number}")[:16], version=4))

    def signing_seed(self, project_id: str, number: int) -> bytes:
        """What the n-th Ed25519 key of a project is made from."""
        return self._mac("license signing", f"{project_id}/{number}")

    def secrets_key(self, workspace_id: str) -> bytes:
        """What the secrets of a workspace's projects are sealed with, 32 bytes."""
        return self._mac("project secrets", workspace_id)

    def _mac(self, purpose: str, subject: str) -> bytes:
        inner, outer = self._keyed(purpose)
        within, around = inner.copy(), outer.copy()
        within.update(subject.encode())
        around.update(within.digest())
        mac: bytes = around.digest()
        return mac


@provides
def vault(settings: Sealing) -> Vault:
    """What follows from the server's secret."""
    return Vault(settings.secret_key.reveal().encode())

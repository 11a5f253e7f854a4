"""An outside identity provider: it publishes keys and signs what it says about people."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from msgspec import json

AUDIENCE = "ledgerline"

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


class Provider:
    """Keys by their ids, and tokens."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self.private: dict[str, tuple[str, PrivateKey]] = {}

    def add_key(self, key_id: str, algorithm: str = "RS256") -> None:
        """Begin to sign with one more key."""
        made: PrivateKey = (
            rsa.generate_private_key(65537, 2048) if algorithm == "RS256" else ec.generate_private_key(ec.SECP256R1())
        )
        self.private[key_id] = (algorithm, made)

    def published(self) -> bytes:
        """The keys as everybody may see them (RFC 7517)."""
        keys = []
        for key_id, (algorithm, key) in self.private.items():
            kind = jwt.algorithms.RSAAlgorithm if algorithm == "RS256" else jwt.algorithms.ECAlgorithm
            public: Any = key.public_key()
            keys.append({**kind.to_jwk(public, as_dict=True), "kid": key_id, "alg": algorithm, "use": "sig"})
        return json.encode({"keys": keys})

    def token(
        self,
        key_id: str = "first",
        *,
        lifetime_seconds: float = 600,
        headers: Mapping[str, Any] | None = None,
        **claims: Any,
    ) -> str:
        """What it says about somebody; a claim or header that is None is left out."""
        algorithm, key = self.private[key_id]
        now = datetime.now(UTC)
        said = {
            "iss": self.issuer,
            "aud": AUDIENCE,
            "sub": str(uuid4()),
            "iat": now,
            "exp": now + timedelta(seconds=lifetime_seconds),
            **claims,
        }
        return jwt.encode(
            {name: value for name, value in said.items() if value is not None},
            key,
            algorithm=algorithm,
            headers={name: value for name, value in {"kid": key_id, **(headers or {})}.items() if value is not None},
        )

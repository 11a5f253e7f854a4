"""Links to objects: signed paths of the service itself, or the object store's own where clients can reach it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlencode

from litestar import Request
from msgspec import json

from adapters.log.eventlog import EventLog
from adapters.storage.blobs import disposition
from adapters.storage.settings import S3
from adapters.storage.uploads import AUDIO_ENDINGS
from adapters.vault import Vault
from api.auth import Asker
from commands.kernel import Now
from commands.ports import Blobs
from commands.settings import Service
from domain.identity.workspaces import is_forgotten, workspaces
from domain.kernel import Forbidden, Value

#: Where objects are served.
PATH = "/objects/"
#: What may be shown in place; everything else is for saving.
_SHOWN = re.compile(r"image/png|application/json|audio/[\w.+-]+")
#: What a client may call us by, to be called so in a link.
_HOST = re.compile(r"[A-Za-z0-9.:_\[\]-]{1,255}")


class LinkIsNotGood(Forbidden):
    """This link is not as we made it. Ask for a new one."""


class LinkHasExpired(Forbidden):
    """This link has expired. Ask for a new one."""


class LinkIsVoid(Forbidden):
    """What this link led to has been given up. Ask for a new one."""


class Link(Value):
    """What a link is for: all of it is signed.

    `expires` is in seconds since 1970. `workspace` and `tenancy` say to whom it was given; it is void when that
    workspace is forgotten or begins anew. `content_type` and `size` bind an upload.
    """

    method: str
    key: str
    expires: int
    workspace: str
    tenancy: int
    content_type: str = ""
    size: int | None = None


def shown_as(content_type: str, key: str) -> str:
    """The Content-Disposition of an object: named like the last part of its key, with what ends names of its kind."""
    name = key.rpartition("/")[2]
    if "." not in name and content_type in AUDIO_ENDINGS:
        name = f"{name}.{AUDIO_ENDINGS[content_type]}"
    return disposition(name, inline=_SHOWN.fullmatch(content_type) is not None)


@dataclass(frozen=True)
class Links:
    """Makes links to objects, and knows its own again."""

    blobs: Blobs
    vault: Vault
    log: EventLog
    now: Now
    service: Service
    store: S3

    async def to_read(
        self, request: Request[Any, Any, Any], asker: Asker, key: str, seconds: int, *, content_type: str
    ) -> str:
        """A link that shows an object for so many seconds."""
        if self.store.s3_public_url:
            return await self.blobs.presigned_get(
                key, seconds, content_type=content_type, disposition=shown_as(content_type, key)
            )
        return self._signed(request, asker, "GET", key, seconds)

    async def to_write(
        self,
        request: Request[Any, Any, Any],
        asker: Asker,
        key: str,
        seconds: int,
        *,
        content_type: str,
        size: int | None,
    ) -> str:
        """A link that takes an object of this type (and size) for so many seconds."""
        if self.store.s3_public_url:
            return await self.blobs.presigned_put(key, content_type=content_type, seconds=seconds, size=size)
        return self._signed(request, asker, "PUT", key, seconds, content_type=content_type, size=size)

    def check(self, link: Link, signature: str) -> None:
        """Refuse what we have not signed, or what is over: LinkIsNotGood, LinkHasExpired."""
        if not self.vault.same(self._signature(link), signature):
            raise LinkIsNotGood
        if self.now().timestamp() >= link.expires:
            raise LinkHasExpired

    async def check_holder(self, link: Link) -> None:
        """Refuse a link whose workspace is no longer what it was when it was given the link: LinkIsVoid."""
        history = (await self.log.read(workspaces.stream(link.workspace))).events
        if is_forgotten(history) or workspaces.fold(history).tenancy != link.tenancy:
            raise LinkIsVoid

    def _signed(
        self, request: Request[Any, Any, Any], asker: Asker, method: str, key: str, seconds: int, **bound: Any
    ) -> str:
        link = Link(
            method=method,
            key=key,
            expires=int((self.now() + timedelta(seconds=seconds)).timestamp()),
            workspace=asker.workspace_id,
            tenancy=asker.tenancy,
            **bound,
        )
        asked = {
            "expires": link.expires,
            "workspace": link.workspace,
            "tenancy": link.tenancy,
            "content_type": link.content_type or None,
            "size": link.size,
            "signature": self._signature(link),
        }
        query = urlencode({name: value for name, value in asked.items() if value is not None}, quote_via=quote)
        return f"{self._base(request)}{PATH}{quote(key)}?{query}"

    def _signature(self, link: Link) -> str:
        return self.vault.token("object link", json.encode(link).decode())

    def _base(self, request: Request[Any, Any, Any]) -> str:
        """How whoever asks reaches us: by the public URL, or else as they did just now."""
        if self.service.public_url:
            return self.service.url
        host = request.headers.get("host", "")
        return f"{request.scope['scheme']}://{host}" if _HOST.fullmatch(host) else self.service.url

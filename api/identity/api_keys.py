"""API keys of a workspace: made, listed, replaced, revoked."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

from litestar import Request, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody
from msgspec import Meta, Struct, json

from api.auth import Asker, needs
from api.identity.ports import Ports
from api.identity.sign_in import Revoked
from api.paging import LIMIT, Before, Limit, listed
from commands.identity.api_keys import IssueApiKey, RevokeApiKey, RotateApiKey
from domain.kernel import Invalid
from domain.scopes import scopes
from projections.identity.api_keys import ApiKey, api_keys
from projections.kernel import seconds

if TYPE_CHECKING:
    Scope = str
else:
    # The words of the contract, of whichever contexts there are.
    Scope = Literal[tuple(scopes())]

OVERLAP_SECONDS_MAX = 30 * 86_400


class ExpiryLacksZone(Invalid):
    """`expires_at` is an RFC 3339 time with its offset from UTC."""


class NewApiKey(Struct):
    """What a key is called, what it may do, and until when."""

    name: Annotated[str, Meta(min_length=1, max_length=120)]
    scopes: Annotated[list[Scope], Meta(min_length=1, max_length=32)]
    expires_at: datetime | None = None


class Rotation(Struct, forbid_unknown_fields=True):
    """How long the old key goes on working."""

    overlap_seconds: Annotated[int, Meta(ge=0, le=OVERLAP_SECONDS_MAX)] = 86_400


class IssuedApiKey(Struct):
    """A new key; `plaintext_key` is shown this once."""

    created_at: str
    id: str
    name: str
    plaintext_key: str
    prefix: str
    scopes: list[str]
    expires_at: str | None = None
    replaces: str | None = None


class ListedApiKey(Struct):
    """A key as it is listed."""

    created_at: str
    id: str
    name: str
    prefix: str
    revoked_at: str | None
    scopes: tuple[str, ...]
    expires_at: str | None
    last_used_at: str | None
    replaces: str | None
    replaced_by: str | None


@get(
    "/v1/api-keys",
    tags=["platform"],
    opt=needs(None, "member"),
    responses={200: ResponseSpec(list[ListedApiKey], generate_examples=False, description="Newest first")},
)
async def list_api_keys(
    request: Request[Any, Any, Any],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    limit: Limit = LIMIT,
    before: Before = None,
) -> Response[bytes]:
    """The keys of the workspace, newest first, revoked ones too."""
    place = await ports.pages.place_of(api_keys, asker.workspace_id, before)
    page = await ports.views.page(api_keys, asker.workspace_id, limit=limit, before=place)
    found = [json.decode(each.body, type=ApiKey) for each in page]
    used = await ports.uses.of([each.id for each in found])
    bodies = [json.encode(_listed(each, used.get(each.id))) for each in found]
    return listed(request, bodies, found[-1].id if len(found) == limit else None)


def _listed(key: ApiKey, used_at: datetime | None) -> ListedApiKey:
    return ListedApiKey(
        created_at=key.created_at,
        id=key.id,
        name=key.name,
        prefix=key.prefix,
        revoked_at=key.revoked_at,
        scopes=key.scopes,
        expires_at=key.expires_at,
        last_used_at=seconds(used_at) if used_at is not None else None,
        replaces=key.replaces,
        replaced_by=key.replaced_by,
    )


@post("/v1/api-keys", tags=["platform"], opt=needs(None, "admin"))
async def create_api_key(
    data: JSONBody[NewApiKey], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> IssuedApiKey:
    """Make a key. It is shown this once; only its digest is kept."""
    if data.expires_at is not None and data.expires_at.tzinfo is None:
        raise ExpiryLacksZone(loc=("body", "expires_at"))
    api_key_id = ports.vault.new_id()
    key, prefix, digest = ports.vault.new_api_key()
    await ports.execute(
        IssueApiKey(
            api_key_id=api_key_id,
            workspace_id=asker.workspace_id,
            person_id=asker.person_id,
            name=data.name,
            prefix=prefix,
            digest=digest,
            scopes=tuple(data.scopes),
            expires_at=data.expires_at,
        ),
        asker.context,
    )
    return await _issued(ports, asker, api_key_id, key)


@post("/v1/api-keys/{api_key_id:str}/rotate", tags=["platform"], opt=needs(None, "admin"))
async def rotate_api_key(
    api_key_id: FromPath[Annotated[str, Meta(max_length=64)]],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    data: JSONBody[Rotation | None] = None,
) -> IssuedApiKey:
    """Replace a key by one with the same name and scopes. The old one works for the overlap, a day by default."""
    new_id = ports.vault.new_id()
    key, prefix, digest = ports.vault.new_api_key()
    overlap = (data or Rotation()).overlap_seconds
    await ports.execute(
        RotateApiKey(
            api_key_id=api_key_id,
            workspace_id=asker.workspace_id,
            person_id=asker.person_id,
            new_api_key_id=new_id,
            prefix=prefix,
            digest=digest,
            overlap=timedelta(seconds=overlap),
        ),
        asker.context,
    )
    return await _issued(ports, asker, new_id, key)


@delete("/v1/api-keys/{api_key_id:str}", status_code=200, tags=["platform"], opt=needs(None, "admin"))
async def revoke_api_key(
    api_key_id: FromPath[Annotated[str, Meta(max_length=64)]],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
) -> Revoked:
    """Make a key useless, in every process at once."""
    await ports.execute(
        RevokeApiKey(api_key_id=api_key_id, workspace_id=asker.workspace_id, by=asker.person_id), asker.context
    )
    return Revoked(revoked=True)


async def _issued(ports: Ports, asker: Asker, api_key_id: str, plaintext: str) -> IssuedApiKey:
    made: Any = json.decode(await ports.views.get(api_keys, api_key_id, asker.workspace_id), type=ApiKey)
    return IssuedApiKey(
        created_at=made.created_at,
        id=made.id,
        name=made.name,
        plaintext_key=plaintext,
        prefix=made.prefix,
        scopes=list(made.scopes),
        expires_at=made.expires_at,
        replaces=made.replaces,
    )
